"""Images of recorded data, NIfTI: reading them, and which grid they lie on."""

import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from ...grids import MAX_CORNER_SHIFT_MM, corner_shift_mm
from .compressed import check_compressed
from .data_set import DataSetError

Array = NDArray[Any]


def load_nifti(path: Path) -> Any:
    """Open a NIfTI image without reading its numbers."""
    try:
        return nib.load(path)  # pyright: ignore[reportPrivateImportUsage]
    except (ImageFileError, OSError, EOFError, zlib.error) as error:
        raise DataSetError(f"{path} cannot be read as NIfTI ({error}): download or copy it again") from error


def stored(image: Any) -> Array:
    """Return an image's numbers as they are in the file, unscaled, in the file's dtype."""
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
    """Refuse an image whose volumes are not on the grid of `whose` volumes."""
    path, own = image.get_filename(), tuple(image.shape[:3])
    if own != tuple(shape):
        raise DataSetError(f"{path} has the grid {own}, {whose} volumes {tuple(shape)}: resample it to them first")
    shift_mm = corner_shift_mm(own, image.affine, affine)
    if not shift_mm <= MAX_CORNER_SHIFT_MM:
        raise DataSetError(
            f"{path} lies up to {shift_mm:.1f} mm away from {whose} volumes, by its affine: resample it to them first"
        )


def is_nifti_name(label: str) -> bool:
    """Say whether a ROI is given as a file."""
    return label.endswith((".nii", ".nii.gz"))


def mask_of_file(name: str, subject: int, shape: tuple[int, ...], affine: Array) -> Array:
    """Return where a mask file is above 0: (X, Y, Z) bool; `{subject}` in its name stands for the subject's number."""
    try:
        path = Path(name.format(subject=subject)).expanduser()
    except (LookupError, ValueError) as error:
        raise DataSetError(f"mask {name}: only {{subject}} or {{subject:02d}} may stand in braces ({error})") from error
    if not path.is_file():
        raise DataSetError(f"mask {path} is missing: give a NIfTI file on the grid of subject {subject}'s volumes")
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
