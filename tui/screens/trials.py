"""The table of a session's trials: sort and filter it, jump to a number, open, compare and export trials."""

from typing import NamedTuple

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.events import Key as KeyPress
from textual.widgets import DataTable, Input

from ...errors import BraindError
from ...printable import printable
from ..fitted import plain_row
from ..keymap import shown_key
from ..keys import Keys
from ..names import forms_of
from ..state.monitor_state import MonitorState
from ..state.trials import COLUMNS, Key, TrialRecord, columns_by_importance, sorted_by
from ..text_view import TextView
from ..whole_columns import WholeColumnsTable
from .compare import CompareScreen
from .earlier import SessionScreen, Source
from .events import EventsScreen
from .export import export_trials
from .leaving import is_open
from .note import note_on
from .quality import QualityScreen
from .trial import TrialScreen
from .trial_row import NUMBER, Room, has_words, room_of, row_of

TICK_S = 0.5
MOST_DIGITS = 6
SELECTED = "✓"


class Layout(NamedTuple):
    """The places among `COLUMNS` of the table's columns, in their order, and the room of names and labels."""

    places: list[int]
    room: Room


class TrialsTable(WholeColumnsTable):
    """Home and End go to the first and the last trial."""

    BINDINGS = [
        Binding("home", "scroll_top", "First", show=False, id="trials.first"),
        Binding("end", "scroll_bottom", "Last", show=False, id="trials.last"),
    ]


class FilterInput(Input):
    """The words of the filter. It is there only while it is used."""

    BINDINGS = [Binding("escape", "clear_all", "All trials", key_display="esc", id="trials.all")]

    def action_clear_all(self) -> None:
        """Show all trials."""
        self.value = ""
        self.display = False
        self.screen.query_one(TrialsTable).focus()


class TrialsScreen(SessionScreen):
    """One row a trial. The table grows while trials come; the cursor stays on its trial.

    Parameters
    ----------
    state : MonitorState
    source : Source
        Where earlier trials and older pictures come from.
    """

    BINDINGS = [
        Binding("escape,t,q", "dismiss", "Back", key_display="esc", id="trials.back"),
        Binding("enter", "open", "Open", id="trials.open", tooltip="The trial's pictures, numbers and provenance"),
        Binding(
            "slash", "filter", "Filter", key_display="/", id="trials.filter", tooltip="Only trials with some words"
        ),
        Binding("space", "select", "Select", id="trials.select", tooltip="Select the trial, or leave it"),
        Binding("c", "compare", "Compare", id="trials.compare", tooltip="Two selected trials, or one and the cursor's"),
        Binding("x", "export", "Export", id="trials.export", tooltip="Save the selected trials as PNG and JSON"),
        Binding("m", "mark", "Note", id="trials.mark", tooltip="Note something about the trial; the journal keeps it"),
        Binding("e", "events", "Events", show=False, id="trials.events"),
        Binding("y", "quality", "Quality", show=False, id="trials.quality"),
        Binding("o", "sort", "Sort", id="trials.sort", tooltip="Sort by the next column"),
        Binding("r", "reverse", "Reverse", id="trials.reverse", tooltip="Reverse the order"),
    ]

    def __init__(self, state: MonitorState, source: Source) -> None:
        super().__init__(state, source)
        self._session = state.trials.newest_session()
        self._records: list[TrialRecord] = []
        self._n_trials = 0
        """How many trials the session has. `_records` are the trials that the filter shows."""
        self._version_shown = -1
        self._layout = Layout([], room_of(0))
        self._column: int | None = None
        self._descending = False
        self._digits = ""
        self._filter = ""
        self._selected: dict[Key, None] = {}
        """The selected trials, in the order in which they were selected."""

    def compose(self) -> ComposeResult:
        yield TextView(id="trials-title", classes="screen-title")
        yield TrialsTable(id="trials", cursor_type="row", zebra_stripes=False)
        placeholder = f"words that a trial's row has; {shown_key(self.app, 'trials.all')} shows all trials"
        yield FilterInput(placeholder=placeholder, id="trials-filter")
        yield Keys()

    def on_mount(self) -> None:
        table = self.query_one(TrialsTable)
        table.focus()
        self.set_interval(TICK_S, self.show)
        self.show()
        table.move_cursor(row=max(0, len(self._records) - 1))
        self.fetch_earlier(self._session)

    def show(self) -> None:
        """Show the session's trials; draw nothing if nothing has changed."""
        trials = self._state.trials
        if trials.version != self._version_shown:
            before, self._version_shown = self._version_shown, trials.version
            self._session = self._session or trials.newest_session()
            all_records = trials.of_session(self._session)
            self._n_trials = len(all_records)
            wanted = [one for one in all_records if has_words(one, self._filter)]
            records = sorted_by(wanted, self._column, descending=self._descending)
            layout = Layout(columns_by_importance(all_records), room_of(self.app.size.width))
            if layout != self._layout or [one.key for one in records] != [one.key for one in self._records]:
                self._fill(records, layout)
            else:
                self._update([place for place, one in enumerate(records) if one.version > before], records)
        order = "by arrival" if self._column is None else f"by {COLUMNS[self._column][0]}"
        order += ", descending" if self._descending else ""
        n_trials = "1 trial" if self._n_trials == 1 else f"{self._n_trials} trials"
        if self._filter:
            n_trials = f"{len(self._records)} of {n_trials}"
        title = plain_row(
            (98, "recorded" if self._state.recorded else ""),
            (99, n_trials),
            (70, forms_of("session", self._session)),
            (85, f"{len(self._selected)} selected" if self._selected else ""),
            (80, order),
            (90, self._note),
            (60, f"jump to {self._digits}" if self._digits else "digits jump to a number"),
            n_cells=self.app.size.width - 2,
        )
        self.query_one("#trials-title", TextView).show(title)

    def on_resize(self) -> None:
        """Lay the table and the title out for another width."""
        if room_of(self.app.size.width) != self._layout.room:
            self._version_shown = -1
        self.show()

    def _fill(self, records: list[TrialRecord], layout: Layout) -> None:
        table = self.query_one(TrialsTable)
        at = table.cursor_row
        chosen = self._records[at].key if 0 <= at < len(self._records) else None
        is_at_end = at >= len(self._records) - 1
        n_same = len(self._records)
        if layout != self._layout:
            self._layout = layout
            table.clear(columns=True)
            table.add_columns(*(COLUMNS[place][0] for place in layout.places))
            n_same = 0
        if [one.key for one in records[:n_same]] == [one.key for one in self._records[:n_same]]:
            self._update([place for place, one in enumerate(records[:n_same])], records)
            for one in records[n_same:]:
                table.add_row(*self._cells(one))
        else:
            table.clear()
            for one in records:
                table.add_row(*self._cells(one))
        self._records = records
        place = next((place for place, one in enumerate(records) if one.key == chosen), 0)
        if is_at_end and self._column is None:
            place = max(0, len(records) - 1)  # whoever looks at the newest trial goes on looking at the newest
        table.move_cursor(row=place)

    def _update(self, places: list[int], records: list[TrialRecord]) -> None:
        table = self.query_one(TrialsTable)
        for place in places:
            for column, cell in enumerate(self._cells(records[place])):
                if table.get_cell_at((place, column)) != cell:  # pyright: ignore[reportArgumentType]
                    table.update_cell_at((place, column), cell, update_width=True)  # pyright: ignore[reportArgumentType]

    def _cells(self, record: TrialRecord) -> list[Text]:
        cells = row_of(record, self._layout.room)
        if record.key in self._selected:
            cells[NUMBER] = Text(f"{cells[NUMBER].plain} {SELECTED}")
        return [cells[place] for place in self._layout.places]

    def on_key(self, press: KeyPress) -> None:
        """Jump to the trial whose number the digits are; any other key ends the number."""
        if not (press.character or "").isdecimal():
            self._digits = ""
            return
        self._digits = (self._digits + (press.character or ""))[-MOST_DIGITS:]
        for digits in (self._digits, press.character or ""):
            places = [place for place, one in enumerate(self._records) if one.number == int(digits)]
            if places:
                self._digits = digits
                self.query_one(TrialsTable).move_cursor(row=places[-1])
                break
        self.show()

    @on(DataTable.HeaderSelected)
    def _sort_by_header(self, selected: DataTable.HeaderSelected) -> None:
        column = self._layout.places[selected.column_index]
        self._descending = column == self._column and not self._descending
        self._sort_by(column)

    def action_sort(self) -> None:
        """Sort by the next column; after the last, by arrival."""
        at = -1 if self._column is None else self._layout.places.index(self._column)
        self._sort_by(self._layout.places[at + 1] if at + 1 < len(self._layout.places) else None)

    def action_reverse(self) -> None:
        """Reverse the order."""
        self._descending = not self._descending
        self._sort_by(self._column)

    def _sort_by(self, column: int | None) -> None:
        self._column, self._version_shown = column, -1
        self.show()

    def action_filter(self) -> None:
        """Ask for words; show only trials whose row has all of them."""
        field = self.query_one(FilterInput)
        field.display = True
        field.focus()

    @on(Input.Changed, "#trials-filter")
    def _filter_by(self, changed: Input.Changed) -> None:
        self._filter, self._version_shown = changed.value.strip(), -1
        self.show()

    @on(Input.Submitted, "#trials-filter")
    def _end_filter(self) -> None:
        self.query_one(FilterInput).display = bool(self._filter)
        self.query_one(TrialsTable).focus()

    @property
    def _chosen(self) -> TrialRecord | None:
        at = self.query_one(TrialsTable).cursor_row
        return self._records[at] if 0 <= at < len(self._records) else None

    def _selection(self) -> list[TrialRecord]:
        """Return the selected trials; without a selection, the trial under the cursor."""
        selected = [record for key in self._selected if (record := self._state.trials.get(key))]
        return selected or ([self._chosen] if self._chosen else [])

    def action_select(self) -> None:
        """Select the trial under the cursor and go to the next; or leave it."""
        chosen = self._chosen
        if chosen is None:
            return
        if chosen.key in self._selected:
            del self._selected[chosen.key]
        else:
            self._selected[chosen.key] = None
        self._version_shown = -1
        self.show()
        self.query_one(TrialsTable).action_cursor_down()

    def action_compare(self) -> None:
        """Show two trials side by side: the selected two, or the selected one and the trial under the cursor."""
        records = self._selection()
        if len(records) == 1 and self._chosen is not None and self._chosen is not records[0]:
            records.append(self._chosen)
        if len(records) != 2:
            words = f"select two trials with {shown_key(self.app, 'trials.select')}, or select one and go to the other"
            self.notify(f"{len(self._selected)} trials are selected: {words}", severity="warning")
            return
        self.app.push_screen(CompareScreen(self._state, (records[0], records[1]), self._source.stages))

    def action_export(self) -> None:
        """Save the selected trials, or the trial under the cursor, as PNG and JSON."""
        records = self._selection()
        if records:
            self._note = f"exporting {len(records)} trials …" if len(records) > 1 else "exporting 1 trial …"
            self.show()
            self._export(records)

    @work(thread=True, group="export", exclusive=True)
    def _export(self, records: list[TrialRecord]) -> None:
        try:
            paths = export_trials(records, self._source.stages)
        except (BraindError, OSError) as error:
            self.app.call_from_thread(self._end_export, f"the trials were not exported: {error}", is_done=False)
        else:
            saved = " and ".join(str(path) for path in paths)
            self.app.call_from_thread(self._end_export, f"saved as {saved}", is_done=True)

    def _end_export(self, sentence: str, *, is_done: bool) -> None:
        self._note = ""
        self.app.notify(printable(sentence), severity="information" if is_done else "error", markup=False)
        if is_open(self):
            self.show()

    def action_mark(self) -> None:
        """Ask for a note on the trial under the cursor."""
        if self._chosen is not None:
            note_on(self, self._chosen, self._source)

    def action_events(self) -> None:
        """Show the events of this session: a recorded session has its own."""
        self.app.push_screen(EventsScreen(self._state))

    def action_quality(self) -> None:
        """Show the quality of this session's runs."""
        self.app.push_screen(QualityScreen(self._state, self._source))

    @on(DataTable.RowSelected)
    def _open_row(self, _: DataTable.RowSelected) -> None:
        self.action_open()

    def action_open(self) -> None:
        """Open the trial under the cursor."""
        if self._chosen is not None:
            self.app.push_screen(TrialScreen(self._state, self._chosen, self._source))
