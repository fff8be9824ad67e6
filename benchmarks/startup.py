"""What starting costs: bare Python, the client room on a scanner's console, the command line."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

from support.measuring import interleaved

N_ROUNDS = 15


def measure(*, quick: bool) -> dict[str, Any]:
    """Time fresh interpreters in turn."""
    arms = {
        "bare Python": _running("-c", "pass"),
        "import braind.client.scanner": _running("-c", "import braind.client.scanner"),
        "braind --help": _running("-m", "braind", "--help"),
    }
    times = interleaved(arms, 1 if quick else N_ROUNDS)
    bare_ms = times["bare Python"]["p50_ms"]
    return {
        "rows": [
            {"what": name, **row, "over_bare_ms": round(row["p50_ms"] - bare_ms, 1)} for name, row in times.items()
        ]
    }


def _running(*arguments: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
