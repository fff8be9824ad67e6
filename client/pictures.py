"""Read pictures that came over the wire."""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import BraindError
from .wire import Array

MAX_PICTURE_PX = 4096
"""The longer side of the largest picture that is read."""


class PictureError(BraindError):
    """The bytes are not a picture."""

    code = "picture"


def read_picture(png: bytes, largest_px: int = MAX_PICTURE_PX) -> Array:
    """Return the picture of a PNG file's bytes, scaled down to a longer side of at most `largest_px`.

    Returns
    -------
    picture : array of shape (height, width, 3), uint8
        sRGB.

    Raises
    ------
    PictureError
        The bytes are not a PNG or are cut short, or a side is longer than `MAX_PICTURE_PX`.
    """
    # A header of a few bytes may announce gigabytes of pixels, so its size is checked before Pillow reads it.
    width, height = int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
    if max(width, height) > MAX_PICTURE_PX:
        raise PictureError(f"a picture of {width} × {height} pixels; at most {MAX_PICTURE_PX} a side are shown")
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            rgb = image.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise PictureError(f"a picture that is no whole PNG ({len(png)} bytes): {error}") from error
    if max(rgb.size) > largest_px:
        rgb.thumbnail((largest_px, largest_px), Image.Resampling.LANCZOS, reducing_gap=2)
    return np.asarray(rgb)
