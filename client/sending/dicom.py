"""DICOM files as scanners write them: Siemens mosaics, enhanced multi-frame files, and files of one slice each.

Geometry is DICOM's (LPS, row and column directions) until the last step, which makes it RAS+.
"""

import math
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .dicom_enhanced import read_enhanced
from .dicom_geometry import plane_affine, series_of, stack_planes, tr_of
from .incoming import LPS_TO_RAS, Array, Incoming, IncomingError, sendable

SLICES_OF_GE = (0x0021, 0x104F)  # locations in acquisition
SLICES_OF_PHILIPS = (0x2001, 0x1018)
SLICES_OF_MOSAIC = (0x0019, 0x100A)
CANNOT_READ = (OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError)


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice of a volume; `plane` has shape (I, J), `affine` (4, 4) has its k axis along the normal, in LPS."""

    plane: Array
    affine: Array
    index: int
    n_slices: int
    series: str
    source: str
    tr_s: float | None
    slope: float
    intercept: float


def read_dicom(path: Path, *, first_number: int = 1) -> list[Incoming] | Slice:
    """Read a file: the volumes in it, or one slice of one.

    Parameters
    ----------
    first_number : what a series' first volume has as its (instance, or temporal position) number

    Raises
    ------
    IncomingError
        The file is cut short, is no DICOM, or lacks what its geometry needs.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns of values that a scanner's maker should not write
            dataset = pydicom.dcmread(path)
            return _volumes(dataset, path.name, first_number)
    except IncomingError:
        raise
    except InvalidDicomError as error:
        raise IncomingError(f"{path} is no DICOM file, or only its beginning is there") from error
    except (*CANNOT_READ, struct.error) as error:
        # pydicom has no error of its own for a file cut short or without an element.
        raise IncomingError(
            f"{path} cannot be read as DICOM ({error}): cut short, or without what is needed"
        ) from error


def _volumes(dataset: Any, source: str, first_number: int) -> list[Incoming] | Slice:
    if int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise IncomingError(f"{source}: a colour image, no volume; send the series of magnitude images")
    if "PerFrameFunctionalGroupsSequence" in dataset:
        return read_enhanced(dataset, source, first_number)
    if "MOSAIC" in [str(word) for word in dataset.get("ImageType", [])]:
        return [_mosaic(dataset, source, first_number)]
    return _slice(dataset, source, first_number)


# ── Siemens mosaic: a volume's slices side by side in one picture ───────────────────────────────────────────────────


def _mosaic(dataset: Any, source: str, first_number: int) -> Incoming:
    csa = _csa(dataset)
    n_slices = int(dataset[SLICES_OF_MOSAIC].value if SLICES_OF_MOSAIC in dataset else _csa_value(csa, source))
    tiles = untile(dataset.pixel_array, n_slices, source)
    columns, rows, _ = tiles.shape
    affine = plane_affine(dataset)
    # The position is the whole picture's corner; the slices share its centre.
    rows_of_all, columns_of_all = dataset.pixel_array.shape
    affine[:3, 3] += affine[:3, 0] * (columns_of_all - columns) / 2 + affine[:3, 1] * (rows_of_all - rows) / 2
    normal = affine[:3, 2]
    if csa and csa["tags"].get("SliceNormalVector", {}).get("items"):
        normal = np.array(csa["tags"]["SliceNormalVector"]["items"][:3], np.float64)
    affine[:3, 2] = normal * float(dataset.get("SpacingBetweenSlices") or dataset.SliceThickness)
    voxels, scale = sendable(tiles, float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0)))
    return Incoming(
        voxels, LPS_TO_RAS @ affine, int(dataset.InstanceNumber) - first_number, series_of(dataset), source,
        tr_s=tr_of(dataset), scale=scale,
    )  # fmt: skip


def untile(picture: Array, n_slices: int, source: str) -> Array:
    """Take a mosaic apart.

    Parameters
    ----------
    picture : array of shape (rows, columns) of ceil(sqrt(n_slices))² tiles, row by row

    Returns
    -------
    array of shape (I, J, n_slices): I along the picture's rows, J down its columns
    """
    per_side = math.ceil(math.sqrt(n_slices)) if n_slices > 0 else 0
    if not per_side or picture.shape[0] % per_side or picture.shape[1] % per_side:
        raise IncomingError(f"{source}: a mosaic of {n_slices} slices does not fit a picture of {picture.shape}")
    rows, columns = picture.shape[0] // per_side, picture.shape[1] // per_side
    tiles = picture.reshape(per_side, rows, per_side, columns).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(np.moveaxis(tiles.reshape(-1, columns, rows)[:n_slices], 0, 2))


def _csa(dataset: Any) -> Any:
    from nibabel.nicom.csareader import CSAReadError, get_csa_header

    try:
        return get_csa_header(dataset)
    except CSAReadError:
        return None


def _csa_value(csa: Any, source: str) -> int:
    items = csa["tags"].get("NumberOfImagesInMosaic", {}).get("items") if csa else None
    if not items:
        raise IncomingError(f"{source}: a mosaic that does not say how many slices it has; was it anonymised?")
    return int(items[0])


# ── Philips and GE: a file a slice ──────────────────────────────────────────────────────────────────────────────────


def _slice(dataset: Any, source: str, first_number: int) -> Slice:
    n_slices = _n_slices(dataset, source)
    number = int(dataset.InstanceNumber) - first_number
    position = dataset.get("TemporalPositionIdentifier")
    index = int(position) - first_number if position is not None else number // n_slices
    affine = plane_affine(dataset)
    affine[:3, 2] *= float(dataset.get("SpacingBetweenSlices") or dataset.get("SliceThickness") or 1)
    return Slice(
        dataset.pixel_array.T, affine, index, n_slices, series_of(dataset), source, tr_of(dataset),
        float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0)),
    )  # fmt: skip


def _n_slices(dataset: Any, source: str) -> int:
    for tag in (SLICES_OF_GE, SLICES_OF_PHILIPS):
        if tag in dataset:
            return int(dataset[tag].value)
    n_images, n_times = dataset.get("ImagesInAcquisition"), dataset.get("NumberOfTemporalPositions")
    if n_images and n_times and int(n_images) % int(n_times) == 0:
        return int(n_images) // int(n_times)
    raise IncomingError(
        f"{source}: nothing in this one-slice file says how many slices a volume has; export with private elements, "
        "or as enhanced (multi-frame) DICOM",
        code="partial",
    )


class SliceCollector:
    """Puts slices together; a volume leaves when all its slices are there, in whatever order they come."""

    def __init__(self) -> None:
        self._slices: dict[tuple[str, int], dict[tuple[float, ...], Slice]] = {}

    def add(self, one: Slice) -> Incoming | None:
        """Take a slice; return its volume if it was the last one missing."""
        key = (one.series, one.index)
        slices = self._slices.setdefault(key, {})
        slices[tuple(np.round(one.affine[:3, 3], 3))] = one
        if len(slices) < one.n_slices:
            return None
        del self._slices[key]
        return _stack(list(slices.values()))

    def unfinished(self) -> list[str]:
        """Name the volumes of which slices are missing."""
        return [
            f"volume {index} of series {series} is partial, {len(slices)} of "
            f"{next(iter(slices.values())).n_slices} slices; not sent"
            for (series, index), slices in self._slices.items()
        ]


def _stack(slices: list[Slice]) -> Incoming:
    first = slices[0]
    voxels, affine = stack_planes([one.plane for one in slices], [one.affine for one in slices], first.source)
    stored, scale = sendable(voxels, first.slope, first.intercept)
    return Incoming(
        stored, LPS_TO_RAS @ affine, first.index, first.series, first.source, tr_s=first.tr_s, scale=scale
    )  # fmt: skip
