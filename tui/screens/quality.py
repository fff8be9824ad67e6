"""The quality of a run: the signal of each ROI, motion, flagged volumes and gaps; and what each of them means."""

import math
from collections.abc import Sequence

from rich.cells import set_cell_size
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll

from ...signs import number
from ..fitted import plain_row, run_within, with_hanging_indent
from ..keys import Keys
from ..names import forms_of, told_apart
from ..state.monitor_state import MonitorState
from ..state.quality import DRIFT_VOLUMES, MIN_VOLUMES, MOVED_MM, RunQuality, Trace
from ..text_view import TextView
from .earlier import SessionScreen, Source
from .events import EventsScreen
from .traces import bars, span

TICK_S = 0.5
NAME_CELLS = 12
SPAN_CELLS = 22
SCROLLED_MARGIN_CELLS = 4
"""Around the facts: their padding, and the scrollbar that they have if there are many."""
MANY = 8
NOTHING_KNOWN = "no decode has carried a signal yet: signals come with decodes, also in a run of betas"


class QualityScreen(SessionScreen):
    """Traces at the top, one column a volume, the newest at the right. Below, each number and its meaning."""

    BINDINGS = [
        Binding("escape,y,q", "dismiss", "Back", key_display="esc", id="quality.back"),
        Binding("right", "older_run", "Older run", priority=True, id="quality.older", tooltip="Show the run before"),
        Binding("left", "newer_run", "Newer run", priority=True, id="quality.newer", tooltip="Show the run after"),
        Binding("f", "follow", "Newest run", id="quality.follow", tooltip="Show the newest run again"),
        Binding("e", "events", "Events", show=False, id="quality.events"),
    ]
    COMPONENT_CLASSES = {f"quality--{name}" for name in ("name", "value", "meaning", "warning")}

    def __init__(self, state: MonitorState, source: Source) -> None:
        super().__init__(state, source)
        self._held: RunQuality | None = None
        self._shown: object = None

    def compose(self) -> ComposeResult:
        yield TextView(id="quality-title", classes="screen-title")
        yield TextView(id="quality-traces")
        with VerticalScroll(id="quality-scroll"):
            yield TextView(id="quality-facts")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one("#quality-scroll").focus()
        self.set_interval(TICK_S, self.show)
        self.show()
        self.fetch_earlier(self._state.trials.newest_session())

    def on_resize(self) -> None:
        """Draw anew for another width."""
        self.show()

    def show(self) -> None:
        """Show the run on show; draw nothing if nothing has changed."""
        runs = self._state.quality.newest_first()
        now = (self._state.quality.version, self._held, self._note, self.app.size.width)
        if now == self._shown:
            return
        self._shown = now
        held = None if self._held is None else next((one for one in runs if one.place == self._held.place), self._held)
        run = held or (runs[0] if runs else None)
        self._show_title(run, runs)
        traces, facts = (self._traces(run), self._facts(run)) if run else (Text(), Text(NOTHING_KNOWN))
        self.query_one("#quality-traces", TextView).show(traces)
        self.query_one("#quality-facts", TextView).show(facts)

    def _show_title(self, run: RunQuality | None, runs: Sequence[RunQuality]) -> None:
        name = forms_of("run", run_within(run.session, run.run)) if run else "no run"
        indices = run.indices if run else range(0)
        title = plain_row(
            (96, "recorded" if self._state.recorded else ""),
            (80, "Quality"),
            (99, name),
            (98, "held" if self._held else ""),
            (70, f"volumes {indices[0]}–{indices[-1]}" if indices else ""),
            (60, forms_of("session", run.session) if run else ""),
            (65, f"{len(runs)} runs" if len(runs) > 1 else ""),
            (90, self._note),
            n_cells=self.app.size.width - 2,
        )
        self.query_one("#quality-title", TextView).show(title)

    def _traces(self, run: RunQuality) -> Text:
        n_cells = max(10, self.app.size.width - 4 - NAME_CELLS - SPAN_CELLS)
        shown, rows = run.newest(n_cells), []
        names = told_apart(run.rois, NAME_CELLS - 1)
        traces = [(name, run.trace(roi).values, "+.2f", "%") for name, roi in zip(names, run.rois, strict=True)]
        if run.is_bold:
            traces.append(("motion", run.displacements_mm(), ".2f", "mm"))
        for name, by_index, form, unit in traces:
            values = [by_index.get(index, math.nan) for index in shown]
            rows.append(self._row(name, bars(values), span(values, form, unit), n_cells))
        if run.signals:
            rows.append(self._row("flags", _flags(run, shown), "S M x: see below", n_cells, style="warning"))
        return Text("\n").join(rows)

    def _row(self, name: str, drawn: str, words: str, n_cells: int, style: str = "value") -> Text:
        return Text.assemble(
            (set_cell_size(name, NAME_CELLS), self._style("name")),
            (drawn.ljust(n_cells), self._style(style)),
            ("  " + words, self._style("meaning")),
        )

    def _facts(self, run: RunQuality) -> Text:
        lines: list[Text] = []
        n_cells = self.app.size.width - SCROLLED_MARGIN_CELLS
        for name, value, meaning, is_warning in facts_of(run):
            head = Text(f"{name:<{NAME_CELLS}}", self._style("name"))
            style = self._style("warning" if is_warning else "value")
            lines.append(with_hanging_indent(head, value, n_cells, style))
            lines.append(with_hanging_indent(Text("  "), meaning, n_cells, self._style("meaning")))
        return Text("\n").join(lines)

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"quality--{name}", partial=True)

    def action_older_run(self) -> None:
        """Show the run before."""
        self._hold(1)

    def action_newer_run(self) -> None:
        """Show the run after; at the newest run, follow."""
        self._hold(-1)

    def action_follow(self) -> None:
        """Show the newest run again."""
        self._held = None
        self.show()

    def action_events(self) -> None:
        """Show the events of this session."""
        self.app.push_screen(EventsScreen(self._state))

    def _hold(self, step: int) -> None:
        runs = self._state.quality.newest_first()
        places = [one.place for one in runs]
        at = places.index(self._held.place) if self._held and self._held.place in places else 0
        at = min(max(0, at + step), len(runs) - 1)
        self._held = runs[at] if at > 0 else None
        self.show()


def facts_of(run: RunQuality) -> list[tuple[str, str, str, bool]]:
    """Return the name, the value and the meaning of each measure of a run, and whether somebody should look at it."""
    traces = {roi: run.trace(roi) for roi in run.rois}
    spikes, misaligned = run.spikes(), run.misaligned()
    moved = list(run.displacements_mm().values())
    n_moved = sum(mm > MOVED_MM for mm in moved)
    motion = (
        f"newest {moved[-1]:.2f} mm, largest {max(moved):.2f} mm, {_volumes(n_moved)} above {MOVED_MM} mm"
        if moved
        else "unknown: the sender gives no motion"
        if run.is_bold
        else "unknown: a run of betas has no motion"
    )
    no_signal = "unknown" if run.n_without_signal is None else f"{run.n_without_signal:,} voxels"
    unit = "% of run's mean" if run.is_bold else "% signal change"
    facts = [
        ("signal", ", ".join(f"{roi} {_newest(trace)}" for roi, trace in traces.items()) or "unknown",
         f"newest mean over the ROI's voxels, {unit}", False),
        ("tSNR", _each(traces, "tsnr", ".0f", run),
         "mean over standard deviation; noise lowers it", False),
        ("drift", _each(traces, "drift", "+.2f", run),
         f"% per {DRIFT_VOLUMES} volumes: scanner or head change slowly", False),
        ("motion", motion, "the head's displacement since the volume before", bool(n_moved)),
        ("spikes", _listed(spikes, run), "S: unlike its prediction, or moved: counts less",
         bool(spikes)),
        ("misaligned", _listed(misaligned, run), "M: shows other parts of the head than in training",
         bool(misaligned)),
        ("gaps", _gaps(run), "x: did not come; estimates go on without them", bool(run.n_missing)),
        ("no signal", no_signal, "voxels that count as their training mean",
         bool(run.n_without_signal)),
    ]  # fmt: skip
    if run.n_unknown:
        facts.append(("unknown", _volumes(run.n_unknown), "·: no decode has carried the volume's signal", False))
    return facts


def _newest(trace: Trace) -> str:
    return f"{number(list(trace.values.values())[-1], '+.2f')} %" if trace.values else "unknown"


def _each(traces: dict[str, Trace], what: str, form: str, run: RunQuality) -> str:
    if run.is_bold is False:
        return "unknown: a run of betas is no time series"
    if len(run.signals) < MIN_VOLUMES:
        return f"unknown before {MIN_VOLUMES} volumes"
    found = {roi: getattr(trace, what) for roi, trace in traces.items()}
    return ", ".join(f"{roi} {'unknown' if value is None else number(value, form)}" for roi, value in found.items())


def _listed(indices: list[int], run: RunQuality) -> str:
    if not indices:
        return "none" if run.is_bold else "unknown: betas have none"
    return f"{_volumes(len(indices))}: {_last_of([str(index) for index in indices])}"


def _gaps(run: RunQuality) -> str:
    return f"{_volumes(run.n_missing)}: {_last_of(run.missing_words())}" if run.n_missing else "none"


def _volumes(n: int) -> str:
    return "1 volume" if n == 1 else f"{n:,} volumes"


def _last_of(words: list[str]) -> str:
    return ("… " if len(words) > MANY else "") + ", ".join(words[-MANY:])


def _flags(run: RunQuality, shown: range) -> str:
    symbols = []
    for index in shown:
        signal = run.signals.get(index)
        if signal is None:
            symbols.append("x" if run.is_missing(index) else "·")
        else:
            symbols.append("M" if signal.is_misaligned else "S" if signal.is_spike else " ")
    return "".join(symbols)
