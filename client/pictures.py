"""Pictures from the wire as arrays."""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import BraindError
from .wire import Array

MAX_PICTURE_PX = 4096
"""Longer side of the largest picture taken from the wire."""


class PictureError(BraindError):
    """Bytes that are no picture."""

    code = "picture"


def read_picture(png: bytes, largest_px: int = MAX_PICTURE_PX) -> Array:
    """Return the picture of a PNG, its longer side at most `largest_px`.

    Returns
    -------
    picture : array of shape (height, width, 3), uint8
        sRGB.

    Raises
    ------
    PictureError
        When the bytes are no PNG, are cut short, or are larger than any decoder makes.
    """
    # the header's size is read before Pillow sees the bytes: a few bytes may announce gigabytes of pixels
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
