"""The state of the monitor's connection to its daemon, derived from the last messages and their times."""

from dataclasses import dataclass
from typing import Literal

from ..client.wire import Heartbeat

State = Literal["connecting", "waiting", "connected", "recording", "starting", "ready", "paused", "stopping", "lost"]

LOST_AFTER_S = 3.5
"""Heartbeats come once a second, so three are missing."""
WAITING_AFTER_S = 3.0
"""A running daemon sends a heartbeat sooner."""


@dataclass
class Connection:
    """The last messages from the daemon. Times are seconds of a monotonic clock."""

    opened_s: float
    heard_s: float | None = None
    decoded_s: float | None = None
    heartbeat: Heartbeat | None = None

    def state(self, now_s: float) -> State:
        """Return the state: the daemon's own while its heartbeats come."""
        if self.heard_s is None:
            return "waiting" if now_s - self.opened_s > WAITING_AFTER_S else "connecting"
        if now_s - self.heard_s > LOST_AFTER_S:
            return "lost"
        match self.heartbeat:
            case Heartbeat(state="recording" | "starting" | "ready" | "paused" | "stopping" as state):
                return state
            case _:
                return "connected"

    def stalled_s(self, now_s: float) -> float | None:
        """Return how long no volume has come within a run; None if volumes come or decoding is paused."""
        if self.heartbeat is None or self.state(now_s) not in ("recording", "starting", "ready"):
            return None
        return self.heartbeat.stalled_s

    def words(self, now_s: float) -> str:
        """Return the state in the words of the top bar."""
        state = self.state(now_s)
        if state == "lost" and self.heard_s is not None:
            return f"lost for {now_s - self.heard_s:.0f} s"
        stalled_s = self.stalled_s(now_s)
        if stalled_s is not None:
            return f"{state}, no volume for {stalled_s:.1f} s"
        return {"waiting": "no daemon", "starting": "daemon starting"}.get(state, state)


def without_signal_words(n_voxels: int, *, is_decoded: bool = True) -> str:
    """Return the sentence on voxels without signal in a run, which is decoded or only recorded."""
    of_weights = " of the weights'" if is_decoded else ""
    have = "has" if n_voxels == 1 else "have"
    effect = "; they count as the training mean" if is_decoded else ""
    return f"{n_voxels:,}{of_weights} voxels {have} no signal{effect}"
