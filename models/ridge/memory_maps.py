"""Arrays that may be memory maps: read in part, and their pages handed back, so that memory stays small."""

import mmap
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from ...arrays import Array


def new_memory_map(path: Path, shape: tuple[int, ...], dtype: Any) -> "np.memmap[Any, Any]":
    """Return a new array in a file, to be filled.

    Raises
    ------
    OSError
        If the disk has no room for it.
    """
    array = open_memmap(path, "w+", dtype, shape)
    if sys.platform == "linux":
        # If the disk filled up while the array is filled, SIGBUS would end the process.
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:
                path.unlink()
                raise OSError(error.errno, error.strerror, str(path)) from error
    return array


def read_columns(array: Array, columns: Array) -> Array:
    """Return some columns of an array, (n_rows, n_columns) float32.

    Parameters
    ----------
    array : array of shape (n_rows, n_all), float
    columns : array of shape (n_columns,), int
        In rising order.
    """
    span = array[:, columns[0] : columns[-1] + 1]
    # A memory map is read fastest in the order in which it lies on disk.
    if span.shape[1] >= 2 * len(columns):
        span = array[:, columns]
    elif span.shape[1] > len(columns):
        span = span[:, columns - columns[0]]
    picked = np.array(span, np.float32)
    release(array)
    return picked


def release(array: Array) -> None:
    """Hand a memory map's pages back to the system, which reads them again when they are needed."""
    owner = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        if isinstance(array, np.memmap) and array.mode not in ("r", "c"):
            array.flush()
        owner.madvise(mmap.MADV_DONTNEED)
