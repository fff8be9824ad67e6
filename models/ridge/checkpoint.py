"""Checkpoints: a long computation keeps finished arrays, so that an interrupted one goes on where it stopped."""

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import Array
from ...whole_file import write_whole
from .memory_maps import new_memory_map, release

ROWS_AT_ONCE = 256


class Checkpoint:
    """Finished arrays of a computation, by name: files of a folder, or memory where no folder is given.

    Parameters
    ----------
    folder : Path, optional
        Made if it is missing. The next attempt with the same folder finds the arrays again.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._arrays: dict[str, Array] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def of_inputs(cls, work: Path | None, inputs: list[Array], settings: object, prefix: str = "") -> "Checkpoint":
        """Return the checkpoint of a computation on these inputs with these settings.

        The name of its folder in `work` is a hash of both. A computation on other inputs never takes its arrays.

        Parameters
        ----------
        work : Path, optional
            Without it nothing is hashed and all arrays stay in memory.
        inputs : list of arrays
            Memory maps are read piece by piece.
        settings : object
            Its repr is hashed.
        prefix : str
            Begins the folder's name.
        """
        return cls(None if work is None else work / f"{prefix}{_fingerprint(inputs, settings)}")

    def part(self, name: str) -> "Checkpoint":
        """Return a checkpoint within this one, whose arrays have names of their own."""
        return Checkpoint(None if self.folder is None else self.folder / name)

    def array(self, name: str, compute: Callable[[], Array]) -> Array:
        """Return the array of that name; compute and keep it if no attempt has finished it."""
        if self.folder is None:
            if name not in self._arrays:
                self._arrays[name] = compute()
            return self._arrays[name]
        path = self.folder / f"{name}.npy"
        if not path.is_file():
            with write_whole(path) as unfinished_path, unfinished_path.open("wb") as file:
                np.save(file, compute())
        return np.load(path)

    def has(self, name: str) -> bool:
        """Return whether an attempt has kept arrays under that name."""
        return self.folder is not None and (self.folder / f"{name}.npz").is_file()

    def keep(self, name: str, arrays: dict[str, Array]) -> None:
        """Keep several arrays in one file of the folder."""
        assert self.folder is not None
        with write_whole(self.folder / f"{name}.npz") as unfinished_path, unfinished_path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    def kept(self, name: str) -> dict[str, Array]:
        """Return the arrays that were kept under a name."""
        assert self.folder is not None
        with np.load(self.folder / f"{name}.npz", allow_pickle=False) as file:
            return dict(file)

    def map(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return a new array to be filled: a memory-mapped file where there is a folder.

        Raises
        ------
        OSError
            If the disk has no room for it.
        """
        if self.folder is None:
            return np.empty(shape, dtype)
        return new_memory_map(self.folder / f"{name}.npy", shape, dtype)

    def drop(self) -> None:
        """Delete all arrays: the computation is done."""
        self._arrays.clear()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _fingerprint(inputs: list[Array], settings: object) -> str:
    """Return 16 hex digits of the inputs' content, shapes and dtypes, and of the settings."""
    digest = sha256(repr(settings).encode())
    for array in inputs:
        digest.update(f"{array.shape} {array.dtype}".encode())
        for start in range(0, len(array), ROWS_AT_ONCE):
            digest.update(np.ascontiguousarray(array[start : start + ROWS_AT_ONCE]).data)
        release(array)
    return digest.hexdigest()[:16]
