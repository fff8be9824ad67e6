"""One picture in a cell area, as large as fits; words in its place until it comes."""

from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from ..arrays import Array
from .fitted import shortened
from .pictures import fitting_cells, half_blocks, palette_size


class PictureView(Widget):
    """Draws its own lines: a picture is drawn once per size, however often the terminal is refreshed."""

    COMPONENT_CLASSES = {"picture-view--well"}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.picture: Array | None = None
        self.words = ""
        self._strips: list[Strip] = []
        self._drawn_size = Size(0, 0)

    def show(self, picture: Array | None, words: str = "") -> None:
        """Show a (height, width, 3) uint8 picture; without a picture, `words` on an empty square."""
        if picture is self.picture and words == self.words:
            return
        self.picture, self.words = picture, words
        self._strips = []
        self.refresh()

    def render_line(self, y: int) -> Strip:
        if not self._strips or self._drawn_size != self.size:
            self._strips, self._drawn_size = self._draw(), self.size
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width, self.rich_style)

    def _draw(self) -> list[Strip]:
        width, height = self.size
        if self.picture is not None:
            columns, rows = fitting_cells(self.picture, width, height)
            drawn = half_blocks(self.picture, columns, rows, palette_size(self.app.console))
        else:
            columns, rows = min(width, 2 * height), min(height, width // 2)
            drawn = self._well(columns, rows)
        left = (width - columns) // 2
        top = (height - rows) // 2
        margins = Strip.blank(left, self.rich_style), Strip.blank(width - left - columns, self.rich_style)
        blank = Strip.blank(width, self.rich_style)
        lines = [Strip.join([margins[0], strip, margins[1]]) for strip in drawn]
        return [blank] * top + lines + [blank] * (height - top - rows)

    def _well(self, columns: int, rows: int) -> list[Strip]:
        style = self.get_component_rich_style("picture-view--well")
        lines = [""] * rows
        if rows:
            lines[(rows - 1) // 2] = shortened(self.words, columns)
        return [Strip.blank(columns, style) if not line else _centred(line, columns, style) for line in lines]


def _centred(line: str, columns: int, style: Style) -> Strip:
    return Strip([Segment(line.center(columns), style)])
