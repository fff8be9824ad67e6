"""Changes one thing in a copy of the code, runs its tests, and lists the changes that no test notices.

Run it with `make mutants`. All mutants take many hours; `--sample N` takes N of them, drawn by `--seed`. A mutant that
survives is no fault (the program does the same), or a test is missing: read the list.
"""

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 900
LEFT_OUT = {".git", ".venv", ".links", "build", ".pytest_cache", ".ruff_cache", "__pycache__", ".hypothesis"}
SWAPPED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
}  # fmt: skip


class Mutant(NamedTuple):
    """One change: the file, the number of the changed node in the file, the line, and the code before and after."""

    file: Path
    node: int
    line: int
    before: str
    after: str


def targets() -> dict[Path, list[list[str]]]:
    """Return each mutated file and its tests: the quick tests first, then everything that may notice."""
    found: dict[Path, list[list[str]]] = {}
    for file in sorted((ROOT / "daemon").rglob("*.py")):
        folder = ROOT / "tests" / file.relative_to(ROOT).parent
        own = folder if file.parent.name == "journal" else folder / f"test_{file.stem}.py"
        quick = [str(own.relative_to(ROOT))] if own.exists() else []
        found[file] = [stage for stage in (quick, ["tests/daemon", "tests/faults"]) if stage]
    wire = ["tests/test_wire.py", "tests/daemon/test_ingest_messages.py", "tests/daemon/test_refusals.py"]
    found[ROOT / "client" / "wire.py"] = [wire, ["tests/client", "tests/daemon"]]
    bold = ["tests/models/bold", "tests/conformance/test_estimator_nilearn.py"]
    found[ROOT / "models" / "bold" / "estimator.py"] = [bold, ["tests/daemon/decoder"]]
    return found


def changed(node: ast.AST) -> ast.AST | None:
    """Return a node's mutant; None if the node has none."""
    new = copy.deepcopy(node)
    match new:
        case ast.Compare() if type(new.ops[0]) in SWAPPED:
            new.ops[0] = SWAPPED[type(new.ops[0])]()
        case ast.BoolOp() | ast.BinOp() if type(new.op) in SWAPPED and not _is_type(new):
            new.op = SWAPPED[type(new.op)]()
        case ast.UnaryOp(op=ast.Not()):
            return new.operand
        case ast.Constant(value=bool()):
            new.value = not new.value
        case ast.Constant(value=int() | float()):
            new.value += 1
        case ast.Expr(value=ast.Call() | ast.Await()) if "logger." not in ast.unparse(new):
            return ast.Pass()
        case ast.Raise():
            return ast.Pass()
        case ast.Return(value=ast.expr()):
            new.value = ast.Constant(None)
        case _:
            return None
    return new


def _is_type(node: ast.AST) -> bool:
    # `bytes | None` in an alias of types.
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)


def mutants(file: Path) -> Iterator[Mutant]:
    """Yield all mutants of a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for number, node in enumerate(_nodes(tree)):
        new = changed(node)
        if new is not None:
            line = getattr(node, "lineno", 0)
            yield Mutant(file, number, line, ast.unparse(node), ast.unparse(ast.fix_missing_locations(new)))


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a tree, without annotations."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list", "keywords") and not isinstance(tree, ast.Call):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield child
                yield from _nodes(child)


def source_of(mutant: Mutant) -> str:
    """Return the mutated file's text."""
    tree = ast.parse(mutant.file.read_text())
    wanted = next(node for number, node in enumerate(_nodes(tree)) if number == mutant.node)

    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST | None:
            return changed(node) if node is wanted else self.generic_visit(node)

    return ast.unparse(ast.fix_missing_locations(Replace().visit(tree)))


class Copy:
    """A copy of the repository in which one file is changed at a time."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "braind"
        shutil.copytree(ROOT, self.root, ignore=lambda _, names: [name for name in names if name in LEFT_OUT])
        (self.root / ".links").mkdir()
        (self.root / ".links" / "braind").symlink_to("..")
        (folder / "shared").symlink_to(ROOT.parent / "shared")

    def is_noticed(self, mutant: Mutant, stages: list[list[str]]) -> bool:
        """Return whether a test fails with this change."""
        file = self.root / mutant.file.relative_to(ROOT)
        whole = file.read_text()
        file.write_text(source_of(mutant))
        try:
            return any(self._fails(tests) for tests in stages)
        finally:
            file.write_text(whole)

    def _fails(self, tests: list[str]) -> bool:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.root / ".links"),
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        try:
            ran = subprocess.run(
                command, cwd=self.root, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return True
        return ran.returncode != 0


def main() -> None:
    """Run the mutants and print the survivors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, help="number of mutants; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="run only each file's own tests; more mutants survive")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="only files whose path contains this text")
    options = parser.parse_args()
    tests = {file: stages for file, stages in targets().items() if options.only in str(file.relative_to(ROOT))}
    if options.quick:
        tests = {file: stages[:1] for file, stages in tests.items() if len(stages) > 1}
    chosen = [mutant for file in tests for mutant in mutants(file)]
    if options.sample is not None:
        chosen = random.Random(options.seed).sample(chosen, min(options.sample, len(chosen)))
    print(f"{len(chosen)} mutants, seed {options.seed}", flush=True)
    survivors: list[Mutant] = []
    local = threading.local()
    with tempfile.TemporaryDirectory(prefix="braind-mutants-") as folder, ThreadPoolExecutor(options.jobs) as pool:

        def run(mutant: Mutant) -> None:
            if not hasattr(local, "copy"):
                local.copy = Copy(Path(tempfile.mkdtemp(dir=folder)))
            is_noticed = local.copy.is_noticed(mutant, tests[mutant.file])
            if not is_noticed:
                survivors.append(mutant)
            where = f"{mutant.file.relative_to(ROOT)}:{mutant.line}"
            verdict = "noticed " if is_noticed else "SURVIVED"
            print(f"{verdict} {where}: {mutant.before!r:.100} -> {mutant.after!r:.100}", flush=True)

        list(pool.map(run, chosen))
    print(f"{len(survivors)} of {len(chosen)} survived")


if __name__ == "__main__":
    main()
