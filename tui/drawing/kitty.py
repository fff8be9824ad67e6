"""kitty's graphics protocol with Unicode placeholders (sw.kovidgoyal.net/kitty/graphics-protocol).

A picture is sent once. From then on it is text: cells of one placeholder character, whose foreground colour is the
picture's number and whose combining characters are the cell's row and column. Moving, covering and erasing the picture
is the text's business, so it never flickers and nothing stays behind. kitty and Ghostty draw it.

Not textual-image's: its way of deleting a picture (`a=d` without `d=I`) deletes no placeholders' picture, so the
terminal would keep every picture of a session.
"""

import os
import secrets
from base64 import standard_b64encode
from itertools import count
from typing import Any

import numpy as np
from PIL import Image
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from ...arrays import Array
from .png import png

CHUNK = 4096
"""The most base64 characters of one command."""
PLACEHOLDER = "\U0010eeee"
# The combining characters of the numbers 0 to 296, from kitty's rowcolumn-diacritics.txt.
_DIACRITIC_RANGES = """
305 30d-30e 310 312 33d-33f 346 34a-34c 350-352 357 35b 363-36f 483-487 592-595 597-599 59c-5a1 5a8-5a9 5ab-5ac
5af 5c4 610-617 657-65b 65d-65e 6d6-6dc 6df-6e2 6e4 6e7-6e8 6eb-6ec 730 732-733 735-736 73a 73d 73f-741 743 745
747 749-74a 7eb-7f1 7f3 816-819 81b-823 825-827 829-82d 951 953-954 f82-f83 f86-f87 135d-135f 17dd 193a 1a17
1a75-1a7c 1b6b 1b6d-1b73 1cd0-1cd2 1cda-1cdb 1ce0 1dc0-1dc1 1dc3-1dc9 1dcb-1dcc 1dd1-1de6 1dfe 20d0-20d1
20d4-20d7 20db-20dc 20e1 20e7 20e9 20f0 2cef-2cf1 2de0-2dff a66f a67c-a67d a6f0-a6f1 a8e0-a8f1 aab0 aab2-aab3
aab7-aab8 aabe-aabf aac1 fe20-fe26 10a0f 10a38 1d185-1d189 1d1aa-1d1ad 1d242-1d244
"""
DIACRITICS = [
    chr(number)
    for first, _, last in (span.partition("-") for span in _DIACRITIC_RANGES.split())
    for number in range(int(first, 16), int(last or first, 16) + 1)
]

# Programs in one terminal share its pictures' numbers, so each starts somewhere else.
_numbers = count(secrets.randbelow(1 << 24))


def next_number() -> int:
    """Return a number for a picture: 24 bits, because it travels as a colour; not 0, which names no picture."""
    return next(_numbers) % ((1 << 24) - 1) + 1


def send(number: int, picture: Array, columns: int, rows: int, cell_px: tuple[int, int]) -> str:
    """Return the commands that give the terminal a picture and let `columns` × `rows` placeholders show it.

    Parameters
    ----------
    picture : array of shape (height, width, 3), uint8
        It is scaled down to the pixels of its cells; it is never scaled up, the terminal does that.
    """
    image = Image.fromarray(picture)
    image.thumbnail((columns * cell_px[0], rows * cell_px[1]), Image.Resampling.BOX)
    payload = standard_b64encode(png(np.asarray(image))).decode("ascii")
    chunks = [payload[start : start + CHUNK] for start in range(0, len(payload), CHUNK)]
    keys: dict[str, Any] = {"a": "T", "U": 1, "i": number, "f": 100, "c": columns, "r": rows}
    commands = []
    for position, chunk in enumerate(chunks):
        commands.append(_command({**keys, "q": 2, "m": int(position + 1 < len(chunks))}, chunk))
        keys = {}
    return "".join(commands)


def delete(number: int) -> str:
    """Return the command that deletes a picture with its data."""
    return _command({"a": "d", "d": "I", "i": number, "q": 2})


def placeholders(number: int, columns: int, rows: int) -> list[Strip]:
    """Return the cells that show the picture of this number, one strip per row. At most 297 columns and rows."""
    style = Style.from_color(Color.from_rgb(number >> 16, number >> 8 & 255, number & 255))
    lines = [
        "".join(PLACEHOLDER + DIACRITICS[row] + DIACRITICS[column] for column in range(columns)) for row in range(rows)
    ]
    return [Strip([Segment(line, style)], columns) for line in lines]


def _command(keys: dict[str, Any], payload: str = "") -> str:
    command = f"\x1b_G{','.join(f'{key}={value}' for key, value in keys.items())}{';' * bool(payload)}{payload}\x1b\\"
    if "TMUX" not in os.environ:
        return command
    # tmux hands on what is wrapped so, if it is told to: set -g allow-passthrough on
    return f"\x1bPtmux;{command.replace(chr(27), chr(27) * 2)}\x1b\\"
