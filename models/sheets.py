"""Contact sheets: labelled rows of pictures, marked if the brain is simulated."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..arrays import Array

LABEL_PX = 44
TITLE_PX = 26
BACKGROUND = (18, 18, 22)
WORDS = (200, 200, 205)
WARNING = (255, 190, 90)


def contact_sheet(
    columns: list[list[Array]], labels: list[str], title: str, simulated: bool, per_line: int = 12
) -> Image.Image:
    """Put pictures on one sheet.

    Parameters
    ----------
    columns : one list per trial: pictures (px, px, 3) uint8, from top to bottom
    labels : label of each row
    per_line : trials side by side; further trials continue in a line below
    """
    px = columns[0][0].shape[0]
    columns = [[_fit(picture, px) for picture in column] for column in columns]
    n_rows = len(columns[0])
    n_lines = -(-len(columns) // per_line)
    width = LABEL_PX + min(len(columns), per_line) * px
    sheet = Image.new("RGB", (width, TITLE_PX + n_lines * (n_rows * px + 6)), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    draw.text((6, 5), title, WORDS, font)
    if simulated:
        draw.text((width - 8, 5), "SIMULATED BRAIN", WARNING, font, anchor="ra")
    for n, column in enumerate(columns):
        line, position = divmod(n, per_line)
        top = TITLE_PX + line * (n_rows * px + 6)
        for row, picture in enumerate(column):
            sheet.paste(Image.fromarray(picture), (LABEL_PX + position * px, top + row * px))
            if position == 0:
                draw.text((6, top + row * px + px // 2), labels[row], WORDS, font, anchor="lm")
    return sheet


def _fit(picture: Array, px: int) -> Array:
    if picture.shape[0] == px:
        return picture
    return np.asarray(Image.fromarray(picture).resize((px, px), Image.Resampling.LANCZOS))
