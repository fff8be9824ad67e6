"""Arrays of a long computation, kept so that an interrupted one goes on where it stopped."""

import mmap
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..whole_file import write_whole

Array = NDArray[Any]

ROWS_AT_ONCE = 256


class Kept:
    """Named arrays: files of a folder that the next attempt finds again, or memory where no folder is given."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._arrays: dict[str, Array] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def part(self, name: str) -> "Kept":
        """Return a place for arrays of their own names."""
        return Kept(None if self.folder is None else self.folder / name)

    def array(self, name: str, compute: Callable[[], Array]) -> Array:
        """Return the array of that name, computing it if it is not there yet."""
        if self.folder is None:
            if name not in self._arrays:
                self._arrays[name] = compute()
            return self._arrays[name]
        path = self.folder / f"{name}.npy"
        if not path.is_file():
            with write_whole(path) as unfinished_path, unfinished_path.open("wb") as file:
                np.save(file, compute())
        return np.load(path)

    def map(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return a new array to be filled: a memory-mapped file where there is a folder."""
        if self.folder is None:
            return np.empty(shape, dtype)
        return np.lib.format.open_memmap(self.folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)

    def drop(self) -> None:
        """Delete all of it: the computation is done."""
        self._arrays.clear()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def content_fingerprint(arrays: list[Array], settings: object) -> str:
    """Return 16 hex digits of arrays' content and of settings, reading memory maps piece by piece."""
    digest = sha256(repr(settings).encode())
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype}".encode())
        for start in range(0, len(array), ROWS_AT_ONCE):
            digest.update(np.ascontiguousarray(array[start : start + ROWS_AT_ONCE]).data)
        release(array)
    return digest.hexdigest()[:16]


def release(array: Array) -> None:
    """Hand a memory map's pages back to the system, which reads them again when they are wanted."""
    owner = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        if isinstance(array, np.memmap) and array.mode not in ("r", "c"):
            array.flush()
        owner.madvise(mmap.MADV_DONTNEED)
