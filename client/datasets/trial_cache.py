"""Single-trial responses, trial by trial on disk: made once from files that lie voxel by voxel or are compressed.

NSD's hdf5 chunks hold one voxel's whole session: reading one trial touches all 700,000 of them. Each session's voxels
of interest are kept here as one array (n_trials, n_voxels), memory-mapped. A file's name is a hash of what it was made
from (the sources' paths, sizes and times, and the voxels), so another source is another file. The folder may be
deleted.
"""

import os
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...whole_file import write_whole
from .data_set import DataSetError

Array = NDArray[Any]

FORMAT = 1
CHECKSUM_BYTES = 4  # CRC-32 of all that stands before it


class TrialCache:
    """A folder of cached sessions, each written whole or not at all: an interruption costs only the last one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def session(self, sources: list[Path], voxel_index: Array, how: str, read: Callable[[], Array]) -> Array:
        """Return a session's responses, read-only; `read` makes them if they are not cached or no longer whole.

        Parameters
        ----------
        sources : the files that `read` reads
        voxel_index : array of shape (n_voxels,), int64
        how : what else the numbers depend on
        read : returns an array of shape (n_trials, n_voxels)

        Raises
        ------
        DataSetError
            If the folder cannot be written.
        """
        path = self.folder / f"{_key(sources, voxel_index, how)}.npy"
        cached = _load(path)
        if cached is not None:
            return cached
        responses = read()
        try:
            _save(path, responses)
        except OSError as error:
            raise DataSetError(
                f"{path} cannot be written ({error.strerror}): free {responses.nbytes / 1e6:.0f} MB there, or give "
                "another folder with --data"
            ) from error
        cached = _load(path)
        if cached is None:
            raise DataSetError(f"{path} does not hold what was just written to it: check that disk")
        return cached


def _key(sources: list[Path], voxel_index: Array, how: str) -> str:
    facts = [(str(path.resolve()), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in sources]
    digest = sha256(msgspec.json.encode([FORMAT, how, facts]))
    digest.update(np.ascontiguousarray(voxel_index, "<i8").tobytes())
    return digest.hexdigest()[:24]


def _save(path: Path, responses: Array) -> None:
    with write_whole(path) as unfinished_path:
        with unfinished_path.open("wb") as file:
            np.save(file, responses)
        with unfinished_path.open("rb+") as file:
            checksum = _checksum(np.memmap(file, np.uint8, "r"))
            file.seek(0, os.SEEK_END)
            file.write(checksum)


def _load(path: Path) -> Array | None:
    """Return a cached session, memory-mapped, or None if there is none or it is damaged."""
    if not path.is_file() or path.stat().st_size <= CHECKSUM_BYTES:
        return None
    content = np.memmap(path, np.uint8, "r")
    if content[-CHECKSUM_BYTES:].tobytes() != _checksum(content[:-CHECKSUM_BYTES]):
        return None
    return np.load(path, mmap_mode="r")


def _checksum(content: Array) -> bytes:
    return zlib.crc32(content.data).to_bytes(CHECKSUM_BYTES, "little")
