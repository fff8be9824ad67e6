"""Siemens mosaics and UIH grids: a volume's slices side by side in one picture."""

import math
from typing import Any

import numpy as np

from .dicom_geometry import plane_affine, rescale_of, series_of, stack_planes, tr_of, volume_number
from .entities import entities_of_dicom
from .incoming import LPS_TO_RAS, Array, Incoming, IncomingError, sendable

SLICES_OF_MOSAIC = (0x0019, 0x100A)
SLICES_OF_UIH, FRAMES_OF_UIH = (0x0065, 0x1050), (0x0065, 0x1051)


def is_mosaic(dataset: Any) -> bool:
    """Return whether a picture holds a volume's slices: a Siemens mosaic, or a UIH grid (VFRAME)."""
    words = [str(word) for word in dataset.get("ImageType") or []]
    return "MOSAIC" in words or "VFRAME" in words or FRAMES_OF_UIH in dataset


def read_mosaic(dataset: Any, source: str, first_number: int, *, by_acquisition: bool = False) -> Incoming:
    """Return a mosaic file's volume. Raises IncomingError if nothing gives its number of slices or its geometry."""
    if SLICES_OF_UIH in dataset or FRAMES_OF_UIH in dataset:
        tiles, affine = _uih_grid(dataset, source)
    else:
        tiles, affine = _siemens_mosaic(dataset, source)
    number = volume_number(dataset, source) if by_acquisition else int(dataset.InstanceNumber)
    voxels, scale = sendable(tiles, *rescale_of(dataset))
    return Incoming(
        voxels, LPS_TO_RAS @ affine, number - first_number, series_of(dataset), source, tr_s=tr_of(dataset),
        scale=scale, entities=entities_of_dicom(dataset, counts_volumes=by_acquisition),
    )  # fmt: skip


def _siemens_mosaic(dataset: Any, source: str) -> tuple[Array, Array]:
    """Return the slices, and their LPS affine."""
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
    return tiles, affine


def _uih_grid(dataset: Any, source: str) -> tuple[Array, Array]:
    """Return the slices of a UIH grid, and their LPS affine. The VFrame sequence has each slice's position."""
    frames = list(dataset[FRAMES_OF_UIH].value) if FRAMES_OF_UIH in dataset else []
    if not frames or any("ImagePositionPatient" not in frame for frame in frames):
        raise IncomingError(
            f"{source}: a UIH grid without the positions of its slices (0065,1051); export it with private elements, "
            "or one file a slice",
            code="partial",
        )
    n_columns = math.ceil(math.sqrt(len(frames)))
    tiles = untile(dataset.pixel_array, len(frames), source, n_rows=math.ceil(len(frames) / n_columns))
    affines = [plane_affine(dataset, position=frame) for frame in frames]
    return stack_planes(list(np.moveaxis(tiles, 2, 0)), affines, source)


def untile(picture: Array, n_slices: int, source: str, n_rows: int | None = None) -> Array:
    """Split a mosaic into slices.

    Parameters
    ----------
    picture : array of shape (rows, columns) of tiles, row by row; ceil(sqrt(n_slices)) tiles a row
    n_rows : rows of tiles; None for as many as there are tiles a row

    Returns
    -------
    array of shape (I, J, n_slices): I along the picture's rows, J down its columns

    Raises
    ------
    IncomingError
        The number of slices does not fit the picture.
    """
    across = math.ceil(math.sqrt(n_slices)) if n_slices > 0 else 0
    down = across if n_rows is None else n_rows
    if not across or picture.shape[0] % down or picture.shape[1] % across:
        raise IncomingError(f"{source}: a mosaic of {n_slices} slices does not fit a picture of {picture.shape}")
    rows, columns = picture.shape[0] // down, picture.shape[1] // across
    tiles = picture.reshape(down, rows, across, columns).transpose(0, 2, 3, 1)
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
        raise IncomingError(
            f"{source}: a mosaic that does not say how many slices it has; was it anonymised? From Siemens XA, export "
            "enhanced DICOM"
        )
    return int(items[0])
