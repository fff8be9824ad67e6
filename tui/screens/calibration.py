"""The Calibration screen: the seen picture, the trials and minutes so far, and the score that a fit reached on them."""

from dataclasses import dataclass

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.worker import get_current_worker

from ...arrays import Array
from ...client.connection import RefusedByDaemon
from ...client.control import ControlClient
from ...client.endpoints import Endpoints
from ...client.pictures import PictureError, read_picture
from ...client.wire import Calibration, Recorded
from ...errors import BraindError
from ...printable import printable
from ..feed import poll
from ..fitted import longest_that_fits, plain_row, run_within, title_row
from ..keys import Keys
from ..live.picture_view import PictureView
from ..names import forms_of
from ..pictures import KEPT_PX
from ..state.calibration import curve_lines, newest_words, recorded_words, score_words
from ..state.monitor_state import MonitorState
from ..text_view import TextView
from .leaving import is_open

TICK_S = 0.5
NOT_SEEN = "no seen picture"
EARLIER = "not known: this daemon's version does not tell what it recorded"


@dataclass(frozen=True)
class SoFar:
    """What was recorded, and the seen picture of its newest trial: (height, width, 3) uint8, or why there is none."""

    recorded: Recorded
    picture: Array | None
    why_not: str = ""


class Asking:
    """Asks what was recorded; fetches a picture only once, because a picture may have megabytes."""

    def __init__(self) -> None:
        self._of: tuple[object, ...] | None = None
        self._picture: Array | None = None
        self._why_not = ""

    def __call__(self, control: ControlClient) -> SoFar | None:
        """Return what was recorded; None if the daemon is of an earlier version.

        Raises
        ------
        BraindError
            No daemon answers, or the daemon refuses.
        """
        try:
            recorded, _ = control.recorded()
            if _trial_of(recorded) != self._of and recorded.seen:
                recorded, png = control.recorded(picture=True)
                self._picture, self._why_not = _picture_of(png)
            elif not recorded.seen:
                self._picture, self._why_not = None, NOT_SEEN
        except RefusedByDaemon as error:
            if error.code != "malformed":
                raise
            return None
        self._of = _trial_of(recorded)
        return SoFar(recorded, self._picture, self._why_not)


class CalibrationScreen(Screen[None]):
    """Asks the daemon each second while it is open."""

    BINDINGS = [Binding("escape,k,q", "dismiss", "Back", key_display="esc", id="calibration.back")]

    def __init__(self, state: MonitorState, where: Endpoints) -> None:
        super().__init__()
        self._state, self._where = state, where
        self._calibrations: tuple[Calibration, ...] = ()

    def compose(self) -> ComposeResult:
        yield TextView(id="calibration-title", classes="screen-title")
        yield TextView("asking the daemon …", id="calibration-so-far")
        yield TextView(id="calibration-score")
        with Horizontal(id="calibration-body"):
            with Vertical(id="calibration-seen"):
                yield PictureView(id="calibration-picture")
                yield TextView(id="calibration-trial", classes="caption")
            yield TextView(id="calibration-curve")
        yield Keys()

    def on_mount(self) -> None:
        self._show_title()
        self.set_interval(TICK_S, self._show_curve)
        self._follow()

    @work(thread=True, exclusive=True)
    def _follow(self) -> None:
        worker = get_current_worker()
        for answer in poll(self._where, Asking(), lambda: worker.is_cancelled):
            self.app.call_from_thread(self._take, answer)

    def _take(self, answer: SoFar | BraindError | None) -> None:
        if not is_open(self):
            return
        if isinstance(answer, BraindError):
            self._show_silence(str(answer))
            return
        beat = self._state.connection.heartbeat
        if answer is None:
            self._show_title()
            self.query_one("#calibration-so-far", TextView).show(EARLIER)
            newest = beat.calibration if beat else None
            self._calibrations = (newest,) if newest is not None and beat and newest.session == beat.session else ()
            self._show_curve()
            return
        recorded = answer.recorded
        self._calibrations = recorded.calibrations
        decodes = beat is not None and beat.state not in ("recording", "stopping", "stopped")
        self._show_title(recorded.session, recorded.run, "the daemon decodes and records" if decodes else "")
        so_far = Text("; ".join(recorded_words(recorded)))
        self.query_one("#calibration-so-far", TextView).show(so_far)
        self.query_one("#calibration-picture", PictureView).show(answer.picture, answer.why_not)
        caption = self.query_one("#calibration-trial", TextView)
        words = newest_words(recorded) or "no trial yet"
        caption.show(longest_that_fits((f"seen, {words}", words), max(caption.size.width, 1)))
        self._show_curve()

    def _show_title(self, session: str = "", run: str = "", words: str = "") -> None:
        title = plain_row(
            (99, "Calibration"),
            (60, forms_of("session", session)),
            (80, forms_of("run", run_within(session, run))),
            (50, words),
            n_cells=self.app.size.width - 2,
        )
        self.query_one("#calibration-title", TextView).show(title)

    def _show_silence(self, why: str) -> None:
        forms = (f"no answer, all below is old: {why}", "no answer, all below is old")
        title = title_row("Calibration", forms, self.app.size.width - 2)
        self.query_one("#calibration-title", TextView).show(title)

    def _show_curve(self) -> None:
        self.query_one("#calibration-score", TextView).show(score_words(self._calibrations))
        view = self.query_one("#calibration-curve", TextView)
        view.show(Text("\n").join(map(Text, curve_lines(self._calibrations, *view.content_size))))


def _trial_of(recorded: Recorded) -> tuple[object, ...]:
    return recorded.session, recorded.run, recorded.index, recorded.event


def _picture_of(png: bytes | None) -> tuple[Array | None, str]:
    if png is None:
        return None, NOT_SEEN
    try:
        return read_picture(png, KEPT_PX), ""
    except PictureError as error:
        return None, printable(str(error))
