"""The watchdog: it notices a decoder whose main loop is stopped or stuck."""

import asyncio
import time
from collections.abc import Callable

from .. import link

TICK_S = 0.5
LOADING_S = 1800.0
"""Longest silence of a first decoder before it is ready: an engine may be built, which takes minutes."""
LOADING_AGAIN_S = 120.0
"""The same for a later decoder, if `LOADING_FACTOR` times the last start is shorter."""
LOADING_FACTOR = 10


class Watchdog:
    """Counts how long one decoder has been silent.

    Only the decoder's main loop writes lines, so each line is a sign of life. `link.Alive` says how long the next
    silence may last. Time in which the front itself was stopped or busy does not count.

    Parameters
    ----------
    loading_s : float
        Longest silence until the decoder sends `link.Alive`.
    """

    def __init__(self, loading_s: float) -> None:
        self._within_s = loading_s
        self._silent_s = 0.0
        self.verdict = ""
        """Why the decoder is taken to hang; "" while it lives."""

    def heard(self, line: link.ToFront) -> None:
        """Note a line of the decoder."""
        self._silent_s = 0.0
        if isinstance(line, link.Alive):
            self._within_s = line.within_s

    async def read(self, stdout: asyncio.StreamReader, end: Callable[[], None]) -> bytes:
        """Return the decoder's next line, b"" at its end; call `end` once if the decoder hangs.

        Raises
        ------
        ValueError
            If the line is longer than the stream's limit.
        """
        reading = asyncio.ensure_future(stdout.readline())
        try:
            while not reading.done():
                began_s = time.monotonic()
                await asyncio.wait({reading}, timeout=TICK_S)
                # A longer tick means that the front was stopped. Lines may wait in the pipe since then.
                self._silent_s += min(time.monotonic() - began_s, TICK_S)
                if self._silent_s > self._within_s and not reading.done() and not self.verdict:
                    self.verdict = f"no sign of life for {self._silent_s:.1f} s"
                    end()
            return reading.result()
        finally:
            reading.cancel()


def loading_s(last: link.Ready | None) -> float:
    """Return how long a decoder may load in silence, after the last decoder's start took so long."""
    if last is None:
        return LOADING_S
    return max(LOADING_AGAIN_S, LOADING_FACTOR * (last.load_s + last.warm_up_s))
