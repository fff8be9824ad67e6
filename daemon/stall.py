"""A stall: within an open run, no volume comes."""

import logging
import time

from ..client.wire import SILENT_S, Hello

STALL_TR = 2.0
STALL_S = 1.0
"""A run stalls `STALL_TR` TR and this time after its last volume."""

logger = logging.getLogger(__name__)


class Stall:
    """Follows the run of the newest volume. A stall ends with the next volume, the run's end, or another run.

    Before a run's first volume nothing is followed: nobody knows when the scanner starts.
    """

    def __init__(self) -> None:
        self._hello: Hello | None = None
        self._volume_s = 0.0
        """Monotonic time of the newest volume."""
        self._is_said = False

    def open(self, hello: Hello) -> None:
        """Note that a run was opened. The run of the newest volume stays followed if it was opened again."""
        if not self._follows(hello.session, hello.run):
            self._end("another run was opened")

    def add_volume(self, hello: Hello) -> None:
        """Note a new volume of a run."""
        if self._is_said:
            self._end("the next volume came")
        self._hello, self._volume_s = hello, time.monotonic()

    def end(self, session: str, run: str) -> None:
        """Note that a run has ended."""
        if self._follows(session, run):
            self._end("the run ended")

    def seconds(self) -> float | None:
        """Return the seconds since the newest volume if its run stalls, else None; log when a stall begins."""
        if self._hello is None:
            return None
        since_s = time.monotonic() - self._volume_s
        if since_s > max(SILENT_S, STALL_TR * self._hello.tr_s + STALL_S):
            self._end("the run is taken to be broken off")
            return None
        if since_s <= STALL_TR * self._hello.tr_s + STALL_S:
            return None
        if not self._is_said:
            self._is_said = True
            logger.warning("run %s: no volume for %.1f s", self._hello.run, since_s)
        return round(since_s, 1)

    def _follows(self, session: str, run: str) -> bool:
        return self._hello is not None and (self._hello.session, self._hello.run) == (session, run)

    def _end(self, why: str) -> None:
        if self._hello is not None and self._is_said:
            since_s = time.monotonic() - self._volume_s
            logger.info("run %s: %s after %.1f s without a volume", self._hello.run, why, since_s)
        self._hello, self._is_said = None, False
