"""Milliseconds from a volume's arrival to each step of its decode."""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Sparkline

from ...client.wire import last_stage
from ..recent import DecodedVolume, RecentDecodes, median_and_p99_ms
from ..text_view import TextView

NAMES = {"ack": "ack", "scores": "scores", "xz": "Xz", "xzc": "Xzc"}
STEPS, STEPS_WITHOUT_PICTURES = tuple(NAMES), ("ack", "scores")
N_IN_CURVE = 60


class Latency(Widget):
    """A table of times by step, and a curve of the last stage's latency over the volumes of the run on show."""

    COMPONENT_CLASSES = {"latency--head", "latency--newest", "latency--other"}

    def compose(self) -> ComposeResult:
        yield TextView(id="latency-table")
        with Vertical(id="latency-curve"):
            yield TextView(id="latency-curve-name")
            yield Sparkline()

    def show(self, volume: DecodedVolume | None, recent: RecentDecodes, following: bool) -> None:
        """Show the times of `volume` beside the median and p99 of the volumes of its run."""
        head = self.get_component_rich_style("latency--head", partial=True)
        column = "newest" if following else "held"
        rows = [Text(f"{'ms':<7}{column:>6}{'median':>8}{'p99':>7}", head)]
        steps = STEPS if volume is None or volume.has_pictures else STEPS_WITHOUT_PICTURES
        rows += [self._row(step, volume, recent.stage_times_s(step, volume) if volume else []) for step in steps]
        self.query_one("#latency-table", TextView).show(Text("\n").join(rows))
        final_step = last_stage("zc") if volume is None else volume.final_stage
        self.query_one("#latency-curve-name", TextView).show(NAMES[final_step])
        times_s = recent.stage_times_s(final_step, volume)[-N_IN_CURVE:] if volume else []
        # A sparkline spans its least to its greatest value. A zero in front makes heights proportional to times.
        self.query_one(Sparkline).data = [0.0, *times_s] if times_s else []

    def _row(self, step: str, volume: DecodedVolume | None, times_s: list[float]) -> Text:
        newest = milliseconds(1e3 * volume.timings_s[step]) if volume and step in volume.timings_s else "–"
        median, p99 = map(milliseconds, median_and_p99_ms(times_s)) if times_s else ("–", "–")
        return Text.assemble(
            (f"{NAMES[step]:<7}", self.get_component_rich_style("latency--head", partial=True)),
            (f"{newest:>6}", self.get_component_rich_style("latency--newest", partial=True)),
            (f"{median:>8}{p99:>7}", self.get_component_rich_style("latency--other", partial=True)),
        )


def milliseconds(time_ms: float) -> str:
    """Return a time in at most six characters: `3.4`, `412`, or in seconds from 100,000 ms on.

    A time that no decode can take, of 10,000 s or more, has more characters.
    """
    if time_ms < 9.95:
        return f"{time_ms:.1f}"
    return f"{time_ms:.0f}" if time_ms < 99_999 else f"{time_ms / 1e3:.4g} s"
