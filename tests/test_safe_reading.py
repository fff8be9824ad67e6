"""No part of braind reads a file or a message that could run code."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("client", "commands", "daemon", "models", "offline", "tui", "examples", "benchmarks")
RUNS_CODE = re.compile(
    r"\b(?:pickle|cPickle|dill|cloudpickle|joblib|shelve|marshal)\b|allow_pickle\s*=\s*True|torch\.load\b"
    r"|weights_only\s*=\s*False|trust_remote_code\s*=\s*True|yaml\.(?:unsafe_)?load\b|\bpd\.read_pickle\b"
    r"|(?<![\w.])(?:eval|exec)\("
)
ALLOWED = {("models/scores/networks.py", "torch.load"), ("daemon/checkup/packages.py", "exec(")}
"""docs/security.md names the exception: published networks that exist only as .pth files, read with weights_only.

`braind doctor` runs probes of packages, which are text in the same file, in another process.
"""


def code_lines():
    for path in [*ROOT.glob("*.py"), *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))]:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            yield path.relative_to(ROOT).as_posix(), number, line.partition("  #")[0]


def test_nothing_that_can_run_code_is_read():
    found = {
        (path, match, number)
        for path, number, line in code_lines()
        for match in RUNS_CODE.findall(line)
        if (path, match) not in ALLOWED
    }
    assert found == set()


def test_the_exception_loads_tensors_only():
    lines = [line for path, _, line in code_lines() if path == "models/scores/networks.py" and "torch.load" in line]
    assert lines
    assert all("weights_only=True" in line for line in lines)
