"""A scanner console starts a client at once."""

import resource
import subprocess
import sys

import pytest

N_TRIES = 5


def cpu_seconds(code):
    """Return the processor time of a fresh interpreter, the least of a few: other work disturbs it less."""
    tries = []
    for _ in range(N_TRIES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        tries.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(tries)


@pytest.mark.parametrize(
    ("module", "limit_s"),
    [
        ("braind.client.scanner", 0.4),
        ("braind.client.subscriber", 0.4),
        ("braind.client.replay", 0.4),
        ("braind.cli", 0.2),
    ],
)
def test_an_import_is_quick(module, limit_s):
    assert cpu_seconds(f"import {module}") - cpu_seconds("pass") < limit_s
