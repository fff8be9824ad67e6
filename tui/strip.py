"""Recent decodes side by side, the newest left, each above its volume's index."""

from rich.segment import Segment
from rich.text import Text
from textual.events import Click
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from .fitted import shortened
from .messages import VolumeChosen
from .pictures import fitting_cells, half_blocks, palette_size
from .recent import DecodedVolume


class RecentStrip(Widget):
    """Small pictures, or classes in mode `labels`. The current volume's index is marked; a click chooses a volume."""

    COMPONENT_CLASSES = {"strip--well", "strip--class", "strip--index", "strip--shown", "strip--skipped"}

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.volumes: list[DecodedVolume] = []
        self.shown: DecodedVolume | None = None
        self._lines: list[Strip] = []
        self._looks: list[tuple[object, ...]] = []
        self._drawn_size = Size(0, 0)

    def show(self, volumes: list[DecodedVolume], shown: DecodedVolume | None) -> None:
        """Show the volumes, newest first, scrolled so that `shown` is visible."""
        self.volumes, self.shown = volumes, shown
        looks: list[tuple[object, ...]] = [
            (volume, volume.is_finished, volume.skipped, volume is shown, volume.index, *_class_words(volume))
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
        slots = [self._slot(volume, self._slot_cells() - 1, rows) for volume in self._visible()]
        gap = Strip.blank(1, self.rich_style)
        lines = [Strip.join([part for slot in slots for part in (slot[y], gap)]) for y in range(rows + 1)]
        return [line.adjust_cell_length(width, self.rich_style) for line in lines]

    def _slot(self, volume: DecodedVolume, columns: int, rows: int) -> list[Strip]:
        name = "strip--shown" if volume is self.shown else "strip--skipped" if volume.skipped else "strip--index"
        index = Segment(shortened(str(volume.index), columns).center(columns), self.get_component_rich_style(name))
        return [*self._picture(volume, columns, rows), Strip([index], columns)]

    def _picture(self, volume: DecodedVolume, columns: int, rows: int) -> list[Strip]:
        picture = volume.final_picture
        well = self.get_component_rich_style("strip--well")
        if picture is None:
            words = "fail" if volume.failed else "skip" if volume.skipped else "…"
            lines = _class_words(volume) or [""] * (rows // 2) + [words]
            texts = [Text(shortened(line, columns)) for line in (lines + [""] * rows)[:rows]]
            for text in texts:
                text.align("center", columns)
            style = self.get_component_rich_style("strip--class") if volume.labels else well
            return [Strip([Segment(text.plain, style)], columns) for text in texts]
        fitting = fitting_cells(picture, columns, rows)
        drawn = half_blocks(picture, *fitting, palette_size(self.app.console))
        drawn += [Strip.blank(columns, well)] * (rows - len(drawn))
        return [strip.adjust_cell_length(columns, well) for strip in drawn]


def _class_words(volume: DecodedVolume) -> list[str]:
    """Return the most probable class, its probability and whether it is right, of weights without pictures."""
    if volume.has_pictures or not volume.labels:
        return []
    best = volume.labels[0]
    verdict = {True: "right", False: "wrong", None: ""}[volume.is_right] if volume.is_final else "so far"
    return [best.label, f"{best.probability:.2f}", verdict]
