"""Sixel, DEC's pictures in a terminal: drawn over the cells from where the cursor stands.

A terminal keeps no Sixel: whatever is written on the cells erases it, and it is drawn anew with every repaint of its
cells. It is drawn last, over cells that the cursor only steps over, so that a repaint does not flicker.
"""

import re

from PIL import Image, ImageOps
from rich.segment import ControlType, Segment
from rich.style import Style
from textual.geometry import Offset
from textual.strip import Strip

# Not `textual_image.renderable`, whose import asks the terminal and eats what is typed meanwhile.
from textual_image._sixel import image_to_sixels

from ...arrays import Array

_NULL = Style()
_COLOUR = re.compile(r"(#\d+);2;\d+;\d+;\d+")


def sixels(picture: Array, columns: int, rows: int, cell_px: tuple[int, int]) -> str:
    """Return a (height, width, 3) uint8 picture as Sixel that covers `columns` × `rows` cells whole.

    The picture keeps its aspect; what is left of its cells is black.
    """
    box = columns * cell_px[0], rows * cell_px[1]
    larger = picture.shape[1] > box[0] or picture.shape[0] > box[1]
    resampling = Image.Resampling.BOX if larger else Image.Resampling.BILINEAR
    return _colours_first(image_to_sixels(ImageOps.pad(Image.fromarray(picture), box, resampling)))


def _colours_first(sixel: str) -> str:
    """Return a Sixel whose colours are all defined before its first pixel.

    xterm draws wrong colours and gaps where a colour is defined between the pixels.
    """
    colours = "".join(colour[0] for colour in _COLOUR.finditer(sixel))
    start = sixel.index("#")
    return sixel[:start] + colours + _COLOUR.sub(r"\1", sixel[start:])


def sixel_strips(sixel: str, at: Offset, columns: int, rows: int) -> list[Strip]:
    """Return the strips that draw a Sixel of `columns` × `rows` cells with its corner at a place of the screen."""
    step = _control(f"\x1b[{columns}C")
    draw = _control(f"\x1b7\x1b[{at.y + 1};{at.x + 1}H{sixel}\x1b8")
    return [Strip([step], columns)] * (rows - 1) + [Strip([step, draw], columns)]


def _control(codes: str) -> Segment:
    # A control segment takes no cells; Rich leaves its text alone.
    return Segment(codes, _NULL, [(ControlType.CURSOR_FORWARD, 0)])
