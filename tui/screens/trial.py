"""One trial: its pictures as large as fits, its numbers, and what made it."""

import time

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import Screen

from ...errors import BraindError
from ...printable import printable
from ...signs import number
from ..connection import ordinal
from ..daemon_clock import age_words
from ..fitted import plain_row, run_within, with_hanging_indent
from ..keys import Keys
from ..live.decode_view import DecodeView
from ..live.latency import NAMES, milliseconds
from ..names import forms_of
from ..recent import DecodedVolume
from ..state.monitor_state import MonitorState
from ..state.trials import TrialRecord
from ..text_view import TextView
from ..zoom import Zoom
from .earlier import Source
from .leaving import is_open
from .loading import fetched_volume, kept_volume
from .note import note_on

FACT_CELLS = 14
SCROLLED_MARGIN_CELLS = 4
"""Around the facts: their padding, and the scrollbar that they have if there are many."""


class TrialScreen(Screen[None]):
    """Shows a trial that the monitor keeps; the pictures of an older trial are fetched from the daemon.

    Parameters
    ----------
    state : MonitorState
    record : TrialRecord
    source : Source
    """

    BINDINGS = [
        Binding("escape,enter,q", "dismiss", "Back", key_display="esc", id="trial.back"),
        Binding("z", "zoom", "Zoom", id="trial.zoom", tooltip="One picture, as large as the terminal allows"),
        Binding("m", "mark", "Note", id="trial.mark", tooltip="Note something about the trial; the journal keeps it"),
    ]

    def __init__(
        self,
        state: MonitorState,
        record: TrialRecord,
        source: Source,
    ) -> None:
        super().__init__()
        self._state, self._record, self._source = state, record, source
        self._volume: DecodedVolume | None = None
        self._facts: list[tuple[str, str]] = []

    def compose(self) -> ComposeResult:
        yield TextView(id="trial-title", classes="screen-title")
        yield DecodeView()
        with VerticalScroll(id="trial-scroll"):
            yield TextView(id="trial-facts")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one("#trial-scroll").focus()
        self._show_title()
        record = self._record
        kept = kept_volume(self._state, record)
        if kept is not None:
            self._show(kept, [])
        elif record.seqs:
            self.query_one(DecodeView).show(None, "fetching the pictures …")
            self._load()
        else:
            self.query_one(DecodeView).show(None, f"{record.outcome}: there is no picture")

    def on_resize(self) -> None:
        """Draw the words anew for another width."""
        self._show_title()
        self._show_facts()

    def _show_title(self) -> None:
        record = self._record
        number = f"volume {record.index}" if record.event is None else f"event {record.event}, volume {record.index}"
        title = plain_row(
            (97, "recorded" if self._state.recorded else ""),
            (50, forms_of("session", record.session)),
            (99, forms_of("run", run_within(record.session, record.run))),
            (98, number),
            (90, record.outcome),
            n_cells=self.app.size.width - 2,
        )
        self.query_one("#trial-title", TextView).show(title)

    @work(thread=True, exclusive=True)
    def _load(self) -> None:
        try:
            volume, notices = fetched_volume(self._record, self._source.stages)
        except (BraindError, OSError) as error:
            self.app.call_from_thread(self._show_missing, str(error))
            return
        if volume is not None:
            self.app.call_from_thread(self._show, volume, notices)
        else:
            sentence = "; ".join(notices) or "the messages of this trial are kept no longer"
            self.app.call_from_thread(self._show_missing, sentence)

    def action_zoom(self) -> None:
        """Show one picture of this trial as large as the terminal allows."""
        self.app.push_screen(Zoom(lambda: self._volume))

    def action_mark(self) -> None:
        """Ask for a note on this trial."""
        note_on(self, self._record, self._source)

    def _show_missing(self, sentence: str) -> None:
        if is_open(self):
            self.query_one(DecodeView).show(None, printable(sentence))

    def _show(self, volume: DecodedVolume, notices: list[str]) -> None:
        if not is_open(self):
            return
        self._volume = volume
        self.query_one(DecodeView).show(volume, "")
        age_s = self._state.age_s(volume, time.monotonic())
        self._facts = [*facts_of(volume), *(("notice", sentence) for sentence in notices)]
        if age_s is not None:
            self._facts.insert(0, ("decoded", f"{age_words(age_s)} ago"))
        self._show_facts()

    def _show_facts(self) -> None:
        n_cells = self.app.size.width - SCROLLED_MARGIN_CELLS
        lines = [with_hanging_indent(Text(f"{name:<{FACT_CELLS}}"), words, n_cells) for name, words in self._facts]
        self.query_one("#trial-facts", TextView).show(Text("\n").join(lines))


def facts_of(volume: DecodedVolume) -> list[tuple[str, str]]:
    """Return a trial's numbers and provenance as names and words. What is not known has no line."""
    facts: list[tuple[str, str]] = []
    if volume.skipped:
        facts.append(("failed" if volume.failed else "skipped", volume.skipped.removeprefix("failed: ")))
    named = [
        f"{name} {number}"
        for name, number in (("trial", volume.trial), ("nsd_id", volume.nsd_id))
        if number is not None
    ]
    if named:
        facts.append(("sender", ", ".join(named)))
    if volume.since_onset_s is not None:
        kind = "final" if volume.is_final else "provisional"
        facts.append(("estimate", f"{volume.since_onset_s:.1f} s after onset, {kind}"))
    if volume.n_averaged > 1:
        facts.append(("averaged", f"{volume.n_averaged} repeats"))
    if volume.flags:
        facts.append(("flags", ", ".join(volume.flags)))
    if volume.feedback is not None:
        facts.append(("feedback", number(volume.feedback, "+.3f")))
    seen = volume.seen_candidate
    if seen is not None and volume.n_candidates:
        facts.append(("seen", f"{ordinal(seen.rank)} of {volume.n_candidates} candidates"))
    facts += [
        (f"candidate {rank}", f"{number(one.score, '.3f')}  {one.label}")
        for rank, one in enumerate(volume.retrieved, 1)
    ]
    facts += [("class", f"{one.probability:.3f}  {one.label}") for one in volume.labels]
    if volume.label:
        facts.append(("sent class", volume.label))
    times = [f"{NAMES.get(step, step)} {milliseconds(1e3 * s)}" for step, s in volume.timings_s.items()]
    facts.append(("ms", ", ".join(times) or "–"))
    if volume.n_without_signal:
        facts.append(("no signal", f"{volume.n_without_signal:,} voxels"))
    made = volume.provenance
    if made is not None:
        facts += [
            ("weights", f"{made.weights} (subject {made.subject}{', simulated' if made.simulated else ''})"),
            ("preset", f"{made.preset}, mode {made.mode}, seed {made.seed}"),
            ("engine", f"{made.engine}, torch {made.torch or '–'}, {_threads(made.threads)}"),
            ("models", f"ldm {made.ldm or '–'}, denoiser {made.denoiser or '–'}, c decoder {made.c_decoder or '–'}"),
            ("braind", made.version),
        ]
    return facts


def _threads(number: int | None) -> str:
    return "1 thread" if number == 1 else f"{'–' if number is None else number} threads"
