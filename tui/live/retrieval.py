"""The candidate pictures nearest to the decoded z and c, with their ranks; the seen picture is marked."""

from rich.text import Text
from textual.widget import Widget

from ...client.wire import Retrieved, SeenCandidate
from ...signs import number
from ..fitted import shortened

N_SHOWN = 5
BAR, HALF_BAR = "━", "╸"
SEEN = "▸"
"""The mark of the seen picture's row."""


class Retrieval(Widget):
    """One row a candidate: rank, score (a correlation), bar, caption.

    The seen picture's row begins with a mark and ends with `seen`. It is the last row if the picture is not among the
    best.
    """

    COMPONENT_CLASSES = {"retrieval--best", "retrieval--other", "retrieval--bar"}

    retrieved: tuple[Retrieved, ...] = ()
    seen: SeenCandidate | None = None

    def show(self, retrieved: tuple[Retrieved, ...], seen: SeenCandidate | None = None) -> None:
        """Show the best `N_SHOWN` candidates, best first, and the seen picture."""
        if (retrieved[:N_SHOWN], seen) != (self.retrieved, self.seen):
            self.retrieved, self.seen = retrieved[:N_SHOWN], seen
            self.refresh()

    def render(self) -> Text:
        if not self.retrieved:
            return Text("no retrieval yet", self.get_component_rich_style("retrieval--other"))
        ranked: dict[int, Retrieved | SeenCandidate] = dict(enumerate(self.retrieved[: max(1, self.size.height)], 1))
        if self.seen is not None and not any(map(self._is_seen, ranked.values())):
            # Its rank is lower than that of each candidate that is shown, or equal to the last one's.
            del ranked[len(ranked)]
            ranked[self.seen.rank] = self.seen
        rank_cells = len(str(max(ranked)))
        return Text("\n").join(self._row(rank, candidate, rank_cells) for rank, candidate in ranked.items())

    def _row(self, rank: int, candidate: Retrieved | SeenCandidate, rank_cells: int) -> Text:
        is_seen = self._is_seen(candidate)
        bar_cells = max(6, min(24, self.size.width // 5))
        head = f"{SEEN if is_seen else ' '}{rank:>{rank_cells}} {number(candidate.score, '5.2f')} "
        tail = " seen" if is_seen else ""
        label_cells = max(0, self.size.width - len(head) - bar_cells - 1 - len(tail))
        label_style = self.get_component_rich_style("retrieval--best" if rank == 1 or is_seen else "retrieval--other")
        filled = bar(candidate.score, bar_cells)
        return Text.assemble(
            (head, label_style),
            (filled, self.get_component_rich_style("retrieval--bar")),
            " " * (bar_cells - len(filled)),
            (f" {shortened(candidate.label, label_cells)}{tail}", label_style),
        )

    def _is_seen(self, candidate: Retrieved | SeenCandidate) -> bool:
        # Not by its rank: a candidate that fits as well has the same rank.
        return self.seen is not None and self.seen.nsd_id is not None and candidate.nsd_id == self.seen.nsd_id


def bar(score: float, n_cells: int) -> str:
    """Return a bar for a score of 0 to 1, to half a cell; a correlation below 0 has no bar."""
    # NaN compares false with everything, so it has no bar either.
    halves = round(2 * n_cells * min(score, 1.0)) if score > 0 else 0
    return BAR * (halves // 2) + HALF_BAR * (halves % 2)
