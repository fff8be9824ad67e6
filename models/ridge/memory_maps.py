"""Arrays that may be memory maps: read in part, and their pages handed back, so that memory stays small."""

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


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
