"""The monitor's two dialogs: help, and the confirmation of a pause."""

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

HELP = """\
seen       what was on the subject's screen, if the sender gave it
Xz         z alone, from early visual cortex: layout, no meaning
Xzc        z and c together: z noised, denoised under c, decoded
scores     known pictures nearest to z and c, by correlation
classes    probability of each class, at every TR of a running
           block (provisional), then final; chance: 1 / classes
ms         from a volume's arrival to ack, scores, Xz and Xzc;
           median and p99 over the volumes kept here
skipped    no picture in time; the voxels are in the journal
calibration  trials fitted on so far; share of other left-out
           pictures that a trial fits worse than its own

→ ←        hold an older or a newer decode of the strip
f  esc     follow the newest decode again
p  q       pause decoding or go on; quit, the daemon goes on"""

PAUSE = """\
Pause decoding for everybody?

Volumes are still acked and journaled; no scores and no pictures are made until someone resumes."""


class Help(ModalScreen[None]):
    """Explains every word on the screen and every key."""

    BINDINGS = [Binding("escape,question_mark,q,enter", "dismiss", "Close", key_display="esc")]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog"):
            yield Static(Text(HELP))
            yield Static("esc  close", classes="dialog-keys", markup=False)


class ConfirmPause(ModalScreen[bool]):
    """Asks before a pause, because a stray key must not stop the decoding of a running experiment."""

    BINDINGS = [
        Binding("y,p,enter", "answer(True)", "Pause"),
        Binding("escape,n,q", "answer(False)", "Go on decoding"),
    ]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog"):
            yield Static(Text(PAUSE))
            yield Static("y  pause    esc  go on decoding", classes="dialog-keys", markup=False)

    def action_answer(self, paused: bool) -> None:
        self.dismiss(paused)
