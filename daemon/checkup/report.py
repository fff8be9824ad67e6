"""The result of a check before a scan: a line for each thing that was checked, and an exit status."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec

from ...errors import BraindError, ExitCode


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked, and the result in a sentence: `ok`; `warn`, look at it; `fail`, the scan would fail.

    `figures` holds the measured numbers; names that end in `_s` are seconds. `exit_status` is 0 unless it failed.
    """

    check: str
    level: Literal["ok", "warn", "fail"]
    sentence: str
    exit_status: int = ExitCode.OK
    figures: dict[str, float] = {}


class Report:
    """Collects the lines of a check, and hands each line on as soon as it is there."""

    def __init__(self, on_line: Callable[[Line], None]) -> None:
        self._on_line = on_line
        self.lines: list[Line] = []

    @property
    def exit_status(self) -> int:
        """Return the exit status of the first line that failed; 0 if none failed."""
        return next((line.exit_status for line in self.lines if line.level == "fail"), int(ExitCode.OK))

    def has_failed(self, *checks: str) -> bool:
        """Return whether one of these checks failed."""
        return any(line.level == "fail" and line.check in checks for line in self.lines)

    def ok(self, check: str, sentence: str, **figures: float) -> None:
        """Add what is as it should be."""
        self._add(Line(check=check, level="ok", sentence=sentence, figures=figures))

    def warn(self, check: str, sentence: str, **figures: float) -> None:
        """Add what may go wrong, or what was not checked."""
        self._add(Line(check=check, level="warn", sentence=sentence, figures=figures))

    def fail(self, check: str, sentence: str, exit_status: ExitCode, **figures: float) -> None:
        """Add what would make the scan fail."""
        self._add(Line(check=check, level="fail", sentence=sentence, exit_status=exit_status, figures=figures))

    @contextmanager
    def failing(self, check: str, exit_status: ExitCode) -> Iterator[None]:
        """Turn the block's error into a line that failed."""
        try:
            yield
        except (BraindError, OSError) as error:
            self.fail(check, str(error), exit_status)

    def _add(self, line: Line) -> None:
        self.lines.append(line)
        self._on_line(line)


def in_ms(time_s: float) -> str:
    """Return a time for a sentence, in ms."""
    return f"{1000 * time_s:.3g} ms"
