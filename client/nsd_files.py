"""Opening NSD's files, with an answer for each way in which a download can be incomplete."""

import zlib
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from ..errors import BraindError

Array = NDArray[Any]


class NsdError(BraindError):
    """A folder that is not, or not wholly, the Natural Scenes Dataset: names the file and what to do."""

    code = "nsd"


def existing(path: Path, purpose: str, remedy: str) -> Path:
    """Return a path that exists; else raise NsdError with what the file is for and how to get it."""
    if not path.exists():
        raise NsdError(f"{path} is missing; it holds {purpose}: {remedy}")
    return path


def load_nifti(path: Path) -> Any:
    """Open a NIfTI image without reading its numbers."""
    try:
        return nib.load(path)  # pyright: ignore[reportPrivateImportUsage]
    except (ImageFileError, OSError, EOFError, zlib.error) as error:
        raise NsdError(f"{path} cannot be read as NIfTI ({error}): download it again") from error


def stored(image: Any) -> Array:
    """Return an image's numbers as they are in the file, unscaled, in the file's dtype."""
    return _read(image, image.dataobj.get_unscaled)


def scaled(image: Any) -> Array:
    """Return an image's numbers after the header's scaling: float32."""
    return _read(image, lambda: image.dataobj).astype(np.float32)


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise NsdError(f"{path} cannot be read as HDF5 ({error}): download it again") from error


def dataset(file: h5py.File, key: str) -> Any:
    """Return a dataset of an open HDF5 file."""
    if key not in file:
        raise NsdError(f"{file.filename} has no dataset '{key}'; it has {list(file)}: download it again")
    return file[key]


def _read(image: Any, numbers: Any) -> Array:
    try:
        return np.asanyarray(numbers())
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise NsdError(f"{image.get_filename()} is cut short ({error}): download it again") from error
