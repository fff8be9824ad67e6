"""DICOM planes: affines, rescaling, and planes stacked into a volume. Axes are DICOM's (LPS)."""

from typing import Any

import numpy as np

from .dicom_ge import group_delay_s
from .incoming import Array, IncomingError


def stack_planes(planes: list[Array], affines: list[Array], source: str) -> tuple[Array, Array]:
    """Stack planes in order of their position along the normal.

    Returns
    -------
    voxels : array of shape (I, J, n)
    affine : array of shape (4, 4), float64, LPS
    """
    normal = affines[0][:3, 2] / np.linalg.norm(affines[0][:3, 2])
    along_mm = np.array([affine[:3, 3] @ normal for affine in affines])
    if not np.isfinite(along_mm).all():
        raise IncomingError(f"{source}: a slice's position or orientation is not finite", code="affine")
    order = np.argsort(along_mm)
    gaps_mm = np.diff(along_mm[order])
    if len(gaps_mm) and gaps_mm.min() < 0.01:
        raise IncomingError(
            f"{source}: two slices of one volume at the same place; nothing in the file tells volumes, echoes or parts "
            "apart. Export one file a slice, or the magnitude series alone"
        )
    if len(gaps_mm) and np.ptp(gaps_mm) > 0.1:
        raise IncomingError(
            f"{source}: slices {gaps_mm.min():.2f} to {gaps_mm.max():.2f} mm apart: one is missing", code="partial"
        )
    affine = affines[order[0]].copy()
    if len(order) > 1:
        affine[:3, 2] = (affines[order[-1]][:3, 3] - affines[order[0]][:3, 3]) / (len(order) - 1)
    return np.stack([planes[number] for number in order], axis=2), affine


def plane_affine(place: Any, position: Any = None, measures: Any = None) -> Array:
    """Return the (4, 4) LPS affine of a plane; its k axis is the unit normal.

    `place`, `position` and `measures` have the orientation, the position and the pixel spacing.
    """
    position, measures = position or place, measures or place
    row, column = np.array(place.ImageOrientationPatient, np.float64).reshape(2, 3)
    down_mm, across_mm = map(float, measures.PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = row * across_mm, column * down_mm, np.cross(row, column)
    affine[:3, 3] = np.array(position.ImagePositionPatient, np.float64)
    return affine


def volume_number(dataset: Any, source: str, content: Any = None) -> int:
    """Return the number of an image's volume, which all its slices, echoes and parts share.

    Parameters
    ----------
    content : the frame content of an enhanced file's frame

    Raises
    ------
    IncomingError
        No element numbers the volumes.
    """
    for holder, name in (
        (dataset, "TemporalPositionIdentifier"),
        (content, "FrameAcquisitionNumber"),
        (content, "TemporalPositionIndex"),
        (dataset, "AcquisitionNumber"),
    ):
        number = holder.get(name) if holder is not None else None
        if number is not None:
            return int(number)
    raise IncomingError(
        f"{source}: neither TemporalPositionIdentifier nor AcquisitionNumber says which volume it belongs to; export "
        "as enhanced (multi-frame) DICOM, or with private elements",
        code="partial",
    )


def rescale_of(dataset: Any) -> tuple[float, float]:
    """Return the slope and the intercept of an image's stored numbers."""
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    return 1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)


def scaled_alike(planes: list[Array], rescales: list[tuple[float, float]]) -> tuple[list[Array], tuple[float, float]]:
    """Return planes with one slope and intercept; if they differ, each plane is scaled by its own, to float32."""
    if len(set(rescales)) == 1:
        return planes, rescales[0]
    scaled = [
        (plane * slope + intercept).astype(np.float32)
        for plane, (slope, intercept) in zip(planes, rescales, strict=True)
    ]
    return scaled, (1.0, 0.0)


def series_of(dataset: Any) -> str:
    """Return the series' UID."""
    return str(dataset.SeriesInstanceUID)


def tr_of(dataset: Any) -> float | None:
    """Return the seconds from volume to volume, or None."""
    tr_ms = dataset.get("RepetitionTime")
    return float(tr_ms) / 1000 + group_delay_s(dataset) if tr_ms else None
