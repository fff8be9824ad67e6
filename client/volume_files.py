"""Watch a folder for a scanner's files: polling, so that it works on SMB and NFS, where notices of changes do not come.

A file is read when two looks in a row find the same size, and again later while it cannot be read but grows.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .dicom import SliceCollector, read_dicom
from .incoming import Incoming, IncomingError
from .nifti import read_nifti

POLL_S = 0.04
PARSE_PATIENCE_S = 2.0
"""A file that cannot be read and has not grown for so long is named, and read again if it does grow."""
NIFTI = (".nii", ".nii.gz")
NO_VOLUMES = (".json", ".txt", ".tsv", ".bval", ".bvec", ".log", ".xml", ".tmp", ".part", ".partial")


class _Seen(NamedTuple):
    size: int
    modified_ns: int


@dataclass
class _Pending:
    """A file that is not done with."""

    seen: _Seen
    unchanged_since_s: float
    is_named: bool = False


class FolderWatch:
    """A folder's new volumes.

    Parameters
    ----------
    folder : Path
    existing : bool
        Take files that lie there at the start too; without it they are stale.
    first_number : int
        What a series' first volume is numbered.
    """

    def __init__(self, folder: Path, *, existing: bool = False, first_number: int = 1) -> None:
        self.folder, self.first_number = folder, first_number
        self.slices = SliceCollector()
        self._pending: dict[str, _Pending] = {}
        self._done: dict[str, _Seen] = {}
        if not folder.is_dir():
            raise IncomingError(f"{folder} is no folder; give the one that the scanner's export writes to")
        if not existing:
            self._done = self._look()
        self.n_stale = len(self._done)

    def poll(self) -> Iterator[Incoming | IncomingError]:
        """Look once; give the volumes that are complete now, in the order of their numbers, and what cannot be read."""
        now_s = time.monotonic()
        volumes: list[Incoming] = []
        for name, seen in sorted(self._look().items()):
            if self._done.get(name) == seen:
                continue
            pending = self._pending.get(name)
            if pending is None or pending.seen != seen:
                self._pending[name] = _Pending(seen, now_s)
                continue
            try:
                volumes += self._read(self.folder / name)
            except IncomingError as error:
                is_hopeless = now_s - pending.unchanged_since_s >= PARSE_PATIENCE_S
                if not is_hopeless:
                    continue
                if not pending.is_named:
                    pending.is_named = True
                    yield error
            self._done[name] = seen
            del self._pending[name]
        yield from sorted(volumes, key=lambda volume: (volume.series, volume.index))

    def unfinished(self) -> list[str]:
        """Name what began to come and is not whole."""
        half = [
            f"{name} is half-written, {pending.seen.size} bytes; not sent" for name, pending in self._pending.items()
        ]
        return half + self.slices.unfinished()

    def _read(self, path: Path) -> list[Incoming]:
        if path.name.endswith(NIFTI):
            return list(read_nifti(path, first_number=self.first_number))
        read = read_dicom(path, first_number=self.first_number)
        if isinstance(read, list):
            return read
        whole = self.slices.add(read)
        return [whole] if whole else []

    def _look(self) -> dict[str, _Seen]:
        """Return the folder's files; one that vanishes meanwhile was a temporary one."""
        found: dict[str, _Seen] = {}
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name.lower().endswith(NO_VOLUMES):
                        continue
                    try:
                        if entry.is_file():
                            # A share's directory listing may have an old size; the file itself does not.
                            status = os.stat(entry.path)
                            found[entry.name] = _Seen(status.st_size, status.st_mtime_ns)
                    except FileNotFoundError:
                        continue
        except OSError as error:
            raise IncomingError(f"{self.folder} cannot be listed ({error}); is the share still mounted?") from error
        return found
