"""The state of the monitor's connection to its daemon, derived from the last messages and their times."""

from dataclasses import dataclass, field
from typing import Literal

from ..client.wire import Heartbeat, Mark
from .daemon_clock import DaemonClock, age_words
from .fitted import run_within

State = Literal[
    "connecting", "waiting", "connected", "recording", "starting", "restarting", "ready", "paused", "stopping",
    "stopped", "unreachable", "recorded",
]  # fmt: skip

LOST_AFTER_S = 3.5
"""Heartbeats come once a second, so three are missing."""
WAITING_AFTER_S = 3.0
"""A running daemon sends a heartbeat sooner."""


@dataclass
class Connection:
    """The last messages from the daemon. Times are seconds of a monotonic clock."""

    opened_s: float
    heard_s: float | None = None
    heartbeat: Heartbeat | None = None
    heartbeat_s: float | None = None
    clock: DaemonClock = field(default_factory=DaemonClock)
    is_recorded: bool = False
    """Whether the messages come from a recorded session and not from a daemon."""

    def take(self, heartbeat: Heartbeat, now_s: float) -> None:
        """Note a heartbeat that came now."""
        self.heartbeat, self.heard_s, self.heartbeat_s = heartbeat, now_s, now_s
        if heartbeat.sent_s is not None:
            self.clock.note(heartbeat.sent_s, now_s)

    def state(self, now_s: float) -> State:
        """Return the state: the daemon's own while its heartbeats come.

        A daemon that stopped in order is `stopped`. A daemon that is silent without a word is `unreachable`. While the
        daemon waits for a new decoder process in place of a dead one, it is `restarting`.
        """
        if self.is_recorded:
            return "recorded"
        if self.heard_s is None:
            return "waiting" if now_s - self.opened_s > WAITING_AFTER_S else "connecting"
        is_silent = now_s - self.heard_s > LOST_AFTER_S
        match self.heartbeat:
            case Heartbeat(state="stopped"):
                return "stopped"
            case Heartbeat(state="stopping") if is_silent:
                return "stopped"
            case _ if is_silent:
                return "unreachable"
            case Heartbeat(state="starting", is_decoder_down=True):
                return "restarting"
            case Heartbeat(state="recording" | "starting" | "ready" | "paused" | "stopping" as state):
                return state
            case _:
                return "connected"

    def stalled_s(self, now_s: float) -> float | None:
        """Return the time since the last volume if volumes fail to come within a run; None if not, or if paused."""
        if self.heartbeat is None or self.state(now_s) not in ("recording", "starting", "restarting", "ready"):
            return None
        if self.heartbeat.stalled_s is None or self.heartbeat_s is None:
            return self.heartbeat.stalled_s
        return self.heartbeat.stalled_s + now_s - self.heartbeat_s

    def words(self, now_s: float) -> str:
        """Return the state in the words of the top bar."""
        return self.forms(now_s)[0]

    def forms(self, now_s: float) -> tuple[str, ...]:
        """Return the state in words, in forms from long to short. A stall is in each: an operator must act on it."""
        state = self.state(now_s)
        words = {
            "waiting": "no daemon",
            "starting": "decoder loading",
            "stopping": "daemon stopping",
            "stopped": "daemon stopped",
            "recorded": "recorded session, no daemon",
        }.get(state, state)
        forms = (words,)
        if state == "unreachable" and self.heard_s is not None:
            silence = age_words(now_s - self.heard_s)
            forms = (f"daemon unreachable for {silence}", f"unreachable for {silence}")
        if state == "restarting" and self.heartbeat is not None:
            times = f"{ordinal(self.heartbeat.session_restarts)} time"
            words = "decoder restarting"
            forms = (f"{words} ({crash_words(self.heartbeat)})", f"{words} ({times})", words)
        stalled_s = self.stalled_s(now_s)
        if stalled_s is None:
            return forms
        stall = f"no volume for {stalled_s:.1f} s"
        return (*(f"{form}, {stall}" for form in forms), stall)


def hint(connection: Connection, decodes: str, now_s: float, pause_key: str) -> str:
    """Return what to do while there is no decode; `decodes` is the daemon's address."""
    match connection.state(now_s):
        case "waiting" | "unreachable" | "stopped":
            return f"waiting for a daemon at {decodes}\nstart it with: braind serve"
        case "connecting":
            return f"connecting to {decodes}"
        case "starting" | "restarting":
            return "the decoder is loading; volumes are acked meanwhile"
        case "recording":
            return "volumes are recorded; there are no weights yet\nwhen there are: braind use WEIGHTS"
        case "paused":
            return f"decoding is paused; {pause_key} goes on"
        case _ if connection.heartbeat and connection.heartbeat.no_pictures:
            return "no volume decoded yet: send a run with braind send"
        case _:
            return "no volume decoded yet\nsend some with: braind replay --subject 1"


def crash_words(heartbeat: Heartbeat) -> str:
    """Return how often the decoder died in this session, and over which volume it died last."""
    times = f"{ordinal(heartbeat.session_restarts)} time"
    if heartbeat.crashed_index is None:
        return times
    run = "" if heartbeat.crashed_run == heartbeat.run else run_within(heartbeat.session, heartbeat.crashed_run) + ", "
    return f"{times}; {run}volume {heartbeat.crashed_index}"


def mark_place(mark: Mark) -> str:
    """Return what a mark is about within its run: an event, a volume, or neither."""
    if mark.event is not None:
        return f", event {mark.event}"
    return "" if mark.index is None else f", volume {mark.index}"


def ordinal(number: int) -> str:
    """Return `1st`, `2nd`, `3rd`, `4th` …"""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def without_signal_words(n_voxels: int, *, is_decoded: bool = True) -> str:
    """Return the sentence on voxels without signal in a run, which is decoded or only recorded."""
    of_weights = " of the weights'" if is_decoded else ""
    have = "has" if n_voxels == 1 else "have"
    effect = "; they count as the training mean" if is_decoded else ""
    return f"{n_voxels:,}{of_weights} voxels {have} no signal{effect}"
