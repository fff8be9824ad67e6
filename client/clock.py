"""The offset between the daemon's clock and this machine's, measured as the Network Time Protocol does.

A request leaves at t0 of this clock and arrives at t1 of the daemon's clock. The answer leaves at t2 of the daemon's
clock and arrives at t3 of this clock. The daemon's clock is ((t1 - t0) + (t2 - t3)) / 2 ahead. The error is at most
half of the time on the way, because all of that time may be on one side. So the fastest measurement is the best; its
uncertainty grows as the clocks drift apart. Source: RFC 5905, section 8.
"""

import time
from collections import deque
from typing import NamedTuple

from .wire import Clock, ClockRequest

DRIFT = 5e-5
"""Seconds per second by which two clocks may drift apart: twice a quartz clock's specification."""
N_KEPT = 64
DIGITS = 6


class ClockOffset(NamedTuple):
    """The seconds by which the daemon's clock is ahead of this machine's, and the largest possible error, s."""

    offset_s: float
    uncertainty_s: float


class _Measured(NamedTuple):
    at_s: float  # monotonic clock, which is never set
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
        """The offset with the smallest uncertainty now; None before the first measurement."""
        now_s = time.monotonic()
        best = min(self._measured, key=lambda one: one.uncertainty_s(now_s), default=None)
        return best and ClockOffset(round(best.offset_s, DIGITS), round(best.uncertainty_s(now_s), DIGITS))

    def request(self) -> ClockRequest:
        """Return a request to send at once; it reports the best offset so far to the daemon."""
        known = self.offset
        return ClockRequest(
            sent_s=time.time(),
            offset_s=known and known.offset_s,
            uncertainty_s=known and known.uncertainty_s,
        )

    def take(self, answer: Clock, came_s: float) -> None:
        """Add the measurement of a request's answer, which came at `came_s` of this machine's clock."""
        delay_s = (came_s - answer.sent_s) - (answer.answered_s - answer.received_s)
        if delay_s < 0:
            return  # a clock was set during the measurement
        ahead_s = ((answer.received_s - answer.sent_s) + (answer.answered_s - came_s)) / 2
        newest = _Measured(time.monotonic(), ahead_s, delay_s / 2)
        # If an older measurement contradicts the newest, a clock was set between them.
        agreeing = [
            one
            for one in self._measured
            if abs(one.offset_s - ahead_s) <= one.uncertainty_s(newest.at_s) + newest.half_delay_s
        ]
        self._measured = deque([*agreeing, newest], maxlen=N_KEPT)
