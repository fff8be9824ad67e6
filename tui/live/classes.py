"""The classes of a decode by probability, beside the class that the sender names and the probability of chance."""

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual.widget import Widget

from ...client.wire import LabelProbability
from ..fitted import run_within, shortened
from ..names import short_name, told_apart
from ..recent import DecodedVolume
from .retrieval import bar

NO_PICTURE = "no picture: these weights decode classes"
LINE_BAR_CELLS = 8
TABLE_BAR_CELLS = 60
WIDE_CELLS = 100
"""A line of at least so many cells has room for the event's number."""
SEPARATOR = " · "


class Classes(Widget):
    """A table with a row for each class that fits the height; at a height of one row, one line of text."""

    COMPONENT_CLASSES = {
        "classes--best",
        "classes--other",
        "classes--bar",
        "classes--right",
        "classes--wrong",
    }

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._volume: DecodedVolume | None = None
        self._run = ""
        self._shown: tuple[object, ...] = ()

    def show(self, volume: DecodedVolume | None, *, names_run: bool = False) -> None:
        """Show the classes of a volume or trial. A later estimate may have changed them since the last call.

        `names_run`: a line names the run too, because a picture of another run stands beside it.
        """
        self._run = run_within(volume.session, volume.run) if volume and names_run else ""
        shown = (self._run, volume.labels, volume.label, when_words(volume), volume.pending_words) if volume else ()
        self._volume = volume
        if shown != self._shown:
            self._shown = shown
            self.refresh()

    def render(self) -> Text:
        volume, (width, height) = self._volume, self.size
        if volume is None:
            return Text()
        if not volume.labels:
            return self._styled(f"{NO_PICTURE}\n{shortened(volume.pending_words, width)}", "other")
        return self._line(volume, volume.labels, width) if height < 2 else self._table(volume, width, height)

    def _line(self, volume: DecodedVolume, labels: tuple[LabelProbability, ...], width: int) -> Text:
        name_cells = max(6, width // 6)
        best = labels[0]
        lead = when_words(volume) if width >= WIDE_CELLS else short_when_words(volume)
        if self._run:
            lead = ", ".join(filter(None, (f"run {short_name(self._run, width // 4)}", lead)))
        head = Text.assemble(
            self._styled(f"{lead}: " if lead else "", "other"),
            self._styled(_class_words(best, name_cells) + " ", "best"),
            self._styled(bar(best.probability, LINE_BAR_CELLS), "bar"),
        )
        tail = Text.assemble(self._styled(f"  {chance_words(labels)}  ", "other"), self._verdict(volume, name_cells))
        for one in labels[1:]:
            further = self._styled(SEPARATOR + _class_words(one, name_cells), "other")
            if head.cell_len + further.cell_len + tail.cell_len > width:
                break
            head.append_text(further)
        return head.append_text(tail)

    def _table(self, volume: DecodedVolume, width: int, height: int) -> Text:
        labels = volume.labels
        names = told_apart([one.label for one in labels], max(4, width // 3), shortened)
        name_cells = max(map(cell_len, names))
        verdict = Text.assemble(self._styled(chance_words(labels), "other"), "  ", self._verdict(volume, width // 3))
        heads = [self._styled(words, "other") for words in (NO_PICTURE, when_words(volume)) if words]
        # The classes and the verdict come before the headings where rows are few.
        heads = heads[: max(0, height - 1 - min(len(labels), 4))]
        n_rows = height - len(heads) - 1
        rows = [
            self._row(rank, one, volume.label, set_cell_size(name, name_cells))
            for rank, (one, name) in enumerate(zip(labels[:n_rows], names, strict=False))
        ]
        if len(labels) > n_rows > 1:
            rest = labels[n_rows - 1 :]
            together = sum(one.probability for one in rest)
            rows[-1] = self._styled(f"{len(rest)} more classes, together {together:.2f}", "other")
        return Text("\n").join([*heads, *rows, verdict])

    def _row(self, rank: int, one: LabelProbability, sent: str | None, name: str) -> Text:
        style = "best" if rank == 0 else "other"
        bar_cells = max(0, min(TABLE_BAR_CELLS, self.size.width - cell_len(name) - len(" 0.00  sent")))
        filled = bar(one.probability, bar_cells)
        return Text.assemble(
            self._styled(name, style),
            self._styled(f" {one.probability:.2f} ", style),
            self._styled(filled, "bar"),
            " " * (bar_cells - len(filled)),
            self._styled(" sent" if one.label == sent else "", style),
        )

    def _verdict(self, volume: DecodedVolume, name_cells: int) -> Text:
        words = verdict_words(volume, name_cells)
        return self._styled(words, {"✓": "right", "✗": "wrong"}.get(words[:1], "other"))

    def _styled(self, words: str, style: str) -> Text:
        return Text(words, self.get_component_rich_style(f"classes--{style}", partial=True))


def when_words(volume: DecodedVolume) -> str:
    """Return a BOLD trial's number, and when its estimate was made; empty for a volume of betas."""
    if volume.event is None:
        return ""
    since = f" at {volume.since_onset_s:.1f} s" if volume.since_onset_s is not None else ""
    return f"event {volume.event}{since}, {'final' if volume.is_final else 'provisional'}"


def short_when_words(volume: DecodedVolume) -> str:
    """Return when a BOLD trial's estimate was made; empty for a volume of betas."""
    if volume.since_onset_s is None:
        return ""
    return f"{volume.since_onset_s:.1f} s" if volume.is_final else f"so far {volume.since_onset_s:.1f} s"


def chance_words(labels: tuple[LabelProbability, ...]) -> str:
    """Return the probability of each class by chance."""
    return f"chance {1 / len(labels):.3g}"


def verdict_words(volume: DecodedVolume, name_cells: int) -> str:
    """Return whether the most probable class is the sender's class; empty if the sender names none."""
    if not volume.label:
        return ""
    sent = shortened(volume.label, name_cells)
    if volume.is_right is None:
        return f"sent {sent}, no class of these weights"
    if volume.is_right:
        return f"✓ right, sent {sent}"
    probability = next(one.probability for one in volume.labels if one.label == volume.label)
    return f"✗ wrong, sent {sent} {probability:.2f}"


def _class_words(one: LabelProbability, name_cells: int) -> str:
    return f"{shortened(one.label, name_cells)} {one.probability:.2f}"
