"""The event log: every notice, alarm and change of the daemon's state since the monitor started, with times."""

import time

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import Screen

from ..fitted import plain_row, with_hanging_indent
from ..keys import Keys
from ..names import forms_of
from ..state.event_log import Entry
from ..state.monitor_state import MonitorState
from ..text_view import TextView

TICK_S = 0.5
UNKNOWN_TIME = "time unknown"
CLOCK_TIME = "%H:%M:%S"
DAY_AND_TIME = "%d %b %H:%M:%S"
SAME_DAY_S = 12 * 3600.0
STYLES = {"alarm": "bad", "warning": "warning", "info": "value"}


class EventsScreen(Screen[None]):
    """One line an event, the newest first. A long sentence is wrapped."""

    BINDINGS = [Binding("escape,e,q", "dismiss", "Back", key_display="esc", id="events.back")]
    COMPONENT_CLASSES = {f"events--{style}" for style in (*STYLES.values(), "time")}

    def __init__(self, state: MonitorState) -> None:
        super().__init__()
        self._state = state
        self._shown = (-1, 0)

    def compose(self) -> ComposeResult:
        yield TextView(id="events-title", classes="screen-title")
        with VerticalScroll(id="events-scroll"):
            yield TextView(id="events")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one("#events-scroll").focus()
        self.set_interval(TICK_S, self.show)
        self.call_after_refresh(self.show)

    def on_resize(self) -> None:
        """Wrap the sentences anew for another width."""
        self.call_after_refresh(self.show)

    def show(self) -> None:
        """Show the events; draw nothing if there are no new events."""
        log, n_cells = self._state.log, self.query_one("#events", TextView).content_size.width
        if (log.n_added, n_cells) == self._shown:
            return
        self._shown = log.n_added, n_cells
        n_older = log.n_added - len(log.entries)
        title = plain_row(
            (97, "Events"),
            (99, forms_of("recorded session", self._state.recorded)),
            (80, "the newest first"),
            (90, [f"{n_older} older events are not kept", f"{n_older} not kept"] if n_older else ""),
            n_cells=self.app.size.width - 2,
        )
        self.query_one("#events-title", TextView).show(title)
        lines = [self._line(entry, n_cells) for entry in reversed(log.entries)]
        self.query_one("#events", TextView).show(Text("\n").join(lines) if lines else "nothing has happened yet")

    def _line(self, entry: Entry, n_cells: int) -> Text:
        name = STYLES[entry.severity]
        head = Text.assemble(
            (f"{event_time(entry, self._state, time.monotonic(), time.time())}  ", self._style("time")),
            (f"{entry.severity:<8} ", self._style(name)),
        )
        return with_hanging_indent(head, entry.sentence, n_cells, self._style(name))

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"events--{name}", partial=True)


def event_time(entry: Entry, state: MonitorState, now_s: float, unix_s: float) -> str:
    """Return when an event happened, in this machine's local time.

    Parameters
    ----------
    now_s, unix_s : float
        Now, by the monotonic clock and as seconds since 1970.
    """
    age_s = entry.age_s(state.connection.clock, now_s)
    if age_s is None:
        return UNKNOWN_TIME
    return time.strftime(CLOCK_TIME if age_s < SAME_DAY_S else DAY_AND_TIME, time.localtime(unix_s - age_s))
