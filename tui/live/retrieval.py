"""The candidate pictures nearest to the decoded z and c, with their ranks; the seen picture is marked."""

from rich.text import Text
from textual.widget import Widget

from ...client.wire import Retrieved, SeenCandidate
from ...signs import number
from ..fitted import shortened
from ..names import told_apart

N_SHOWN = 5
BAR, HALF_BAR = "━", "╸"
SEEN, TAIL = "▸", " seen"
"""The beginning and the end of the seen picture's row."""


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
        rank_cells, bar_cells = len(str(max(ranked))), max(6, min(24, self.size.width // 5))
        room = self.size.width - bar_cells - len(f" {'':{rank_cells}} −0.00  ")
        rooms = [max(0, room - (len(TAIL) if self._is_seen(one) else 0)) for one in ranked.values()]
        whole = [one.label for one in ranked.values()]
        labels = [shortened(label, n_cells) for label, n_cells in zip(whole, rooms, strict=True)]
        if len(set(labels)) < len(set(whole)):
            labels = told_apart(whole, min(rooms), shortened)
        rows = zip(ranked.items(), labels, strict=True)
        return Text("\n").join(self._row(f"{rank:>{rank_cells}}", one, label, bar_cells) for (rank, one), label in rows)

    def _row(self, rank: str, candidate: Retrieved | SeenCandidate, label: str, bar_cells: int) -> Text:
        is_seen = self._is_seen(candidate)
        head = f"{SEEN if is_seen else ' '}{rank} {number(candidate.score, '5.2f')} "
        tail = TAIL if is_seen else ""
        label_style = self.get_component_rich_style(
            "retrieval--best" if rank.strip() == "1" or is_seen else "retrieval--other"
        )
        filled = bar(candidate.score, bar_cells)
        return Text.assemble(
            (head, label_style),
            (filled, self.get_component_rich_style("retrieval--bar")),
            " " * (bar_cells - len(filled)),
            (f" {label}{tail}", label_style),
        )

    def _is_seen(self, candidate: Retrieved | SeenCandidate) -> bool:
        # Not by its rank: a candidate that fits as well has the same rank.
        return self.seen is not None and self.seen.nsd_id is not None and candidate.nsd_id == self.seen.nsd_id


def bar(score: float, n_cells: int) -> str:
    """Return a bar for a score of 0 to 1, to half a cell; a correlation below 0 has no bar."""
    # NaN compares false with everything, so it has no bar either.
    halves = round(2 * n_cells * min(score, 1.0)) if score > 0 else 0
    return BAR * (halves // 2) + HALF_BAR * (halves % 2)
