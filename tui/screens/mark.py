"""A dialog that marks an event with a note. The mark is of the moment at which the dialog was opened."""

import time
from collections.abc import Callable

import msgspec
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from ...client.wire import LONGEST_NOTE, Mark
from ...errors import BraindError
from ...printable import printable
from ..keymap import keys_row, shown_key
from ..text_view import TextView
from .leaving import is_open

EXPLAINED = """\
Mark {}

The session's journal keeps the note, and every viewer sees it. The mark has the time at which this dialog opened."""


OF_THE_MOMENT = Mark(note="")
"""The daemon names the run and the volume."""


class MarkDialog(ModalScreen[None]):
    """Asks for a note and sends the mark. A note that cannot be sent stays in the dialog.

    Parameters
    ----------
    send : function
        Sends a mark and returns the daemon's answer. It blocks, and may raise BraindError.
    mark : Mark
        Says what the mark is about; the note and the time are added.
    about : str
        The same in words.
    """

    BINDINGS = [Binding("escape", "dismiss", "Leave", key_display="esc", id="mark.leave")]

    def __init__(self, send: Callable[[Mark], str], mark: Mark = OF_THE_MOMENT, about: str = "an event") -> None:
        super().__init__()
        self._send_mark, self._mark, self._about = send, mark, about
        self._opened_s = time.monotonic()

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog"):
            yield Static(Text(EXPLAINED.format(printable(self._about))))
            yield Input(placeholder="what happened?", max_length=LONGEST_NOTE, id="note")
            yield TextView(id="mark-problem")
            yield Static(
                f"enter  mark    {keys_row(self.app, {'mark.leave': 'leave without a mark'})}",
                classes="dialog-keys",
                markup=False,
            )

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    @on(Input.Submitted)
    def _submit(self, submitted: Input.Submitted) -> None:
        if not submitted.value.strip():
            self._show_problem(f"write what happened, or leave with {shown_key(self.app, 'mark.leave')}")
            return
        self.query_one(Input).disabled = True
        self._send(submitted.value)

    @work(thread=True, exclusive=True)
    def _send(self, note: str) -> None:
        mark = msgspec.structs.replace(self._mark, note=note, age_s=round(time.monotonic() - self._opened_s, 3))
        try:
            answer = self._send_mark(mark)
        except BraindError as error:
            self.app.call_from_thread(self._show_problem, str(error))
        else:
            self.app.call_from_thread(self._leave, answer)

    def _show_problem(self, sentence: str) -> None:
        if is_open(self):
            self.query_one("#mark-problem", TextView).show(f"not marked: {printable(sentence)}")
            self.query_one(Input).disabled = False
            self.query_one(Input).focus()

    def _leave(self, answer: str) -> None:
        self.app.notify(printable(answer), markup=False)
        if is_open(self):
            self.dismiss()
