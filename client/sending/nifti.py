"""Read NIfTI series: one 4-D file, or numbered 3-D files."""

import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.compressed import check_compressed
from .incoming import Incoming, IncomingError, sendable

NUMBERED = re.compile(r"(.*?)(\d+)\.nii(?:\.gz)?$")
SECONDS_OF_UNIT = {0: 1.0, 8: 1.0, 16: 1e-3, 24: 1e-6}
"""By the header's code of the time's unit; 0 is unknown. Other codes are hertz, ppm, rad/s or wrong."""


def read_nifti(path: Path, start: int = 0, *, first_number: int = 1) -> Iterator[Incoming]:
    """Yield a file's volumes; a 4-D file is read from volume `start` on, one volume at a time.

    Parameters
    ----------
    first_number : the number in the name of a series' first 3-D file

    Raises
    ------
    IncomingError
        The file is cut short, is not NIfTI, does not have 3 or 4 axes, or is a 3-D file without a number.
    """
    image = _load(path)
    try:
        check_compressed(path)
        shape, affine = image.shape, np.array(image.affine, np.float64)
        if len(shape) == 3:
            series, index = _number(path, first_number)
            yield _volume(image.dataobj.get_unscaled(), image, affine, index, series, path.name)
        elif len(shape) == 4:
            stored = _stored(image)
            for index in range(start, shape[3]):
                voxels = np.asarray(stored[..., index])
                yield _volume(voxels, image, affine, index, path.name, f"{path.name}[{index}]")
        else:
            raise IncomingError(f"{path}: {len(shape)} axes; a series is one 4-D file or several 3-D files")
    except (OSError, EOFError, ValueError, TypeError, KeyError, zlib.error) as error:
        # TypeError: voxels that are not numbers, such as RGB
        raise _unreadable(path, error) from error


def n_volumes(path: Path) -> int:
    """Return the number of volumes in a NIfTI file's header. Raises IncomingError if it is not NIfTI."""
    shape = _load(path).shape
    return shape[3] if len(shape) > 3 else 1


def _load(path: Path) -> Any:
    from nibabel.filebasedimages import ImageFileError
    from nibabel.loadsave import load
    from nibabel.nifti1 import Nifti1Pair
    from nibabel.spatialimages import HeaderDataError

    try:
        image: Any = load(path)
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error) as error:
        raise _unreadable(path, error) from error
    # nibabel also opens other formats, and CIFTI-2 surfaces have names that end in .nii
    if not isinstance(image, Nifti1Pair):
        raise IncomingError(f"{path} is {type(image).__name__}, not a NIfTI volume; convert it to NIfTI")
    return image


def _unreadable(path: Path, error: Exception) -> IncomingError:
    return IncomingError(f"{path} cannot be read as NIfTI ({error}): it is cut short, or not one")


def _stored(image: Any) -> Any:
    """Return a proxy of the unscaled numbers, which reads one volume at a time from disk."""
    from nibabel.arrayproxy import ArrayProxy

    proxy = image.dataobj
    # A compressed file that stays open is not decompressed from its beginning for each volume.
    return ArrayProxy(proxy.file_like, (proxy.shape, proxy.dtype, proxy.offset), keep_file_open=True)


def _volume(voxels: Any, image: Any, affine: Any, index: int, series: str, source: str) -> Incoming:
    stored, scale = sendable(np.asarray(voxels), float(image.dataobj.slope), float(image.dataobj.inter))
    return Incoming(stored, affine, index, series, source, tr_s=_tr_s(image.header), scale=scale)


def _tr_s(header: Any) -> float | None:
    """Return the TR in seconds; None if the header does not say it."""
    zooms, unit = header.get_zooms(), int(header["xyzt_units"]) & 0x38
    if len(zooms) < 4 or not 0 < zooms[3] < math.inf or unit not in SECONDS_OF_UNIT:
        return None
    if unit == 0 and zooms[3] == 1:  # what nibabel writes if nobody gave a TR
        return None
    return round(float(zooms[3]) * SECONDS_OF_UNIT[unit], 6) or None


def _number(path: Path, first_number: int) -> tuple[str, int]:
    named = NUMBERED.match(path.name)
    if named is None:
        raise IncomingError(f"{path}: a 3-D file of a series has its number before .nii, as vol_0001.nii", code="index")
    index = int(named[2]) - first_number
    if index < 0:
        raise IncomingError(
            f"{path.name}: number {named[2]}, but counting begins at {first_number}; give --first-number 0",
            code="index",
        )
    return named[1] or "numbered files", index
