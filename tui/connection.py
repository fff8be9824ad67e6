"""How the monitor stands with its daemon, told from what was heard and when."""

from dataclasses import dataclass
from typing import Literal

from ..client.wire import Heartbeat

State = Literal["connecting", "waiting", "connected", "recording", "starting", "ready", "paused", "stopping", "lost"]

LOST_AFTER_S = 3.5
"""Heartbeats come once a second: three are missing."""
WAITING_AFTER_S = 3.0
"""A daemon that runs is heard sooner."""


@dataclass
class Connection:
    """What was heard last. Times are seconds of a monotonic clock."""

    opened_s: float
    heard_s: float | None = None
    decoded_s: float | None = None
    heartbeat: Heartbeat | None = None

    def state(self, now_s: float) -> State:
        """Return the state; a daemon's own words are passed on while it is heard."""
        if self.heard_s is None:
            return "waiting" if now_s - self.opened_s > WAITING_AFTER_S else "connecting"
        if now_s - self.heard_s > LOST_AFTER_S:
            return "lost"
        match self.heartbeat:
            case Heartbeat(state="recording" | "starting" | "ready" | "paused" | "stopping" as state):
                return state
            case _:
                return "connected"

    def words(self, now_s: float) -> str:
        """Return the state as the top bar says it."""
        state = self.state(now_s)
        if state == "lost" and self.heard_s is not None:
            return f"lost for {now_s - self.heard_s:.0f} s"
        return {"waiting": "no daemon", "starting": "daemon starting"}.get(state, state)
