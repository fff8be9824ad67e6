"""The top of the monitor: connection, subject, session, run, counters, the current volume, SIMULATED."""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widget import Widget

from ..client.wire import Heartbeat
from .connection import Connection, State
from .fitted import run_within, shortened
from .recent import DecodedVolume
from .text_view import TextView

STALE_AFTER_S = 20.0
"""Five of NSD's trials without a decode."""
SESSION_FITS_CELLS = 72
CLOCK_MATTERS_S = 0.1
"""A larger clock offset is a considerable part of a TR."""
STATE_STYLES: dict[State, str] = {
    "recording": "good",
    "ready": "good",
    "paused": "warning",
    "starting": "warning",
    "stopping": "warning",
    "lost": "bad",
}


class StateBar(Widget):
    """Two rows. `SIMULATED` has its own place, so that nothing else can push it away."""

    COMPONENT_CLASSES = {
        "state-bar--good",
        "state-bar--warning",
        "state-bar--bad",
        "state-bar--value",
        "state-bar--name",
    }

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield TextView(id="connection")
            yield TextView(id="run")
            yield TextView("SIMULATED", id="simulated")
        with Horizontal():
            yield TextView(id="counters")
            yield TextView(id="shown")

    def show(
        self, connection: Connection, volume: DecodedVolume | None, following: bool, n_notices: int, now_s: float
    ) -> None:
        """Show the connection and the current volume, at `now_s` of the connection's clock."""
        heartbeat = connection.heartbeat
        simulated = (heartbeat is not None and heartbeat.simulated) or (volume is not None and volume.simulated)
        self.query_one("#simulated").display = simulated
        self.query_one("#connection", TextView).show(self._state(connection, now_s))
        self.query_one("#run", TextView).show(self._run(connection, volume))
        self.query_one("#counters", TextView).show(self._counters(connection, n_notices))
        self.query_one("#shown", TextView).show(self._shown(connection, volume, following, now_s))

    def _state(self, connection: Connection, now_s: float) -> Text:
        is_stalled = connection.stalled_s(now_s) is not None
        style = "warning" if is_stalled else STATE_STYLES.get(connection.state(now_s), "value")
        return Text.assemble(self._styled("● ", style), self._styled(connection.words(now_s), style))

    def _run(self, connection: Connection, volume: DecodedVolume | None) -> Text:
        heartbeat = connection.heartbeat
        session, run = (heartbeat.session, heartbeat.run) if heartbeat else ("", "")
        if not run and volume is not None:
            session, run = volume.session, volume.run
        named = [("run", run_within(session, run))]
        if self.size.width >= SESSION_FITS_CELLS:
            named.insert(0, ("session", session))
        if heartbeat is not None and heartbeat.subject is not None:
            named.insert(0, ("subject", str(heartbeat.subject)))
        return self._named(named)

    def _counters(self, connection: Connection, n_notices: int) -> Text:
        heartbeat = connection.heartbeat
        named = [
            ("acked", _count(heartbeat.n_acked) if heartbeat else "–"),
            ("decoded", _count(heartbeat.n_decoded) if heartbeat else "–"),
            ("skipped", _count(heartbeat.n_skipped) if heartbeat else "–"),
            ("refused", str(heartbeat.n_refused) if heartbeat else "–"),
        ]
        if heartbeat and heartbeat.state == "recording":
            # Nothing is decoded, and the calibration needs the room.
            named = [named[0], named[-1]]
        counters = self._named(named)
        if heartbeat and heartbeat.calibration and heartbeat.calibration.session == heartbeat.session:
            scores = heartbeat.calibration
            told = f"{scores.n_trials} trials, two-way {scores.two_way:.2f} ({scores.low:.2f}–{scores.high:.2f})"
            counters.append_text(Text("  ")).append_text(self._named([("calibration", told)]))
        if heartbeat and heartbeat.durability != "full":
            counters.append_text(self._styled(f"  durability {heartbeat.durability}", "warning"))
        if n_notices:
            counters.append_text(Text("  ")).append_text(self._styled(f"notices {n_notices}", "warning"))
        if heartbeat is not None and heartbeat.clock_offset_s is not None:
            matters = abs(heartbeat.clock_offset_s) > CLOCK_MATTERS_S
            style = "warning" if matters else "value"
            clock = Text.assemble(self._styled("  clock ", "name"), self._styled(clock_words(heartbeat), style))
            counters.append_text(clock)
        return counters

    def _shown(self, connection: Connection, volume: DecodedVolume | None, following: bool, now_s: float) -> Text:
        if volume is None:
            return Text()
        averaged = f" ({volume.n_averaged} averaged)" if volume.n_averaged > 1 else ""
        age = f", {volume.since_onset_s:.1f} s after onset" if volume.since_onset_s is not None else ""
        feedback = f"{volume.feedback:+.2f}" if volume.feedback is not None else ""
        what = self._named([("volume", f"{volume.index}{age}{averaged}"), ("feedback", feedback)])
        for flag in volume.flags:
            what.append_text(self._styled(f"  {flag}", "warning"))
        if not following:
            return what.append_text(self._styled("  held", "warning"))
        quiet_s = now_s - connection.decoded_s if connection.decoded_s is not None else 0.0
        return what.append_text(self._styled(f"  {quiet_s:.0f} s ago", "warning")) if quiet_s > STALE_AFTER_S else what

    def _named(self, named: list[tuple[str, str]]) -> Text:
        parts = [
            Text.assemble(self._styled(f"{name} ", "name"), self._styled(shortened(value, 40), "value"))
            for name, value in named
            if value
        ]
        return Text("  ").join(parts)

    def _styled(self, words: str, style: str) -> Text:
        return Text(words, self.get_component_rich_style(f"state-bar--{style}", partial=True))


def _count(n_volumes: int | None) -> str:
    """Return a number of volumes, "?" while the daemon cannot read its journal."""
    return "?" if n_volumes is None else str(n_volumes)


def clock_words(heartbeat: Heartbeat) -> str:
    """Return how far the daemon's clock is ahead of the scanner client's, and the largest possible error."""
    offset_s, uncertainty_s = heartbeat.clock_offset_s or 0.0, heartbeat.clock_uncertainty_s or 0.0
    if abs(offset_s) < 1:
        return f"{1000 * offset_s:+.1f} ± {1000 * uncertainty_s:.1f} ms"
    return f"{offset_s:+.3f} ± {uncertainty_s:.3f} s"
