"""Signs of life of the decoder's main loop. The front ends a decoder that gives none in time.

Only the main loop calls this: a decoder that is stuck there must not look alive.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Literal

from .. import link

SIGN_S = 1.0
"""Time between two signs of life while nothing is decoded."""
QUIET_S = 8.0
"""Longest silence between two short pieces of work. A locked journal takes a part of it."""
FACTOR = 10
"""A picture may take so many times as long as the pictures before it."""
FIRST_REFINED_S = 300.0
"""Longest silence in the first refined picture: its networks have not run yet."""
N_MEASURED = 9

Send = Callable[[link.ToFront], None]
Work = Literal["picture", "refined"]


class Liveness:
    """Tells the front that the main loop goes on, and when to expect the next line at the latest.

    Parameters
    ----------
    send : function
        Sends a line to the front.
    warm_up_s : float
        How long the first picture took.
    """

    def __init__(self, send: Send, warm_up_s: float) -> None:
        self._send = send
        self._first_s: dict[Work, float] = {
            "picture": FACTOR * warm_up_s,
            "refined": max(FIRST_REFINED_S, FACTOR * warm_up_s),
        }
        self._took_s: dict[Work, deque[float]] = {work: deque(maxlen=N_MEASURED) for work in self._first_s}
        self._within_s, self._told_s = 0.0, -math.inf

    def goes_on(self) -> None:
        """Give a sign of life between two short pieces of work."""
        self._tell(QUIET_S)

    def expect(self, work: Work) -> float:
        """Announce the silence of a picture, and return when it begins, monotonic time in s.

        The median time of earlier pictures sets how long the silence may last.
        """
        took_s = self._took_s[work]
        self._tell(max(QUIET_S, FACTOR * median(took_s) if took_s else self._first_s[work]))
        return time.monotonic()

    def note(self, work: Work, took_s: float) -> None:
        """Note how long a picture took."""
        self._took_s[work].append(took_s)

    def _tell(self, within_s: float) -> None:
        now_s = time.monotonic()
        if within_s != self._within_s or now_s - self._told_s >= SIGN_S:
            self._within_s, self._told_s = within_s, now_s
            self._send(link.Alive(within_s=within_s))
