"""Two trials side by side: their pictures, and their numbers with a mark where they differ."""

from itertools import zip_longest

from rich.cells import set_cell_size
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import Screen

from ...errors import BraindError
from ...printable import printable
from ..fitted import plain_row, run_within, wrapped
from ..keys import Keys
from ..live.decode_view import DecodeView
from ..names import forms_of
from ..recent import DecodedVolume
from ..state.monitor_state import MonitorState
from ..state.trials import TrialRecord
from ..text_view import TextView
from .leaving import is_open
from .loading import Fetch, fetched_volume, kept_volume
from .trial import facts_of

NAME_CELLS = 13
GAP_CELLS = 4
"""Between a name, its mark and the two columns."""
SIDE_PADDING_CELLS = 4
"""Around a side and around its title."""


class CompareScreen(Screen[None]):
    """Shows two trials. Pictures that the monitor does not keep are fetched.

    Parameters
    ----------
    state : MonitorState
    records : the two trials
    fetch : function
    """

    BINDINGS = [Binding("escape,c,q", "dismiss", "Back", key_display="esc", id="compare.back")]

    def __init__(self, state: MonitorState, records: tuple[TrialRecord, TrialRecord], fetch: Fetch) -> None:
        super().__init__()
        self._state, self._records, self._fetch = state, records, fetch
        self._volumes: list[DecodedVolume | None] = [kept_volume(state, record) for record in records]

    def compose(self) -> ComposeResult:
        with Horizontal(id="compare-pictures"):
            for side in range(2):
                with Vertical(id=f"side-{side}", classes="compare-side"):
                    yield TextView(classes="screen-title")
                    yield DecodeView()
        with VerticalScroll(id="compare-scroll"):
            yield TextView(id="compare-facts")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one("#compare-scroll").focus()
        self._show_titles()
        for side in range(2):
            self._show_side(side, "fetching the pictures …")
        self._load()

    def on_resize(self) -> None:
        """Draw the words anew for another width."""
        self._show_titles()
        self.call_after_refresh(self._show_facts)

    def _show_titles(self) -> None:
        for side, record in enumerate(self._records):
            title = plain_row(
                (99, f"no. {record.number}"),
                (95, forms_of("run", run_within(record.session, record.run))),
                (90, record.outcome),
                (98, "recorded" if self._state.recorded else ""),
                n_cells=self.app.size.width // 2 - SIDE_PADDING_CELLS,
            )
            self.query_one(f"#side-{side} .screen-title", TextView).show(title)

    @work(thread=True, exclusive=True)
    def _load(self) -> None:
        for side, record in enumerate(self._records):
            if self._volumes[side] is not None:
                continue
            try:
                self._volumes[side], _ = fetched_volume(record, self._fetch)
                words = f"{record.outcome}: there is no picture"
            except (BraindError, OSError) as error:
                words = str(error)
            self.app.call_from_thread(self._show_side, side, words)

    def _show_side(self, side: int, words: str) -> None:
        if is_open(self):
            self.query_one(f"#side-{side} DecodeView", DecodeView).show(self._volumes[side], printable(words))
            self._show_facts()

    def _show_facts(self) -> None:
        sides = [{} if volume is None else _numbered(facts_of(volume)) for volume in self._volumes]
        view = self.query_one("#compare-facts", TextView)
        if not view.content_size.width:
            return  # the first layout draws again
        n_cells = max(8, (view.content_size.width - NAME_CELLS - GAP_CELLS) // 2)
        lines = []
        for name in dict.fromkeys([*sides[0], *sides[1]]):
            words = [printable(side.get(name, "–")) for side in sides]
            mark = " " if words[0] == words[1] else "≠"
            columns = [wrapped(one, n_cells) for one in words]
            for row, (left, right) in enumerate(zip_longest(*columns, fillvalue="")):
                head = f"{name[0] if not row else '':<{NAME_CELLS}}{mark if not row else ' '} "
                lines.append(f"{head}{set_cell_size(left, n_cells)}  {right}")
        view.show(Text("\n".join(lines)))


def _numbered(facts: list[tuple[str, str]]) -> dict[tuple[str, int], str]:
    """Return facts by name and by how often the name came before: a trial may have several classes."""
    found: dict[tuple[str, int], str] = {}
    for name, words in facts:
        found[name, sum(one == name for one, _ in found)] = words
    return found
