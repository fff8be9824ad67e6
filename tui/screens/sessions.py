"""The list of recorded sessions: open one to see its trials, events and quality. No daemon is needed."""

import time
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen
from textual.widgets import DataTable
from textual.worker import get_current_worker

from ...errors import BraindError
from ...printable import printable
from ..drawing.terminal import terminal_of
from ..fitted import plain_row, shortened, wrapped
from ..keys import Keys
from ..names import short_name, told_apart
from ..pictures import largest_px
from ..state.monitor_state import MonitorState
from ..state.recorded import Recordings, SessionFacts, read_session
from ..text_view import TextView
from ..whole_columns import WholeColumnsTable
from .earlier import source_of_recording
from .leaving import is_open
from .trials import TrialsScreen

COLUMNS = ("session", "state", "opened", "volumes", "runs", "subject", "MB")
NAME_CELLS, NARROW_NAME_CELLS = 40, 20
WIDE_CELLS = 80
"""A terminal of at least so many cells has room for long names."""
FACT_ROWS = 4
UNKNOWN = "–"


class SessionsTable(WholeColumnsTable):
    """Home and End go to the first and the last session."""

    BINDINGS = [
        Binding("home", "scroll_top", "First", show=False, id="sessions.first"),
        Binding("end", "scroll_bottom", "Last", show=False, id="sessions.last"),
    ]


class SessionsScreen(Screen[None]):
    """One row a session, the newest first. Below the table stand the facts of the session under the cursor."""

    BINDINGS = [
        Binding("escape,d,q", "dismiss", "Back", key_display="esc", id="sessions.back"),
        Binding("enter", "open", "Open", id="sessions.open", tooltip="The trials of the session"),
        Binding("r", "read", "Read again", id="sessions.read", tooltip="Read the list of sessions again"),
    ]

    def __init__(self, recordings: Recordings) -> None:
        super().__init__()
        self._recordings = recordings
        self._sessions: Sequence[SessionFacts] = ()
        self._note = ""

    def compose(self) -> ComposeResult:
        yield TextView(id="sessions-title", classes="screen-title")
        yield SessionsTable(id="sessions", cursor_type="row")
        yield TextView(id="session-facts")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(SessionsTable).focus()
        self.action_read()

    def action_read(self) -> None:
        """Read the list of sessions again."""
        self._note = "reading …"
        self._show_title()
        self._list()

    @work(thread=True, group="list", exclusive=True)
    def _list(self) -> None:
        try:
            found, note = self._recordings.sessions()[::-1], ""
        except (BraindError, OSError) as error:
            found, note = (), str(error)
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self._take_list, found, note)

    def _take_list(self, sessions: Sequence[SessionFacts], note: str) -> None:
        if not is_open(self):
            return
        self._sessions, self._note = sessions, note
        self.on_resize()

    def on_resize(self) -> None:
        """Draw the names and the words anew for another width."""
        table = self.query_one(SessionsTable)
        at, n_cells = table.cursor_row, NAME_CELLS if self.app.size.width >= WIDE_CELLS else NARROW_NAME_CELLS
        names = told_apart([one.session for one in self._sessions], n_cells)
        table.clear(columns=True)
        table.add_columns(*COLUMNS)
        for name, one in zip(names, self._sessions, strict=True):
            table.add_row(*map(Text, (name, *_words(one))))
        table.move_cursor(row=at)
        self._show_title()
        self.call_after_refresh(self._show_facts)

    def _show_title(self) -> None:
        n_sessions = "1 session" if len(self._sessions) == 1 else f"{len(self._sessions)} sessions"
        title = plain_row(
            (99, n_sessions),
            (80, "the newest first"),
            (90, self._note),
            (50, str(self._recordings.folder)),
            n_cells=self.app.size.width - 2,
        )
        self.query_one("#sessions-title", TextView).show(title)

    @property
    def _largest_px(self) -> int:
        return largest_px(terminal_of(self.app))

    @property
    def _chosen(self) -> SessionFacts | None:
        at = self.query_one(SessionsTable).cursor_row
        return self._sessions[at] if 0 <= at < len(self._sessions) else None

    @on(DataTable.RowHighlighted)
    def _show_facts(self) -> None:
        chosen, view = self._chosen, self.query_one("#session-facts", TextView)
        if chosen is None:
            words = "" if self._note else "no session is recorded yet: send a run to braind serve"
        elif chosen.problem:
            words = f"{chosen.session} cannot be read: {chosen.problem}"
        else:
            volumes = ", ".join(f"{n} {state}" for state, n in chosen.volumes.items()) or "none"
            runs = ", ".join(chosen.runs) or "none"
            words = f"volumes: {volumes}; weights: {chosen.weights or UNKNOWN}; runs: {runs}"
        lines = wrapped(words, max(self.app.size.width - 2, 1))
        kept = lines[:FACT_ROWS]
        if len(lines) > FACT_ROWS:
            kept[-1] = shortened(f"{kept[-1]} {lines[FACT_ROWS]}", max(self.app.size.width - 2, 1))
        view.show("\n".join(kept))

    @on(DataTable.RowSelected)
    def _open_row(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        """Read the session under the cursor and show its trials."""
        chosen = self._chosen
        if chosen is None:
            return
        if chosen.problem:
            self.notify(f"{chosen.session} cannot be read: {chosen.problem}", severity="error", markup=False)
            return
        self._note = f"reading {short_name(chosen.session, NAME_CELLS)} …"
        self._show_title()
        self._read_session(chosen)

    @work(thread=True, group="read", exclusive=True)
    def _read_session(self, chosen: SessionFacts) -> None:
        worker, path = get_current_worker(), Path(chosen.path)
        try:
            state, problem = read_session(self._recordings, path, lambda: worker.is_cancelled, self._largest_px)
        except (BraindError, OSError) as error:
            self.app.call_from_thread(self._fail, str(error))
        else:
            if not worker.is_cancelled:
                self.app.call_from_thread(self._open_state, chosen, state, problem)

    def _fail(self, sentence: str) -> None:
        if is_open(self):
            self._note = ""
            self._show_title()
            self.notify(sentence, severity="error", markup=False)

    def _open_state(self, chosen: SessionFacts, state: MonitorState, problem: str) -> None:
        if not self.is_current:
            return
        self._note = ""
        self._show_title()
        if problem:
            self.notify(f"read up to the damage: {problem}", severity="error", markup=False)
        self.app.push_screen(TrialsScreen(state, source_of_recording(self._recordings, chosen.path, self._largest_px)))


def _words(facts: SessionFacts) -> tuple[str, ...]:
    """Return what stands beside a session's name, in the order of `COLUMNS`; an unknown value is "–"."""
    if facts.problem:
        return "unreadable", UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, f"{facts.n_bytes / 1e6:.1f}"
    subject = UNKNOWN if facts.subject is None else str(facts.subject)
    opened_s = facts.opened_unix_s
    return (
        printable(facts.state),
        UNKNOWN if opened_s is None else time.strftime("%d %b %Y %H:%M", time.localtime(opened_s)),
        str(sum(facts.volumes.values())),
        str(len(facts.runs)),
        f"{subject} simulated" if facts.simulated else subject,
        f"{facts.n_bytes / 1e6:.1f}",
    )
