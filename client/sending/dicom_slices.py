"""DICOM files of one slice each (Philips, GE, Canon, Siemens XA's interoperability files), collected into volumes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .dicom_geometry import plane_affine, rescale_of, scaled_alike, series_of, stack_planes, tr_of, volume_number
from .entities import Entities, entities_of_dicom
from .incoming import LPS_TO_RAS, Array, Incoming, IncomingError, sendable

SLICES_OF_GE = (0x0021, 0x104F)  # locations in acquisition
SLICES_OF_PHILIPS = (0x2001, 0x1018)


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice: `plane` (I, J), and `affine` (4, 4) in LPS with its k axis along the normal.

    `n_slices` is None if the header does not say how many slices a volume has. `instance` is the image's UID.
    """

    plane: Array
    affine: Array
    index: int
    n_slices: int | None
    series: str
    source: str
    tr_s: float | None
    rescale: tuple[float, float]
    entities: Entities
    instance: str


def read_slice(dataset: Any, source: str, first_number: int, *, by_acquisition: bool) -> Slice:
    """Return a file's slice. Raises IncomingError if nothing says which volume the slice belongs to."""
    n_slices = _n_slices(dataset)
    position = dataset.get("TemporalPositionIdentifier")
    if position is not None:
        index, counts_volumes = int(position) - first_number, True
    elif by_acquisition or n_slices is None:
        index, counts_volumes = volume_number(dataset, source) - first_number, True
    else:
        index, counts_volumes = (int(dataset.InstanceNumber) - first_number) // n_slices, False
    affine = plane_affine(dataset)
    affine[:3, 2] *= float(dataset.get("SpacingBetweenSlices") or dataset.get("SliceThickness") or 1)
    return Slice(
        dataset.pixel_array.T, affine, index, n_slices, series_of(dataset), source, tr_of(dataset),
        rescale_of(dataset), entities_of_dicom(dataset, counts_volumes=counts_volumes), str(dataset.SOPInstanceUID),
    )  # fmt: skip


def _n_slices(dataset: Any) -> int | None:
    for tag in (SLICES_OF_GE, SLICES_OF_PHILIPS):
        if tag in dataset:
            return int(dataset[tag].value)
    n_images, n_times = dataset.get("ImagesInAcquisition"), dataset.get("NumberOfTemporalPositions")
    if n_images and n_times and int(n_images) % int(n_times) == 0:
        return int(n_images) // int(n_times)
    return None


_Place = tuple[float, ...]


class SliceCollector:
    """Collects slices, in any order, until a volume is complete.

    If no header says how many slices a volume has, the first volume is complete when a later volume has as many slices.
    All later volumes then have as many slices.
    """

    def __init__(self) -> None:
        self._slices: dict[tuple[str, str, int], dict[_Place, Slice]] = {}
        self._n_slices: dict[tuple[str, str], int] = {}

    def add(self, one: Slice) -> list[Incoming]:
        """Add a slice; return the volumes that the slice completes.

        Raises
        ------
        IncomingError
            Another image was at the slice's place in the same volume, or the volume's slices leave a gap.
        """
        stack = (one.series, str(one.entities))
        slices = self._slices.setdefault((*stack, one.index), {})
        place = tuple(np.round(one.affine[:3, 3], 3).tolist())
        before = slices.get(place)
        if before is not None and before.instance != one.instance:
            raise IncomingError(
                f"{one.source} and {before.source} are two slices at one place in volume {one.index}: nothing in them "
                "tells the volumes apart; export as enhanced (multi-frame) DICOM, or with private elements",
                code="partial",
            )
        slices[place] = one
        n_slices = one.n_slices or self._n_slices.get(stack)
        if n_slices is None:
            n_slices = self._counted(stack, one)
        if n_slices is None:
            return []
        whole = [
            key
            for key, collected in sorted(self._slices.items())
            if key[:2] == stack and len(collected) >= n_slices and (one.n_slices is None or key[2] == one.index)
        ]
        return [_stack(list(self._slices.pop(key).values())) for key in whole]

    def _counted(self, stack: tuple[str, str], one: Slice) -> int | None:
        """Return the number of slices of the series' first volume, once a later volume has as many."""
        counts = {key[2]: len(slices) for key, slices in self._slices.items() if key[:2] == stack}
        first = min(counts)
        if one.index == first or counts[one.index] < counts[first]:
            return None
        self._n_slices[stack] = counts[first]
        return counts[first]

    def unfinished(self) -> list[str]:
        """Return a sentence for each incomplete volume."""
        said = []
        for (series, images, index), slices in self._slices.items():
            n_slices = next(iter(slices.values())).n_slices or self._n_slices.get((series, images))
            of = f"{len(slices)} of {n_slices or 'an unknown number of'} slices"
            said.append(f"volume {index} of series {series} is partial, {of}; not sent")
        return said


def _stack(slices: list[Slice]) -> Incoming:
    first = slices[0]
    planes, (slope, intercept) = scaled_alike([one.plane for one in slices], [one.rescale for one in slices])
    voxels, affine = stack_planes(planes, [one.affine for one in slices], first.source)
    stored, scale = sendable(voxels, slope, intercept)
    return Incoming(
        stored, LPS_TO_RAS @ affine, first.index, first.series, first.source, tr_s=first.tr_s, scale=scale,
        entities=first.entities,
    )  # fmt: skip
