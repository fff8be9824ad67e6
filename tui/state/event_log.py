"""What happened while the monitor ran: what notices said, and each change of the daemon's state, with times."""

from collections import deque
from dataclasses import dataclass
from typing import Literal

from ..daemon_clock import DaemonClock

N_KEPT = 1000

Severity = Literal["alarm", "warning", "info"]
"""An alarm rings the bell: somebody must look at the experiment now."""


@dataclass(frozen=True)
class Entry:
    """One event. `heard_s` is this machine's monotonic time; `made_s` is the daemon's time, if the daemon gave it."""

    severity: Severity
    sentence: str
    heard_s: float
    made_s: float | None = None
    is_history: bool = False
    """Whether the event is older than the monitor's start or than an outage: no bell rings for it."""

    def age_s(self, clock: DaemonClock, now_s: float) -> float | None:
        """Return the event's age; None for an earlier event whose time the daemon did not give."""
        age_s = clock.age_s(self.made_s, now_s)
        return age_s if age_s is not None or self.is_history else now_s - self.heard_s


class EventLog:
    """The newest `N_KEPT` events, oldest first."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=N_KEPT)
        self.n_added = 0
        """How many events were ever added."""

    def add(self, entry: Entry) -> None:
        """Add an event."""
        self.entries.append(entry)
        self.n_added += 1

    def since(self, n_added: int) -> list[Entry]:
        """Return the events that were added after the first `n_added`."""
        n_new = min(self.n_added - n_added, len(self.entries))
        return list(self.entries)[len(self.entries) - n_new :]
