"""Watch a folder for a scanner's files.

The folder is polled, because SMB and NFS send no change notifications. A file is read when two looks in a row find the
same size and time. A file that cannot be read is read again while it grows.
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
from .parrec import is_parrec, lacks_par, read_parrec

POLL_S = 0.04
PARSE_PATIENCE_S = 2.0
"""An unreadable file is reported when it has not grown for this long. It is read again if it grows."""
NIFTI = (".nii", ".nii.gz")
NO_VOLUMES = (".json", ".txt", ".tsv", ".bval", ".bvec", ".log", ".xml", ".tmp", ".part", ".partial", ".par")
"""A PAR file is read with its REC file."""


class _Seen(NamedTuple):
    size: int
    modified_ns: int


@dataclass
class _Pending:
    """A file that is not read yet."""

    seen: _Seen
    unchanged_since_s: float
    is_named: bool = False


class FolderWatch:
    """Finds a folder's new volumes.

    Parameters
    ----------
    folder : the folder that the scanner's export writes to
    existing : also take the files that are there at the start; otherwise they are stale, and `n_stale` counts them
    first_number : the number of a series' first volume in file names or DICOM headers

    Raises
    ------
    IncomingError
        The folder does not exist, or cannot be listed.
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
        """Look once; yield an error for each unreadable file, then the complete volumes by series and number."""
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
        """Return a sentence for each half-written file and each incomplete volume."""
        half = [
            f"{name} is half-written, {pending.seen.size} bytes; not sent" for name, pending in self._pending.items()
        ]
        return half + self.slices.unfinished()

    def _read(self, path: Path) -> list[Incoming]:
        if path.name.endswith(NIFTI):
            return list(read_nifti(path, first_number=self.first_number))
        if is_parrec(path):
            return list(read_parrec(path, first_number=self.first_number))
        read = read_dicom(path, first_number=self.first_number)
        if isinstance(read, list):
            return read
        whole = self.slices.add(read)
        return [whole] if whole else []

    def _look(self) -> dict[str, _Seen]:
        """Return the folder's files. A file that vanishes meanwhile was temporary and is left out."""
        found: dict[str, _Seen] = {}
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name.lower().endswith(NO_VOLUMES):
                        continue
                    if entry.name.lower().endswith(".rec") and lacks_par(Path(entry.path)):
                        continue
                    try:
                        if entry.is_file():
                            # A network share's listing may have an old size, so the file itself is asked.
                            status = os.stat(entry.path)
                            found[entry.name] = _Seen(status.st_size, status.st_mtime_ns)
                    except FileNotFoundError:
                        continue
        except OSError as error:
            raise IncomingError(f"{self.folder} cannot be listed ({error}); is the share still mounted?") from error
        return found
