"""The candidate pictures nearest to the decoded z and c; bars show the scores."""

from rich.text import Text
from textual.widget import Widget

from ..client.wire import Retrieved
from .fitted import shortened

N_SHOWN = 5
BAR, HALF_BAR = "━", "╸"


class Retrieval(Widget):
    """One row a candidate: score (a correlation), bar, caption."""

    COMPONENT_CLASSES = {"retrieval--best", "retrieval--other", "retrieval--bar", "retrieval--track"}

    retrieved: tuple[Retrieved, ...] = ()

    def show(self, retrieved: tuple[Retrieved, ...]) -> None:
        """Show the best `N_SHOWN` candidates, best first."""
        if retrieved[:N_SHOWN] != self.retrieved:
            self.retrieved = retrieved[:N_SHOWN]
            self.refresh()

    def render(self) -> Text:
        if not self.retrieved:
            return Text("no retrieval yet", self.get_component_rich_style("retrieval--other"))
        bar_cells = max(6, min(24, self.size.width // 5))
        rows = [self._row(rank, candidate, bar_cells) for rank, candidate in enumerate(self.retrieved)]
        return Text("\n").join(rows)

    def _row(self, rank: int, candidate: Retrieved, bar_cells: int) -> Text:
        label_cells = max(0, self.size.width - bar_cells - 7)
        label_style = self.get_component_rich_style("retrieval--best" if rank == 0 else "retrieval--other")
        filled = bar(candidate.score, bar_cells)
        track = BAR * (bar_cells - len(filled))
        return Text.assemble(
            (f"{candidate.score:5.2f} ", label_style),
            (filled, self.get_component_rich_style("retrieval--bar")),
            (track, self.get_component_rich_style("retrieval--track")),
            (" " + shortened(candidate.label, label_cells), label_style),
        )


def bar(score: float, n_cells: int) -> str:
    """Return a bar for a score of 0 to 1, to half a cell; a correlation below 0 has no bar."""
    # NaN compares false with everything, so it has no bar either.
    halves = round(2 * n_cells * min(score, 1.0)) if score > 0 else 0
    return BAR * (halves // 2) + HALF_BAR * (halves % 2)
