"""DICOM files as scanners write them: Siemens mosaics, enhanced multi-frame files, and files of one slice each.

Geometry stays DICOM's (LPS, row and column directions); the last step turns it into RAS+.
"""

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .dicom_enhanced import read_enhanced
from .dicom_geometry import plane_affine, series_of, stack_planes, tr_of
from .dicom_mosaic import read_mosaic
from .incoming import LPS_TO_RAS, Array, Incoming, IncomingError, sendable

SLICES_OF_GE = (0x0021, 0x104F)  # locations in acquisition
SLICES_OF_PHILIPS = (0x2001, 0x1018)
CANNOT_READ = (OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError)


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice: `plane` (I, J), and `affine` (4, 4) in LPS with its k axis along the normal."""

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
    """Read a file: return its volumes, or its one slice.

    Parameters
    ----------
    first_number : InstanceNumber or TemporalPositionIdentifier of a series' first volume

    Raises
    ------
    IncomingError
        The file is cut short, is no DICOM file, or lacks elements of its geometry.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns about non-conforming values, which scanners do write
            dataset = pydicom.dcmread(path)
            return _volumes(dataset, path.name, first_number)
    except IncomingError:
        raise
    except InvalidDicomError as error:
        raise IncomingError(f"{path} is no DICOM file, or only its beginning is there") from error
    except (*CANNOT_READ, struct.error) as error:
        # pydicom has no class of its own for truncated files and missing elements.
        raise IncomingError(
            f"{path} cannot be read as DICOM ({error}): cut short, or without what is needed"
        ) from error


def _volumes(dataset: Any, source: str, first_number: int) -> list[Incoming] | Slice:
    if int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise IncomingError(f"{source}: a colour image, no volume; send the series of magnitude images")
    if "PerFrameFunctionalGroupsSequence" in dataset:
        return read_enhanced(dataset, source, first_number)
    if "MOSAIC" in [str(word) for word in dataset.get("ImageType", [])]:
        return [read_mosaic(dataset, source, first_number)]
    return _slice(dataset, source, first_number)


# ── Philips and GE: one file per slice ────────────────────────────────────────────────────────────────────────────────


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
    """Collects slices, in any order, until a volume is complete."""

    def __init__(self) -> None:
        self._slices: dict[tuple[str, int], dict[tuple[float, ...], Slice]] = {}

    def add(self, one: Slice) -> Incoming | None:
        """Add a slice; return its volume if the slice completes it."""
        key = (one.series, one.index)
        slices = self._slices.setdefault(key, {})
        slices[tuple(np.round(one.affine[:3, 3], 3))] = one
        if len(slices) < one.n_slices:
            return None
        del self._slices[key]
        return _stack(list(slices.values()))

    def unfinished(self) -> list[str]:
        """Return a sentence for each incomplete volume."""
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
