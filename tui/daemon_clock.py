"""The daemon's clock, as its heartbeats tell it. Ages of messages are differences of the daemon's own times."""

from collections import deque

N_KEPT = 8


class DaemonClock:
    """The offset from this machine's monotonic clock to the daemon's clock.

    A heartbeat comes late by its time on the way and is never early. So the least late of the last `N_KEPT` heartbeats
    gives the offset. The wall clock of this machine plays no part: it may differ from the daemon's by hours.
    """

    def __init__(self) -> None:
        self._offsets_s: deque[float] = deque(maxlen=N_KEPT)

    def note(self, sent_s: float, came_s: float) -> None:
        """Note a heartbeat: its `sent_s` by the daemon's clock, and when it came by this machine's monotonic clock."""
        self._offsets_s.append(sent_s - came_s)

    def age_s(self, made_s: float | None, now_s: float) -> float | None:
        """Return the age of a message that the daemon made at `made_s`; None while the daemon's time is not known."""
        if made_s is None or not self._offsets_s:
            return None
        return max(0.0, now_s + max(self._offsets_s) - made_s)


def age_words(age_s: float) -> str:
    """Return an age or a duration in words: `4 s`, `3 min`, `2 h`, `5 days`."""
    if age_s < 100:
        return f"{age_s:.0f} s"
    if age_s < 100 * 60:
        return f"{age_s / 60:.0f} min"
    return f"{age_s / 3600:.0f} h" if age_s < 48 * 3600 else f"{age_s / 86400:.0f} days"
