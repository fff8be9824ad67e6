"""Opening NSD's files, with an answer for each way in which a download can be incomplete."""

from pathlib import Path
from typing import Any

import h5py

from .data_set import DataSetError


class NsdError(DataSetError):
    """A folder that is not, or not wholly, the Natural Scenes Dataset: names the file and what to do."""

    code = "nsd"


def existing(path: Path, purpose: str, remedy: str) -> Path:
    """Return a path that exists; else raise NsdError with what the file is for and how to get it."""
    if not path.exists():
        raise NsdError(f"{path} is missing; it holds {purpose}: {remedy}")
    return path


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
