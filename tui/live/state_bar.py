"""The top of the monitor: what is live, what is on show, and the session's counters. A row each."""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widget import Widget

from ...client.wire import Heartbeat, Provenance
from ...printable import printable
from ...signs import number
from ..connection import Connection, State
from ..daemon_clock import age_words
from ..fitted import Part, fitted_row, run_within
from ..keymap import shown_key
from ..names import name_forms
from ..recent import DecodedVolume
from ..state.monitor_state import MonitorState
from ..text_view import TextView

NAME_SHORTENING = 45
"""The importance of the words in the middle of a long name: the counts of a volume and a trial matter more."""
FINGERPRINT_CELLS = 8
N_ROWS = 3
CLOCK_MATTERS_S = 0.1
"""A larger clock offset is a considerable part of a TR."""
UNFOLDS_FOR_S = 10.0
"""A trial without an estimate for longer, several TRs, does not unfold any more: its run was broken off."""
STATE_STYLES: dict[State, str] = {
    "recording": "good",
    "ready": "good",
    "paused": "warning",
    "starting": "warning",
    "restarting": "bad",
    "stopping": "warning",
    "stopped": "warning",
    "unreachable": "bad",
}


class StateBar(Widget):
    """Three rows. `SIMULATED` has its own place, so that nothing else can push it away.

    The first row names the live run, of which volumes come now. The second row names the run of the picture on show.
    The third row has the session's counters, and the preset, the engine and the weights of the picture on show.
    """

    COMPONENT_CLASSES = {
        "state-bar--good",
        "state-bar--warning",
        "state-bar--bad",
        "state-bar--value",
        "state-bar--name",
    }

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield TextView(id="live")
            yield TextView("SIMULATED", id="simulated")
        yield TextView(id="shown")
        yield TextView(id="counters")

    def show(self, state: MonitorState, volume: DecodedVolume | None, following: bool, now_s: float) -> None:
        """Show the state and the volume on show, at `now_s` of the state's clock."""
        beat = state.connection.heartbeat
        simulated = (beat is not None and beat.simulated) or (volume is not None and volume.simulated)
        simulated_view = self.query_one("#simulated", TextView)
        simulated_view.display = simulated
        width = self.size.width
        live_cells = width - (len("SIMULATED") + 3 if simulated else 0)
        warnings = self._warnings(beat, state.n_notices)
        # A low terminal has no room for the counters. Their warnings move up.
        live = [
            *self._live(state.connection, now_s),
            *self._trial_clock(state, volume, now_s),
            *(warnings if self.size.height < N_ROWS else []),
        ]
        self.query_one("#live", TextView).show(fitted_row(live, live_cells))
        calibration = self._calibration(beat)
        shown = self._shown(state, volume, following, now_s) if volume else calibration
        self.query_one("#shown", TextView).show(fitted_row(shown, width))
        made_by = self._made_by(volume.provenance) if volume else []
        counters = [*self._counters(beat), *warnings, *(calibration if volume else []), *made_by]
        self.query_one("#counters", TextView).show(fitted_row(counters, width))

    def _live(self, connection: Connection, now_s: float) -> list[Part]:
        beat = connection.heartbeat
        is_stalled = connection.stalled_s(now_s) is not None
        style = STATE_STYLES.get(connection.state(now_s), "value")
        style = "bad" if is_stalled else style
        forms = connection.forms(now_s)
        if connection.state(now_s) == "paused":
            forms = (f"{forms[0]}, {shown_key(self.app, 'monitor.pause')} goes on", *forms)
        state = tuple(self._styled(f"● {words}", style) for words in forms)
        live = [Part(100, state, shortening=85)]
        if beat is None:
            return live
        backlog = "?" if beat.n_waiting is None else str(beat.n_waiting)
        # What a silent daemon said last is not so now.
        is_silent = connection.state(now_s) in ("unreachable", "stopped")
        live.append(
            Part(
                95,
                (
                    self._named(
                        "backlog was" if is_silent else "backlog",
                        backlog,
                        "warning" if (beat.n_waiting or 0) > 1 else "value",
                    ),
                ),
            )
        )
        if beat.session_restarts and not beat.is_decoder_down:
            live.append(Part(90, (self._named("restarts", str(beat.session_restarts), "warning"),)))
        if beat.run:
            live.append(self._long_name(80, "last" if is_silent else "live", run_within(beat.session, beat.run)))
            live.append(self._long_name(50, "of", beat.session))
        return live

    def _trial_clock(self, state: MonitorState, volume: DecodedVolume | None, now_s: float) -> list[Part]:
        """Return the time since the onset of the trial that unfolds now, unless that trial is on show."""
        unfolding = state.recent.unfolding
        age_s = None if unfolding is None else state.age_s(unfolding, now_s)
        if unfolding is None or unfolding is volume or not state.is_live(unfolding):
            return []
        if unfolding.since_onset_s is None or age_s is None or age_s > UNFOLDS_FOR_S:
            return []
        name, since = f"event {unfolding.event}", f"{unfolding.since_onset_s + age_s:.1f} s"
        forms = f"{since} after onset, provisional", f"{since}, provisional", since
        return [Part(85, tuple(self._named(name, form) for form in forms), shortening=45)]

    def _shown(self, state: MonitorState, volume: DecodedVolume, following: bool, now_s: float) -> list[Part]:
        is_live = state.is_live(volume)
        words = ("shown" if is_live else "shown, not live") if following else "held" if is_live else "held, not live"
        parts = [Part(96, (self._styled(words, "name" if following and is_live else "warning"),))]
        if volume.provenance is not None:
            parts.append(Part(20, (self._named("subject", str(volume.provenance.subject)),)))
        parts.append(self._long_name(60, "session", volume.session))
        parts.append(self._long_name(99, "run", run_within(volume.session, volume.run)))
        if volume.event is not None:
            parts.append(Part(98, (self._named("event", str(volume.event)),)))
        parts.append(Part(97 if volume.event is None else 55, (self._named("volume", str(volume.index)),)))
        if volume.trial is not None:
            parts.append(Part(54, (self._named("trial", str(volume.trial)),)))
        if volume.since_onset_s is not None:
            since = f"{volume.since_onset_s:.1f} s"
            kind = "final" if volume.is_final else "provisional"
            forms = (f"{since} after onset, {kind}", f"{since} after onset", since)
            parts.append(Part(65, tuple(self._styled(form, "value") for form in forms)))
        if volume.n_averaged > 1:
            parts.append(Part(30, (self._styled(f"{volume.n_averaged} averaged", "value"),)))
        if volume.feedback is not None:
            parts.append(Part(70, (self._named("feedback", number(volume.feedback, "+.2f")),)))
        parts += [Part(90, (self._styled(flag, "warning"),)) for flag in volume.flags]
        age_s = state.age_s(volume, now_s)
        if age_s is not None:
            parts.append(Part(75, (self._styled(f"{age_words(age_s)} ago", "value"),)))
        return parts

    def _counters(self, beat: Heartbeat | None) -> list[Part]:
        counts = [("acked", 60, beat and _count(beat.n_acked))]
        if beat is None or beat.state != "recording":
            counts += [
                ("decoded", 55, beat and _count(beat.n_decoded)),
                ("skipped", 50, beat and _count(beat.n_skipped)),
            ]
        counts.append(("refused", 58, beat and str(beat.n_refused)))
        parts = [Part(importance, (self._named(name, words or "–"),)) for name, importance, words in counts]
        if beat is not None and beat.clock_offset_s is not None and abs(beat.clock_offset_s) <= CLOCK_MATTERS_S:
            parts.append(Part(40, (self._named("clock", clock_words(beat)),)))
        return parts

    def _made_by(self, made: Provenance | None) -> list[Part]:
        """Return what made the decode on show."""
        if made is None:
            return []
        engines = dict.fromkeys((made.engine, made.engine.partition(",")[0]))
        weights = made.weights[:FINGERPRINT_CELLS]
        return [
            Part(36, (self._named("preset", made.preset),)),
            Part(35, tuple(self._named("engine", printable(engine)) for engine in engines), shortening=32),
            Part(34, (self._named("weights", weights),)),
        ]

    def _warnings(self, beat: Heartbeat | None, n_notices: int) -> list[Part]:
        parts = []
        if beat is not None and beat.durability != "full":
            parts.append(Part(72, (self._styled(f"durability {beat.durability}", "warning"),)))
        if n_notices:
            parts.append(Part(70, (self._styled(f"notices {n_notices}", "warning"),)))
        if beat is not None and abs(beat.clock_offset_s or 0.0) > CLOCK_MATTERS_S:
            parts.append(Part(71, (self._named("clock", clock_words(beat), "warning"),)))
        return parts

    def _calibration(self, beat: Heartbeat | None) -> list[Part]:
        if beat is None or beat.calibration is None or beat.calibration.session != beat.session:
            return []
        scores = beat.calibration
        two_way = f"two-way {scores.two_way:.2f}"
        interval = f"({scores.low:.2f}–{scores.high:.2f})"
        forms = (f"{scores.n_trials} trials, {two_way} {interval}", f"{two_way} {interval}", two_way)
        return [Part(65, tuple(self._named("calibration", form) for form in forms))]

    def _long_name(self, importance: int, what: str, name: str) -> Part:
        forms = tuple(self._named(what, form) for form in name_forms(name))
        return Part(importance, forms, shortening=min(importance, NAME_SHORTENING))

    def _named(self, name: str, value: str, style: str = "value") -> Text:
        return Text.assemble(self._styled(f"{name} " if name else "", "name"), self._styled(value, style))

    def _styled(self, words: str, style: str) -> Text:
        return Text(words, self.get_component_rich_style(f"state-bar--{style}", partial=True))


def _count(n_volumes: int | None) -> str:
    """Return a number of volumes, "?" while the daemon cannot read its journal."""
    return "?" if n_volumes is None else str(n_volumes)


def clock_words(heartbeat: Heartbeat) -> str:
    """Return how far the daemon's clock is ahead of the scanner client's, and the largest possible error."""
    offset_s, uncertainty_s = heartbeat.clock_offset_s or 0.0, heartbeat.clock_uncertainty_s or 0.0
    if abs(offset_s) < 1:
        return f"{number(1000 * offset_s, '+.1f')} ± {1000 * uncertainty_s:.1f} ms"
    return f"{number(offset_s, '+.3f')} ± {uncertainty_s:.3f} s"
