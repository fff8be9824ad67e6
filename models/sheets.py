"""Contact sheets: labelled rows and columns of pictures, marked if the brain is simulated."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..arrays import Array

ROW_LABEL_PX, TITLE_PX, SCORE_PX, GAP_PX = 44, 26, 18, 10
LINE_PX = 15
"""Height of a line of a column's label."""
BACKGROUND = (18, 18, 22)
WORDS = (200, 200, 205)
WARNING = (255, 190, 90)
MARK = "SIMULATED BRAIN"
FONT_SIZE, SMALL, SMALLEST = 13, 12, 6


@dataclass(frozen=True, eq=False)
class Column:
    """One trial of a sheet.

    Parameters
    ----------
    pictures : list of array of shape (px, px, 3), uint8
        From top to bottom.
    label : str
        Names the trial, above its pictures; lines are separated by newlines.
    score : str
        Stands below the pictures.
    """

    pictures: list[Array]
    label: str
    score: str


def contact_sheet(
    columns: list[Column], rows: list[str], title: str, simulated: bool, per_line: int = 12
) -> Image.Image:
    """Put the pictures of trials on one sheet.

    Parameters
    ----------
    rows : list of str
        Label of each row of pictures.
    per_line : int
        Trials side by side; further trials continue in a line below.
    """
    px = columns[0].pictures[0].shape[0]
    n_rows = len(rows)
    n_lines = -(-len(columns) // per_line)
    label_px = LINE_PX * max(len(column.label.split("\n")) for column in columns)
    line_px = label_px + n_rows * px + SCORE_PX + GAP_PX
    marked = MARK if simulated else ""
    title_width = sum(round(_font(FONT_SIZE).getlength(words)) + 10 for words in (title, marked))
    width = max(ROW_LABEL_PX + min(len(columns), per_line) * px, title_width)
    sheet = Image.new("RGB", (width, TITLE_PX + n_lines * line_px), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((6, 5), title, WORDS, _font(FONT_SIZE))
    draw.text((width - 6, 5), marked, WARNING, _font(FONT_SIZE), anchor="ra")
    for n, column in enumerate(columns):
        line, position = divmod(n, per_line)
        left, top = ROW_LABEL_PX + position * px, TITLE_PX + line * line_px
        for k, words in enumerate(column.label.split("\n")):
            draw.text((left + px // 2, top + k * LINE_PX), words, WORDS, _fitting(words, px), anchor="ma")
        for row, picture in enumerate(column.pictures):
            middle = top + label_px + row * px + px // 2
            sheet.paste(Image.fromarray(_fit(picture, px)), (left, middle - px // 2))
            if position == 0:
                draw.text((6, middle), rows[row], WORDS, _font(FONT_SIZE), anchor="lm")
        bottom = top + label_px + n_rows * px
        draw.text((left + px // 2, bottom + 2), column.score, WORDS, _fitting(column.score, px), anchor="ma")
    return sheet


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which comes with matplotlib. Pillow's own font has no minus sign."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def _fitting(words: str, px: int) -> ImageFont.FreeTypeFont:
    """Return the largest font in which words are not wider than a picture."""
    sizes = range(SMALL, SMALLEST, -1)
    return next((font for font in map(_font, sizes) if font.getlength(words) <= px - 4), _font(SMALLEST))


def _fit(picture: Array, px: int) -> Array:
    if picture.shape[0] == px:
        return picture
    return np.asarray(Image.fromarray(picture).resize((px, px), Image.Resampling.LANCZOS))
