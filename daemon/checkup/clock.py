"""Checks the clock over the length of a check."""

import time
from collections.abc import Callable
from pathlib import Path

from .report import Report

CLOCK_STEP_S = 0.1
"""Two clocks that drift apart by more were not slewed; one of them was set."""
SYNCHRONISED_PATH = Path("/run/systemd/timesync/synchronized")


class ClockCheck:
    """Compares the wall clock with the monotonic clock from its making to `finish`."""

    def __init__(self, wall_s: Callable[[], float] = time.time) -> None:
        self._wall_s = wall_s
        self._ahead_s = wall_s() - time.monotonic()

    def finish(self, weights_path: Path, report: Report) -> None:
        """Say whether the clock is plausible, was set meanwhile, and is known to be synchronised."""
        step_s = self._wall_s() - time.monotonic() - self._ahead_s
        written_s = max(
            (path.stat().st_mtime for path in (Path(__file__), weights_path) if path.is_file()), default=0.0
        )
        if self._wall_s() < written_s:
            report.warn(
                "clock",
                f"the clock says {_time(self._wall_s())}, but a file of {_time(written_s)} is here: set the clock",
                step_s=step_s,
            )
        elif abs(step_s) > CLOCK_STEP_S:
            report.warn(
                "clock",
                f"the clock was set by {step_s:+.3f} s during this check; let it settle before the scan",
                step_s=step_s,
            )
        else:
            known = "synchronised" if SYNCHRONISED_PATH.exists() else "whether it is synchronised is not known here"
            report.ok("clock", f"{_time(self._wall_s())}, steady during this check; {known}", step_s=step_s)


def _time(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_s))
