"""Recent decodes side by side, the newest left, each above its volume's index, or its trial's number in a BOLD run."""

from rich.segment import Segment
from rich.text import Text
from textual.events import Click
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from ..drawing.terminal import terminal_of
from ..fitted import shortened
from ..messages import VolumeChosen
from ..names import told_apart
from ..pictures import Thumbnails, palette_size
from ..recent import DecodedVolume

RUN_CHANGES = "│"


class RecentStrip(Widget):
    """Small pictures, or classes in mode `labels`, with a line where the run changes.

    The index of the volume on show is marked. A click chooses a volume.
    """

    COMPONENT_CLASSES = {"strip--well", "strip--class", "strip--index", "strip--shown", "strip--skipped", "strip--run"}

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.volumes: list[DecodedVolume] = []
        self.shown: DecodedVolume | None = None
        self._lines: list[Strip] = []
        self._thumbnails = Thumbnails()
        self._looks: list[tuple[object, ...]] = []
        self._drawn_size = Size(0, 0)

    def show(self, volumes: list[DecodedVolume], shown: DecodedVolume | None) -> None:
        """Show the volumes, newest first, scrolled so that `shown` is visible."""
        self.volumes, self.shown = volumes, shown
        looks: list[tuple[object, ...]] = [
            (volume, volume.is_finished, volume.pending_words, volume is shown, volume.number, *_class_words(volume))
            for volume in self._visible()
        ]
        if looks != self._looks:
            self._looks, self._lines = looks, []
            self.refresh()

    def render_line(self, y: int) -> Strip:
        if not self._lines or self._drawn_size != self.size:
            self._lines, self._drawn_size = self._draw(), self.size
        return self._lines[y] if y < len(self._lines) else Strip.blank(self.size.width, self.rich_style)

    def on_click(self, click: Click) -> None:
        """Choose the volume under the pointer."""
        slot, volumes = click.x // self._slot_cells(), self._visible()
        if slot < len(volumes):
            self.post_message(VolumeChosen(volumes[slot]))

    def _slot_cells(self) -> int:
        # Pictures are square, above one row of indices, with one cell between them.
        return max(5, 2 * (self.size.height - 1) + 1)

    def _visible(self) -> list[DecodedVolume]:
        n_slots = max(1, (self.size.width + 1) // self._slot_cells())
        position = self.volumes.index(self.shown) if self.shown in self.volumes else 0
        first = max(0, position - n_slots + 1)
        return self.volumes[first : first + n_slots]

    def _draw(self) -> list[Strip]:
        rows, width = self.size.height - 1, self.size.width
        visible, columns = self._visible(), self._slot_cells() - 1
        classes = told_apart([(_class_words(volume) or [""])[0] for volume in visible], columns, shortened)
        slots = [self._slot(volume, name, columns, rows) for volume, name in zip(visible, classes, strict=True)]
        gaps = self._gaps()
        lines = [
            Strip.join([part for slot, gap in zip(slots, gaps, strict=True) for part in (slot[y], gap)])
            for y in range(rows + 1)
        ]
        return [line.adjust_cell_length(width, self.rich_style) for line in lines]

    def _gaps(self) -> list[Strip]:
        """Return what stands right of each slot: a line where an older volume is of another run, else nothing."""
        visible = self._visible()
        line = Strip([Segment(RUN_CHANGES, self.get_component_rich_style("strip--run"))], 1)
        blank = Strip.blank(1, self.rich_style)
        older = [*visible[1:], *visible[-1:]]
        return [blank if one.place == next_.place else line for one, next_ in zip(visible, older, strict=True)]

    def _slot(self, volume: DecodedVolume, class_name: str, columns: int, rows: int) -> list[Strip]:
        name = "strip--shown" if volume is self.shown else "strip--skipped" if volume.skipped else "strip--index"
        index = Segment(shortened(str(volume.number), columns).center(columns), self.get_component_rich_style(name))
        return [*self._picture(volume, class_name, columns, rows), Strip([index], columns)]

    def _picture(self, volume: DecodedVolume, class_name: str, columns: int, rows: int) -> list[Strip]:
        picture = volume.final_picture if terminal_of(self.app).drawing != "off" else None
        well = self.get_component_rich_style("strip--well")
        if picture is None:
            words = _words_without_picture(volume)
            lines = [class_name, *_class_words(volume)[1:]] if class_name else [""] * (rows // 2) + [words]
            texts = [Text(shortened(line, columns)) for line in (lines + [""] * rows)[:rows]]
            for text in texts:
                text.align("center", columns)
            style = self.get_component_rich_style("strip--class") if volume.labels else well
            return [Strip([Segment(text.plain, style)], columns) for text in texts]
        drawn = self._thumbnails.of(volume, picture, columns, rows, palette_size(self.app.console))
        drawn = drawn + [Strip.blank(columns, well)] * (rows - len(drawn))
        return [strip.adjust_cell_length(columns, well) for strip in drawn]


def _words_without_picture(volume: DecodedVolume) -> str:
    if volume.skipped:
        return "fail" if volume.failed else "skip"
    if volume.is_finished and volume.unreadable:
        return "bad"
    return "none" if volume.is_given_up else "…" if volume.is_awaited else ""


def _class_words(volume: DecodedVolume) -> list[str]:
    """Return the most probable class, its probability and whether it is right, of weights without pictures."""
    if volume.has_pictures or not volume.labels:
        return []
    best = volume.labels[0]
    verdict = {True: "right", False: "wrong", None: ""}[volume.is_right] if volume.is_final else "so far"
    return [best.label, f"{best.probability:.2f}", verdict]
