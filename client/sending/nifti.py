"""Read NIfTI series: one 4-D file, or numbered 3-D files."""

import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.compressed import check_compressed
from .entities import Entities, entities_of_name
from .incoming import CANNOT_READ, Incoming, IncomingError, sendable

EXTENSION = re.compile(r"\.(?:nii|img)(?:\.gz)?$", re.IGNORECASE)
NUMBERED = (
    # SPM: series, acquisition and instance number, echo
    re.compile(r"(?P<series>.*-\d{4}-)(?P<acquisition>\d{5})-(?P<number>\d{6})(?:-(?P<echo>\d{2}))?$"),
    re.compile(r"(?P<series>.*?)(?P<number>\d{6})-(?P<echo>\d{2})$"),
    # dcm2niix appends the echo and the part
    re.compile(r"(?P<series>.*?)(?P<number>\d+)(?:_e(?P<echo>\d+))?(?:_(?:ph|real|imaginary))?$"),
)
ZERO_PADDED = re.compile(r"0\d{2,}")
SECONDS_OF_UNIT = {0: 1.0, 8: 1.0, 16: 1e-3, 24: 1e-6}
"""By the header's code of the time's unit; 0 is unknown. Other codes are hertz, ppm, rad/s or wrong."""


def read_nifti(
    path: Path, start: int = 0, *, first_number: int = 1, by_acquisition: bool = False
) -> Iterator[Incoming]:
    """Yield a file's volumes; a 4-D file is read from volume `start` on, one volume at a time.

    Parameters
    ----------
    first_number : the number in the name of a series' first 3-D file
    by_acquisition : number SPM's files by acquisition, so that the echoes of a volume share its number

    Raises
    ------
    IncomingError
        The file is cut short, is not NIfTI, does not have 3 or 4 axes, is a 3-D file without a number, or its voxels
        are complex or colours.
    """
    image = _load(path)
    try:
        check_compressed(path)
        shape, affine = image.shape, np.array(image.affine, np.float64)
        _check_real(image, path)
        if len(shape) == 3 or (shape[3:] == (1,) and _is_one_of_many(path)):
            series, index, entities = _number(path, first_number, by_acquisition)
            voxels = np.asarray(image.dataobj.get_unscaled()).reshape(shape[:3])
            yield replace(_volume(voxels, image, affine, index, series, path.name), entities=entities)
        elif len(shape) == 4:
            if not shape[3]:
                raise IncomingError(f"{path} holds no volume; its fourth axis has length 0")
            stored = _stored(image)
            entities = replace(entities_of_name(EXTENSION.sub("", path.name)), is_alone=shape[3] == 1)
            for index in range(start, shape[3]):
                voxels = np.asarray(stored[..., index])
                volume = _volume(voxels, image, affine, index, path.name, f"{path.name}[{index}]")
                yield replace(volume, entities=entities)
        else:
            raise IncomingError(f"{path}: {len(shape)} axes; a series is one 4-D file or several 3-D files")
    except CANNOT_READ as error:
        raise _unreadable(path, error) from error


def n_volumes(path: Path) -> int:
    """Return the number of volumes in a NIfTI file's header. Raises IncomingError if it is not NIfTI."""
    shape = _load(path).shape
    return shape[3] if len(shape) > 3 else 1


def _load(path: Path) -> Any:
    from xml.parsers.expat import ExpatError  # of CIFTI's and GIFTI's headers

    from nibabel.filebasedimages import ImageFileError
    from nibabel.loadsave import load
    from nibabel.nifti1 import Nifti1Pair
    from nibabel.spatialimages import HeaderDataError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nibabel warns about odd headers, which it reads nevertheless
            image: Any = load(path)
    except (*CANNOT_READ, ImageFileError, HeaderDataError, ExpatError) as error:
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
    return Incoming(stored, affine, index, series, source, tr_s=header_tr_s(image.header), scale=scale)


def header_tr_s(header: Any) -> float | None:
    """Return the TR in seconds; None if the header does not say it."""
    zooms, unit = header.get_zooms(), int(header["xyzt_units"]) & 0x38
    if len(zooms) < 4 or not 0 < zooms[3] < math.inf or unit not in SECONDS_OF_UNIT:
        return None
    if unit == 0 and zooms[3] == 1:  # what nibabel writes if nobody gave a TR
        return None
    return round(float(zooms[3]) * SECONDS_OF_UNIT[unit], 6) or None


def _check_real(image: Any, path: Path) -> None:
    """Raise IncomingError for complex numbers and for colours: a cast would drop the imaginary part."""
    if image.dataobj.dtype.kind not in "iuf":
        kind = "complex numbers" if image.dataobj.dtype.kind == "c" else "colours or other records"
        raise IncomingError(f"{path} holds {kind}, no magnitudes; export the magnitude as whole or real numbers")


def _is_one_of_many(path: Path) -> bool:
    """Return whether a name has a zero-padded number, as a file of a series has that holds one volume."""
    named = _named(path)
    return named is not None and ZERO_PADDED.fullmatch(named["number"]) is not None


def _named(path: Path) -> re.Match[str] | None:
    stem = EXTENSION.sub("", path.name)
    return next((named for pattern in NUMBERED if (named := pattern.match(stem))), None)


def _number(path: Path, first_number: int, by_acquisition: bool) -> tuple[str, int, Entities]:
    """Return a 3-D file's series, its index, and what its name says."""
    named = _named(path)
    if named is None:
        alone = entities_of_name(EXTENSION.sub("", path.name))
        if alone.is_reference:
            return path.name, 0, alone
        raise IncomingError(f"{path}: a 3-D file of a series has its number before .nii, as vol_0001.nii", code="index")
    parts = named.groupdict()
    number = parts["acquisition"] if by_acquisition and parts.get("acquisition") else parts["number"]
    index = int(number) - first_number
    if index < 0:
        raise IncomingError(
            f"{path.name}: number {number}, but counting begins at {first_number}; give --first-number 0",
            code="index",
        )
    series = parts["series"] or "numbered files"
    entities = entities_of_name(EXTENSION.sub("", path.name), int(parts["echo"]) if parts["echo"] else None)
    # The instance number in SPM's names counts the files of all echoes.
    counts_volumes = "acquisition" not in parts or by_acquisition
    return series, index, replace(entities, description=series, counts_volumes=counts_volumes)
