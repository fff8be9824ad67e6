"""Pictures as text: two pixels per terminal cell, by the upper half block.

A cell is about twice as tall as wide, so "▀" in one colour on another shows two square pixels. Every terminal with
colours can draw it, through SSH and tmux, without a query to the terminal.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.color import Color
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

Array = NDArray[Any]

HALF_BLOCK = "▀"
KEPT_PX = 160
"""The longer side of the pictures kept in memory: more than any terminal shows."""
CUBE_LEVELS = np.array([0, 95, 135, 175, 215, 255])
"""Levels of red, green and blue in the 6 × 6 × 6 cube of xterm's 256 colours (XFree86 xterm, 256colres.h)."""
GREY_LEVELS = np.arange(8, 239, 10)
"""The 24 greys of the same palette."""


def palette_size(console: Console) -> int | None:
    """Return 256 for a terminal of 256 colours, else None, which means 24-bit colour."""
    return 256 if console.color_system == "256" else None


def fitting_cells(picture: Array, columns: int, rows: int) -> tuple[int, int]:
    """Return the (columns, rows) of a (height, width, 3) picture within a cell area, with its aspect kept."""
    height, width = picture.shape[:2]
    scale = min(columns / width, 2 * rows / height)
    return max(1, round(width * scale)), max(1, round(height * scale / 2))


def half_blocks(picture: Array, columns: int, rows: int, colours: int | None = None) -> list[Strip]:
    """Draw a picture into exactly `columns` × `rows` cells.

    Parameters
    ----------
    picture : array of shape (height, width, 3), uint8
    colours : 256 to keep to xterm's palette, None for 24-bit colour

    Returns
    -------
    strips : one per row; neighbouring cells of equal colours are one segment
    """
    filter_ = Image.Resampling.BOX if picture.shape[1] >= columns else Image.Resampling.NEAREST
    pixels = np.asarray(Image.fromarray(picture).resize((columns, 2 * rows), filter_))
    if colours == 256:
        pixels = _nearest_in_palette(pixels)
    packed = pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    cells = packed[0::2] << 24 | packed[1::2]
    # cells.shape = (rows, columns), 24 bits of the upper pixel above 24 bits of the lower one
    return [Strip(_runs(row), columns) for row in cells]


def _runs(cells: Array) -> list[Segment]:
    """Return the segments of a row of cells, equal neighbours merged."""
    starts = np.flatnonzero(np.diff(cells, prepend=-1))
    lengths = np.diff(starts, append=len(cells))
    return [
        Segment(HALF_BLOCK * length, _cell_style(cell))
        for cell, length in zip(cells[starts].tolist(), lengths.tolist(), strict=True)
    ]


@lru_cache(8192)
def _cell_style(cell: int) -> Style:
    return Style.from_color(_colour(cell >> 24), _colour(cell & 0xFFFFFF))


@lru_cache(8192)
def _colour(rgb: int) -> Color:
    return Color.from_rgb(rgb >> 16, rgb >> 8 & 255, rgb & 255)


def _nearest_in_palette(pixels: Array) -> Array:
    """Return the (…, 3) uint8 pixels, each moved to the nearest of xterm's 240 fixed colours."""
    values = pixels.astype(np.int64)
    in_cube = _nearest_level(values, CUBE_LEVELS)
    grey = _nearest_level(values.mean(axis=-1, keepdims=True), GREY_LEVELS)
    cube_is_nearer = ((values - in_cube) ** 2).sum(-1) <= ((values - grey) ** 2).sum(-1)
    return np.where(cube_is_nearer[..., None], in_cube, grey).astype(np.uint8)


def _nearest_level(values: Array, levels: Array) -> Array:
    return levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, values)]
