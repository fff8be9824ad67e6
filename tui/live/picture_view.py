"""One picture in a cell area, as large as fits; words in its place until it comes."""

import weakref
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Offset, Region, Size
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from ...arrays import Array
from ..drawing import kitty
from ..drawing.late_segments import SideBySide
from ..drawing.overlay import Overlay
from ..drawing.sixel import sixel_strips, sixels
from ..drawing.terminal import Terminal, terminal_of
from ..fitted import shortened
from ..pictures import fitting_cells, half_blocks, palette_size

MOST_CELLS = len(kitty.DIACRITICS)


class PictureView(Widget):
    """Draws its own lines: a picture is drawn once per size, however often the terminal is refreshed.

    The app says how pictures are drawn (`terminal_of`).
    """

    COMPONENT_CLASSES = {"picture-view--well"}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.picture: Array | None = None
        self.words = ""
        self._strips: list[Strip] = []
        self._drawn_at: tuple[object, ...] = ()
        self._number = 0
        """The number under which kitty keeps the picture, 0 if it keeps none."""
        self._overlay: Overlay | None = None
        """Where the browser shows the picture, None if it shows none."""

    @property
    def terminal(self) -> Terminal:
        """How this app draws pictures."""
        return terminal_of(self.app)

    def on_mount(self) -> None:
        """Follow the screens: a picture that lies over the cells must not lie over a dialog."""
        view = weakref.proxy(self)  # the app outlives the widget
        self.app.screen_change_signal.subscribe(self, lambda screen: view._screen_changed(screen))

    def on_unmount(self) -> None:
        """Leave nothing in the terminal."""
        self._take_back()

    def on_hide(self) -> None:
        """Leave nothing over the cells that others draw now."""
        self._take_back()

    def show(self, picture: Array | None, words: str = "") -> None:
        """Show a (height, width, 3) uint8 picture; without a picture, `words` on an empty square."""
        if picture is self.picture and words == self.words:
            return
        self.picture, self.words = picture, words
        self._strips = []
        self.refresh()

    def render_lines(self, crop: Region) -> list[Strip]:
        if self.terminal.drawing == "off" or (self.terminal.drawing == "half" and self.app.no_color):
            return super().render_lines(crop)
        # Not through Textual's filters: a placeholder's colour is a number, and a picture's cells need none.
        lines = self._lines()
        if crop == self.size.region:
            return lines
        return [line.crop(crop.x, crop.right) for line in lines[crop.y : crop.bottom]]

    def render_line(self, y: int) -> Strip:
        lines = self._lines()
        return lines[y] if y < len(lines) else Strip.blank(self.size.width, self.rich_style)

    def _lines(self) -> list[Strip]:
        drawn_at = (self.size, self.region.offset, self.screen.is_active, self.rich_style, self.terminal)
        if not self._strips or self._drawn_at != drawn_at:
            self._strips, self._drawn_at = self._draw(), drawn_at
        return self._strips

    def _draw(self) -> list[Strip]:
        width, height = self.size
        if self.picture is not None and self.terminal.drawing != "off":
            columns, rows = fitting_cells(self.picture, min(width, MOST_CELLS), min(height, MOST_CELLS))
        else:
            columns, rows = min(width, 2 * height), min(height, width // 2)
        left, top = (width - columns) // 2, (height - rows) // 2
        drawn = self._drawn(Size(columns, rows), self.region.offset + Offset(left, top))
        margins = Strip.blank(left, self.rich_style), Strip.blank(width - left - columns, self.rich_style)
        blank = Strip.blank(width, self.rich_style)
        lines: list[Strip] = [SideBySide(margins[0], strip, margins[1]) for strip in drawn]
        return [blank] * top + lines + [blank] * (height - top - rows)

    def _drawn(self, size: Size, at: Offset) -> list[Strip]:
        """Return the strips of the picture, or of the words in its place."""
        picture, drawing = self.picture, self.terminal.drawing
        if picture is None or drawing == "off":
            self._take_back()
            return self._well(size, self.words if picture is None else "pictures are off")
        match drawing:
            case "half":
                return half_blocks(picture, *size, palette_size(self.app.console))
            case _ if not self.screen.is_active:
                # What lies over the cells would lie over the dialog too.
                self._take_back()
                return [Strip.blank(size.width, self.rich_style)] * size.height
            case "kitty":
                return self._kitty_strips(picture, size)
            case "sixel":
                return sixel_strips(sixels(picture, *size, self.terminal.cell_px), at, *size)
            case "browser":
                self._lay_over(picture, Region.from_offset(at, size))
                return [Strip.blank(size.width, self.rich_style)] * size.height

    def _kitty_strips(self, picture: Array, size: Size) -> list[Strip]:
        number, before = kitty.next_number(), self._number
        # Sent before this frame is written; the picture before it goes when the frame shows it no longer.
        self._write(kitty.send(number, picture, *size, self.terminal.cell_px))
        self._number = number
        if before:
            self.call_after_refresh(self._write, kitty.delete(before))
        return kitty.placeholders(number, *size)

    def _lay_over(self, picture: Array, region: Region) -> None:
        if self._overlay is None:
            self._overlay = Overlay(self.app)
        self._overlay.show(picture, region)

    def _take_back(self) -> None:
        """Delete the picture that kitty keeps or the browser shows."""
        if self._number:
            self._write(kitty.delete(self._number))
        if self._overlay is not None:
            self._overlay.hide()
        self._number, self._overlay, self._strips = 0, None, []

    def _screen_changed(self, screen: Screen[Any]) -> None:
        if self._drawn_at and self.terminal.drawing not in ("half", "off"):
            if screen is not self.screen:
                self._take_back()
            self._strips = []
            self.refresh()

    def _write(self, codes: str) -> None:
        # Through the driver, in order with the frames: both go to the terminal from one queue.
        if self.app._driver is not None:
            self.app._driver.write(codes)

    def _well(self, size: Size, words: str) -> list[Strip]:
        columns, rows = size
        style = self.get_component_rich_style("picture-view--well")
        lines = [""] * rows
        if rows:
            lines[(rows - 1) // 2] = shortened(words, columns)
        return [Strip.blank(columns, style) if not line else _centred(line, columns, style) for line in lines]


def _centred(line: str, columns: int, style: Style) -> Strip:
    return Strip([Segment(line.center(columns), style)])
