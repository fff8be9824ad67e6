"""Pictures as text: two pixels per terminal cell, by the upper half block.

A cell is about twice as tall as wide, so "▀" in one colour on another shows two square pixels. Every terminal with
colours can draw it, through SSH and tmux, without a query to the terminal.
"""

from functools import lru_cache
from weakref import WeakKeyDictionary, ref

import numpy as np
from PIL import Image
from rich.color import Color, ColorTriplet, ColorType
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from ..arrays import Array
from .drawing.late_segments import LateStrip
from .drawing.terminal import Terminal

HALF_BLOCK = "▀"
CODES = "\x1b[38;2;%d;%d;%d;48;2;%d;%d;%dm%s"
"""The colours of text and background, then the text (ISO 8613-6)."""
LARGE_PX = 512
"""The longer side of the newest pictures in memory where single pixels can be drawn: as large as models make them."""
N_LARGE = 24
"""How many volumes keep their large pictures: 50 MB of three pictures each."""
KEPT_PX = 160
"""The longer side of older pictures in memory, and of all that are drawn in half-blocks, which show no more."""
CUBE_LEVELS = np.array([0, 95, 135, 175, 215, 255])
"""Levels of red, green and blue in the 6 × 6 × 6 cube of xterm's 256 colours (XFree86 xterm, 256colres.h)."""
GREY_LEVELS = np.arange(8, 239, 10)
"""The 24 greys of the same palette."""


def largest_px(terminal: Terminal) -> int:
    """Return the longer side of the newest pictures in memory."""
    return KEPT_PX if terminal.drawing in ("half", "off") else LARGE_PX


def palette_size(console: Console) -> int | None:
    """Return how many colours the terminal has, None for 24-bit colour."""
    return {"256": 256, "standard": 16, "windows": 16}.get(console.color_system or "")


def fitting_cells(picture: Array, columns: int, rows: int) -> tuple[int, int]:
    """Return the (columns, rows) of a (height, width, 3) picture within a cell area, with its aspect kept."""
    height, width = picture.shape[:2]
    scale = min(columns / width, 2 * rows / height)
    return max(1, round(width * scale)), max(1, round(height * scale / 2))


def shrunk(picture: Array | None) -> Array | None:
    """Return a (height, width, 3) uint8 picture with a longer side of at most `KEPT_PX`."""
    if picture is None or max(picture.shape[:2]) <= KEPT_PX:
        return picture
    image = Image.fromarray(picture)
    image.thumbnail((KEPT_PX, KEPT_PX), Image.Resampling.BOX)
    return np.asarray(image)


def half_blocks(picture: Array, columns: int, rows: int, colours: int | None = None) -> list[Strip]:
    """Draw a picture into exactly `columns` × `rows` cells.

    Parameters
    ----------
    picture : array of shape (height, width, 3), uint8
    colours : the terminal's number of colours; 256 keeps to xterm's palette; None is 24-bit colour

    Returns
    -------
    strips : one per row; neighbouring cells of equal colours are one segment
    """
    filter_ = Image.Resampling.BOX if picture.shape[1] >= columns else Image.Resampling.NEAREST
    pixels = np.asarray(Image.fromarray(picture).resize((columns, 2 * rows), filter_))
    if colours == 256:
        pixels = _nearest_in_palette(pixels)
    if colours is None:
        return [TrueColourRow(above, below) for above, below in zip(pixels[0::2], pixels[1::2], strict=True)]
    return [Strip(_segments(*runs), columns) for runs in map(_runs, pixels[0::2], pixels[1::2])]


class TrueColourRow(LateStrip):
    """A row of half-blocks in 24-bit colour.

    Parameters
    ----------
    above, below : arrays of shape (columns, 3), uint8
        The upper and the lower pixels.
    """

    def __init__(self, above: Array, below: Array) -> None:
        super().__init__(len(above))
        self._pixels = above, below

    def render(self, console: Console) -> str:
        """Return the row's text with its colours."""
        if self._render_cache is None:
            cells, lengths = _runs(*self._pixels)
            codes = [CODES % (*cell, HALF_BLOCK * length) for cell, length in zip(cells, lengths, strict=True)]
            self._render_cache = "".join([*codes, "\x1b[0m"])
        return self._render_cache

    def segments(self) -> list[Segment]:
        """Return the row's segments, with the colours as Rich's objects."""
        return _segments(*_runs(*self._pixels))


class Thumbnails:
    """Half-block drawings of volumes' pictures, each drawn once: a strip shows many, and one of them changes."""

    def __init__(self) -> None:
        # The pictures are referred to weakly: a volume replaces its large pictures by small ones, to free their memory.
        self._drawn: WeakKeyDictionary[object, tuple[ref[Array], tuple[object, ...], list[Strip]]] = WeakKeyDictionary()

    def of(self, volume: object, picture: Array, columns: int, rows: int, colours: int | None) -> list[Strip]:
        """Return the half-blocks of a volume's picture, with its aspect kept within `columns` × `rows` cells."""
        drawn = self._drawn.get(volume)
        if drawn is None or drawn[0]() is not picture or drawn[1] != (columns, rows, colours):
            strips = half_blocks(picture, *fitting_cells(picture, columns, rows), colours)
            self._drawn[volume] = drawn = ref(picture), (columns, rows, colours), strips
        return drawn[2]


def _runs(above: Array, below: Array) -> tuple[list[list[int]], list[int]]:
    """Return the six levels of each run of equal cells (upper red, green, blue; lower ones), and the runs' lengths."""
    cells = np.concatenate([above, below], axis=1)
    starts = np.flatnonzero(np.r_[True, (cells[1:] != cells[:-1]).any(axis=1)])
    return cells[starts].tolist(), np.diff(starts, append=len(cells)).tolist()


def _segments(cells: list[list[int]], lengths: list[int]) -> list[Segment]:
    return [Segment(HALF_BLOCK * length, _cell_style(*cell)) for cell, length in zip(cells, lengths, strict=True)]


@lru_cache(8192)
def _cell_style(*levels: int) -> Style:
    return Style.from_color(_colour(*levels[:3]), _colour(*levels[3:]))


@lru_cache(8192)
def _colour(red: int, green: int, blue: int) -> Color:
    # Not `Color.from_rgb`, which spells out a name for each of a picture's colours.
    return Color("", ColorType.TRUECOLOR, triplet=ColorTriplet(red, green, blue))


def _nearest_in_palette(pixels: Array) -> Array:
    """Return the (…, 3) uint8 pixels, each moved to the nearest of xterm's 240 fixed colours."""
    values = pixels.astype(np.int64)
    in_cube = _nearest_level(values, CUBE_LEVELS)
    grey = _nearest_level(values.mean(axis=-1, keepdims=True), GREY_LEVELS)
    cube_is_nearer = ((values - in_cube) ** 2).sum(-1) <= ((values - grey) ** 2).sum(-1)
    return np.where(cube_is_nearer[..., None], in_cube, grey).astype(np.uint8)


def _nearest_level(values: Array, levels: Array) -> Array:
    return levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, values)]
