"""Enhanced multi-frame DICOM (Siemens XA, Philips): one file holds the planes of one or more volumes."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from .dicom_geometry import plane_affine, scaled_alike, series_of, stack_planes, tr_of, volume_number
from .entities import SAME_ECHO_MS, Entities, Part, entities_of_dicom, part_of_dicom
from .incoming import LPS_TO_RAS, Array, Incoming, IncomingError, sendable


@dataclass(frozen=True)
class _Images:
    """What the planes of one volume share: its temporal position, its echo and its part of the complex signal."""

    time: int
    echo_time_ms: float | None
    part: Part


def read_enhanced(dataset: Any, source: str, first_number: int, *, by_acquisition: bool = False) -> list[Incoming]:
    """Return a file's volumes in order of temporal position, echo and part."""
    shared = dataset.SharedFunctionalGroupsSequence[0] if "SharedFunctionalGroupsSequence" in dataset else {}
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    pixels = dataset.pixel_array
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    if len(groups) != len(pixels):
        raise IncomingError(f"{source}: {len(pixels)} planes, {len(groups)} descriptions of planes", code="partial")
    file = entities_of_dicom(dataset, counts_volumes=True)
    images = [_images(group, shared, file) for group in groups]
    distinct = sorted(set(images), key=lambda of: (of.time, of.echo_time_ms or 0.0, of.part))
    n_times = len({of.time for of in distinct})
    echo_times = sorted({of.echo_time_ms for of in distinct if of.echo_time_ms is not None})
    if any(later - earlier <= SAME_ECHO_MS for earlier, later in pairwise(echo_times)):
        raise IncomingError(f"{source}: echo times {echo_times} ms of its planes differ by rounding only")
    volumes = []
    for of in distinct:
        planes = [number for number, image in enumerate(images) if image == of]
        index, counts_volumes = of.time - 1, True
        if n_times == 1 and by_acquisition and len(distinct) == 1:
            content = groups[planes[0]].get("FrameContentSequence")
            index = volume_number(dataset, source, content[0] if content else None) - first_number
        elif n_times == 1:
            # A file with one volume has the volume's number in InstanceNumber. If it lacks a volume's other echoes and
            # parts, they are files too, and count.
            index, counts_volumes = int(dataset.InstanceNumber) - first_number, len(distinct) > 1
        entities = replace(
            file,
            echo=echo_times.index(of.echo_time_ms) + 1 if len(echo_times) > 1 and of.echo_time_ms else file.echo,
            echo_time_ms=of.echo_time_ms,
            part=of.part,
            counts_volumes=counts_volumes,
        )
        volume = _volume(dataset, pixels[planes], [groups[n] for n in planes], shared, index, source)
        volumes.append(replace(volume, entities=entities))
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
    alike, (slope, intercept) = scaled_alike(list(planes), [_rescale(group, shared) for group in groups])
    voxels, affine = stack_planes([plane.T for plane in alike], affines, source)
    if len(affines) == 1:
        measures = _item("PixelMeasuresSequence", groups[0], shared, source)
        affine[:3, 2] *= float(measures.get("SpacingBetweenSlices") or measures.SliceThickness)
    stored, scale = sendable(voxels, slope, intercept)
    timing = _find("MRTimingAndRelatedParametersSequence", groups[0], shared)
    return Incoming(
        stored, LPS_TO_RAS @ affine, index, series_of(dataset), source,
        tr_s=tr_of(timing) if timing is not None else tr_of(dataset), scale=scale,
    )  # fmt: skip


def _images(group: Any, shared: Any, file: Entities) -> _Images:
    content = group.get("FrameContentSequence")
    echo = _find("MREchoSequence", group, shared)
    echo_time_ms = echo.get("EffectiveEchoTime") if echo is not None else None
    frame_type = _find("MRImageFrameTypeSequence", group, shared)
    return _Images(
        time=int(content[0].get("TemporalPositionIndex", 1)) if content else 1,
        echo_time_ms=float(echo_time_ms) if echo_time_ms else file.echo_time_ms,
        part=part_of_dicom(frame_type, "FrameType") if frame_type is not None else file.part,
    )


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
