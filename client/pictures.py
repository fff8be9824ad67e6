"""Read pictures that came over the wire."""

import io

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from ..arrays import Array
from ..errors import BraindError

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
    _check_size(int.from_bytes(png[16:20]), int.from_bytes(png[20:24]))
    try:
        # Not `Image.open`: it warns of many pixels on stderr, across a monitor's screen.
        with PngImageFile(io.BytesIO(png)) as image:
            # A file may have a second header, and Pillow follows the last one.
            _check_size(*image.size)
            rgb = image.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise PictureError(f"a picture that is no whole PNG ({len(png)} bytes): {error}") from error
    if max(rgb.size) > largest_px:
        rgb.thumbnail((largest_px, largest_px), Image.Resampling.LANCZOS, reducing_gap=1)
    return np.asarray(rgb)


def _check_size(width: int, height: int) -> None:
    if max(width, height) > MAX_PICTURE_PX:
        raise PictureError(f"a picture of {width} × {height} pixels; at most {MAX_PICTURE_PX} a side are shown")
