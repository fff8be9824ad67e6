"""How far apart this machine's clock and the daemon's are: measured as NTP does, and the best measurement kept.

A request leaves at t0 of this clock, comes at t1 of the daemon's, is answered at t2 of the daemon's and is back at t3.
The daemon's clock is then ((t1 - t0) + (t2 - t3)) / 2 ahead, wrong by at most half of the time spent on the way, which
may have been all on one side. So the measurement that was fastest says most; it grows old as clocks drift apart.
"""

import time
from collections import deque
from typing import NamedTuple

from .wire import Clock, ClockRequest

DRIFT = 5e-5
"""Seconds that two clocks may part in a second: twice what quartz is sold with."""
N_KEPT = 64
DIGITS = 6


class ClockOffset(NamedTuple):
    """Seconds that the daemon's clock is ahead of this machine's, and by how much that may be wrong."""

    offset_s: float
    uncertainty_s: float


class _Measured(NamedTuple):
    at_s: float  # of the monotonic clock, which nobody sets
    offset_s: float
    half_delay_s: float

    def uncertainty_s(self, now_s: float) -> float:
        return self.half_delay_s + DRIFT * (now_s - self.at_s)


class ClockWatch:
    """Measurements of one daemon's clock."""

    def __init__(self) -> None:
        self._measured: deque[_Measured] = deque(maxlen=N_KEPT)

    @property
    def offset(self) -> ClockOffset | None:
        """The best that is known now; None before the first measurement."""
        now_s = time.monotonic()
        best = min(self._measured, key=lambda one: one.uncertainty_s(now_s), default=None)
        return best and ClockOffset(round(best.offset_s, DIGITS), round(best.uncertainty_s(now_s), DIGITS))

    def request(self) -> ClockRequest:
        """Return a request to send at once; it tells the daemon what is known so far."""
        known = self.offset
        return ClockRequest(
            sent_s=time.time(),
            offset_s=known and known.offset_s,
            uncertainty_s=known and known.uncertainty_s,
        )

    def take(self, answer: Clock, came_s: float) -> None:
        """Take a request's answer, which came at `came_s` of this machine's clock."""
        delay_s = (came_s - answer.sent_s) - (answer.answered_s - answer.received_s)
        if delay_s < 0:
            return  # a clock was set meanwhile
        ahead_s = ((answer.received_s - answer.sent_s) + (answer.answered_s - came_s)) / 2
        newest = _Measured(time.monotonic(), ahead_s, delay_s / 2)
        # Where an older one contradicts the newest, a clock was set between them.
        agreeing = [
            one
            for one in self._measured
            if abs(one.offset_s - ahead_s) <= one.uncertainty_s(newest.at_s) + newest.half_delay_s
        ]
        self._measured = deque([*agreeing, newest], maxlen=N_KEPT)
