"""The monitor's two dialogs: help, and the confirmation of a pause."""

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from .fitted import with_hanging_indent
from .keymap import keys_row, shown_key

WORDS = (
    ("● ◐ ○ ×", "the picture is final, provisional, in the making, will not come"),
    ("seen", "what was on the subject's screen, if the sender gave it"),
    ("Xz", "z alone, from early visual cortex: layout, no meaning"),
    ("Xzc", "z and c together: z noised, denoised under c, decoded"),
    (
        "scores",
        "candidates nearest to z and c, with rank and correlation; ▸ and `seen` mark the seen picture's",
    ),
    (
        "two-way",
        "share of the other candidates that fit worse than the seen picture, mean over the run on show; 95 % Wilson "
        "interval over pictures; chance 0.50",
    ),
    (
        "classes",
        "probability of each class, at every TR of a running block (provisional), then final; chance: 1 / classes",
    ),
    ("ms", "from a volume's arrival to ack, scores, Xz and Xzc; median and p99 over the run on show"),
    ("live", "the run that the scanner sends now"),
    ("shown", "the run, volume and trial (event) of the picture"),
    ("backlog", "volumes that are acked and wait to be decoded"),
    ("skipped", "no picture in time; the voxels are in the journal"),
    ("calibration", "trials fitted on so far; share of other left-out pictures that a trial fits worse than its own"),
)
KEYS = (
    ("older newer", "hold an older or a newer decode of the strip"),
    ("follow", "follow the newest decode again"),
    ("zoom", "one picture, large; {zoom.next} turns to the next"),
    ("pause quit", "pause decoding or go on; quit, the daemon goes on"),
    ("trials events", "table of trials; events: notices and alarms"),
    ("quality sessions", "quality of each run; recorded sessions"),
    ("control setup calibration", "control, setup of the daemon, calibration"),
    ("mark", "mark an event with a note, kept in the journal"),
    ("bell save", "bell for alarms off or on; save the screen"),
)
"""What the keys of these ids of the monitor do."""
NAME_CELLS, WIDEST = 13, 100
DIALOG_MARGIN_CELLS = 8
"""Cells of a dialog's line that no word takes: its distance to the screen's edges, its padding and its scrollbar."""

PAUSE = """\
Pause decoding for everybody?

Volumes are still acked and journaled: none is lost. No scores and no pictures are made until someone resumes.

Then, under policy all, every volume of the pause is decoded, in order. Under policy latest the newest trial alone \
gets pictures; the others get none, and their voxels stay in the journal."""


class Help(ModalScreen[None]):
    """Explains every word on the screen and every key."""

    BINDINGS = [Binding("escape,question_mark,q,enter", "dismiss", "Close", key_display="esc", id="help.close")]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog"):
            yield Static(id="help")
            yield Static(keys_row(self.app, {"help.close": "close"}), classes="dialog-keys", markup=False)

    def on_resize(self) -> None:
        """Wrap the words anew for another width."""
        n_cells = min(round(0.92 * self.size.width), WIDEST) - DIALOG_MARGIN_CELLS
        next_picture = shown_key(self.app, "zoom.next")
        keys = [
            ("  ".join(shown_key(self.app, f"monitor.{id_}") for id_ in ids.split()),
             words.replace("{zoom.next}", next_picture))
            for ids, words in KEYS
        ]  # fmt: skip
        lines = [with_hanging_indent(Text(f"{name:<{NAME_CELLS}}"), words, n_cells) for name, words in (*WORDS, *keys)]
        lines.insert(len(WORDS), Text())
        self.query_one("#help", Static).update(Text("\n").join(lines))


class ConfirmPause(ModalScreen[bool]):
    """Asks before a pause, because a stray key must not stop the decoding of a running experiment."""

    BINDINGS = [
        Binding("y,p,enter", "answer(True)", "Pause", id="pause.yes"),
        Binding("escape,n,q", "answer(False)", "Go on decoding", id="pause.no"),
    ]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog"):
            yield Static(Text(PAUSE))
            yield Static(
                keys_row(self.app, {"pause.yes": "pause", "pause.no": "go on decoding"}),
                classes="dialog-keys",
                markup=False,
            )

    def action_answer(self, paused: bool) -> None:
        self.dismiss(paused)
