"""Siemens mosaics: a volume's slices side by side in one picture."""

import math
from typing import Any

import numpy as np

from .dicom_geometry import plane_affine, series_of, tr_of
from .incoming import LPS_TO_RAS, Array, Incoming, IncomingError, sendable

SLICES_OF_MOSAIC = (0x0019, 0x100A)


def read_mosaic(dataset: Any, source: str, first_number: int) -> Incoming:
    """Return a mosaic file's volume. Raises IncomingError if nothing gives its number of slices."""
    csa = _csa(dataset)
    n_slices = int(dataset[SLICES_OF_MOSAIC].value if SLICES_OF_MOSAIC in dataset else _csa_value(csa, source))
    tiles = untile(dataset.pixel_array, n_slices, source)
    columns, rows, _ = tiles.shape
    affine = plane_affine(dataset)
    # ImagePositionPatient is the corner of the whole mosaic. The slices share the mosaic's centre.
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
    """Split a mosaic into slices.

    Parameters
    ----------
    picture : array of shape (rows, columns) of ceil(sqrt(n_slices))² tiles, row by row

    Returns
    -------
    array of shape (I, J, n_slices): I along the picture's rows, J down its columns

    Raises
    ------
    IncomingError
        The number of slices does not fit the picture.
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
