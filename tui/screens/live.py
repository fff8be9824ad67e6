"""The Live screen: the decode on show, its nearest candidates and its latency, under the state of the daemon."""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.screen import Screen

from ..fitted import longest_that_fits
from ..keys import Keys
from ..live.classes import Classes
from ..live.decode_view import DecodeView
from ..live.latency import Latency
from ..live.retrieval import Retrieval
from ..live.score_line import ScoreLine
from ..live.state_bar import StateBar
from ..live.strip import RecentStrip
from ..recent import DecodedVolume
from ..state.monitor_state import MonitorState
from ..text_view import TextView

N_ALARM_ROWS = 2


class LiveScreen(Screen[None]):
    """Draws what it is given."""

    def compose(self) -> ComposeResult:
        yield StateBar()
        yield TextView(id="alarm")
        yield DecodeView()
        yield Classes(id="class-line")
        yield ScoreLine(id="score-line")
        with Horizontal(id="figures"):
            yield Retrieval()
            yield Latency()
        yield RecentStrip()
        yield Keys()

    def show(self, state: MonitorState, held: DecodedVolume | None, hint: str, now_s: float) -> None:
        """Show the held volume, else the newest; without a volume, show `hint`."""
        volume, following = held or state.recent.newest(now_s), held is None
        self.query_one(StateBar).show(state, volume, following, now_s)
        self.query_one(DecodeView).show(volume, hint)
        has_pictures = volume is None or volume.has_pictures
        self.query_one(Retrieval).display = has_pictures
        retrieved, seen = (volume.retrieved, volume.seen_candidate) if volume else ((), None)
        self.query_one(Retrieval).show(retrieved, seen)
        self.query_one(ScoreLine).show_scores(volume, state.run_score(volume))
        # The classes of a running block are newer than the newest picture, and may be of the next run.
        classified = held or state.recent.newest_classified
        class_line = self.query_one("#class-line", Classes)
        class_line.display = has_pictures and classified is not None and bool(classified.labels)
        is_of_other_run = bool(volume and classified and volume.place != classified.place)
        class_line.show(classified, names_run=is_of_other_run)
        self._show_alarms(state.alarms(now_s)[:N_ALARM_ROWS])
        self.query_one(Latency).show(volume, state.recent, following)
        self.query_one(RecentStrip).show(state.recent.newest_first(), volume)

    def _show_alarms(self, alarms: list[tuple[str, ...]]) -> None:
        view = self.query_one("#alarm", TextView)
        view.display = bool(alarms)
        view.show(Text("\n".join(longest_that_fits(forms, self.size.width - 2) for forms in alarms)))
