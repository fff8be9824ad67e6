"""Enhanced multi-frame DICOM (Siemens XA, Philips): the planes of one or more volumes in one file."""

from typing import Any

import numpy as np

from .dicom_geometry import plane_affine, series_of, stack_planes, tr_of
from .incoming import LPS_TO_RAS, Array, Incoming, IncomingError, sendable


def read_enhanced(dataset: Any, source: str, first_number: int) -> list[Incoming]:
    """Return the volumes of a file, by temporal position if there are several."""
    shared = dataset.SharedFunctionalGroupsSequence[0] if "SharedFunctionalGroupsSequence" in dataset else {}
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    pixels = dataset.pixel_array
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    if len(groups) != len(pixels):
        raise IncomingError(f"{source}: {len(pixels)} planes, {len(groups)} descriptions of planes", code="partial")
    times = [_time(group) for group in groups]
    distinct = sorted(set(times))
    volumes = []
    for time in distinct:
        planes = [number for number, of in enumerate(times) if of == time]
        # One volume a file: the file's number is the volume's.
        index = int(dataset.InstanceNumber) - first_number if len(distinct) == 1 else time - 1
        volumes.append(_volume(dataset, pixels[planes], [groups[n] for n in planes], shared, index, source))
    return volumes


def _volume(dataset: Any, planes: Array, groups: list[Any], shared: Any, index: int, source: str) -> Incoming:
    affines = [
        plane_affine(
            _item("PlaneOrientationSequence", group, shared, source),
            _item("PlanePositionSequence", group, shared, source),
            _item("PixelMeasuresSequence", group, shared, source),
        )
        for group in groups
    ]
    slopes = [_rescale(group, shared) for group in groups]
    if len(set(slopes)) > 1:
        planes = np.stack([plane * slope + intercept for plane, (slope, intercept) in zip(planes, slopes, strict=True)])
        slopes = [(1.0, 0.0)]
    voxels, affine = stack_planes([plane.T for plane in planes], affines, source)
    if len(affines) == 1:
        measures = _item("PixelMeasuresSequence", groups[0], shared, source)
        affine[:3, 2] *= float(measures.get("SpacingBetweenSlices") or measures.SliceThickness)
    stored, scale = sendable(voxels, *slopes[0])
    timing = _find("MRTimingAndRelatedParametersSequence", groups[0], shared)
    return Incoming(
        stored, LPS_TO_RAS @ affine, index, series_of(dataset), source,
        tr_s=tr_of(timing) if timing is not None else tr_of(dataset), scale=scale,
    )  # fmt: skip


def _time(group: Any) -> int:
    content = group.get("FrameContentSequence")
    return int(content[0].get("TemporalPositionIndex", 1)) if content else 1


def _rescale(group: Any, shared: Any) -> tuple[float, float]:
    found = _find("PixelValueTransformationSequence", group, shared)
    return (1.0, 0.0) if found is None else (float(found.RescaleSlope), float(found.RescaleIntercept))


def _item(name: str, group: Any, shared: Any, source: str) -> Any:
    found = _find(name, group, shared)
    if found is None:
        raise IncomingError(f"{source}: an enhanced file without {name}; was it anonymised?")
    return found


def _find(name: str, group: Any, shared: Any) -> Any:
    sequence = group.get(name) or shared.get(name)
    return sequence[0] if sequence else None
