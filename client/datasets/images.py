"""NIfTI images of recorded data: reads numbers and voxels, and checks grids."""

import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from ...arrays import Array
from ...grids import MAX_CORNER_SHIFT_MM, corner_shift_mm
from .compressed import check_compressed
from .data_set import DataSetError


def load_nifti(path: Path) -> Any:
    """Open a NIfTI image without reading its numbers."""
    try:
        return nib.load(path)  # pyright: ignore[reportPrivateImportUsage]
    except (ImageFileError, OSError, EOFError, zlib.error) as error:
        raise DataSetError(f"{path} cannot be read as NIfTI ({error}): download or copy it again") from error


def stored(image: Any) -> Array:
    """Return an image's stored numbers: unscaled, in the file's dtype."""
    return _read(image, image.dataobj.get_unscaled)


def scaled(image: Any) -> Array:
    """Return an image's numbers after the header's scaling: float32."""
    return _read(image, lambda: image.dataobj).astype(np.float32)


def voxels_of(image: Any, voxel_index: Array) -> Array:
    """Return chosen voxels of a series, after the header's scaling: (n_volumes, n_voxels) float32."""
    volumes = stored(image)
    # volumes.shape = (X, Y, Z, n_volumes)
    chosen = volumes[np.unravel_index(voxel_index, volumes.shape[:3])].T.astype(np.float32)
    chosen *= image.dataobj.slope
    chosen += image.dataobj.inter
    return chosen


def check_grid(image: Any, shape: tuple[int, ...], affine: Array, whose: str) -> None:
    """Raise DataSetError if an image is not on the grid (`shape`, `affine`) of `whose` volumes."""
    path, own = image.get_filename(), tuple(image.shape[:3])
    if own != tuple(shape):
        raise DataSetError(f"{path} has the grid {own}, {whose} volumes {tuple(shape)}: resample it to them first")
    shift_mm = corner_shift_mm(own, image.affine, affine)
    if not shift_mm <= MAX_CORNER_SHIFT_MM:
        raise DataSetError(
            f"{path} lies up to {shift_mm:.1f} mm away from {whose} volumes, by its affine: resample it to them first"
        )


def is_nifti_name(label: str) -> bool:
    """Return whether a ROI's label is the name of a NIfTI file."""
    return label.endswith((".nii", ".nii.gz"))


def mask_of_file(name: str, subject: int, shape: tuple[int, ...], affine: Array) -> Array:
    """Read a mask file: (X, Y, Z) bool, true above 0.

    `{subject}` in the name stands for the subject's number.

    Raises
    ------
    DataSetError
        The file is missing or lies on another grid.
    """
    try:
        path = Path(name.format(subject=subject)).expanduser()
    except (LookupError, ValueError) as error:
        raise DataSetError(
            f"mask {name}: only {{subject}} or {{subject:02d}} may stand in braces ({error})", code="option"
        ) from error
    if not path.is_file():
        raise DataSetError(
            f"mask {path} is missing: give a NIfTI file on the grid of subject {subject}'s volumes", code="option"
        )
    image = load_nifti(path)
    check_grid(image, shape, affine, f"subject {subject}'s")
    return scaled(image).reshape(shape) > 0


def _read(image: Any, numbers: Any) -> Array:
    try:
        check_compressed(Path(image.get_filename()))
        return np.asanyarray(numbers())
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataSetError(
            f"{image.get_filename()} is damaged or cut short ({error}): download or copy it again"
        ) from error
