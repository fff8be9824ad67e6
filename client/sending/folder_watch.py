"""Watch a folder and its subfolders for a scanner's files.

The folder is polled, because SMB and NFS send no change notifications. A file is read when two looks in a row find the
same size and time, and taken when no part of it is still to be filled. A file that cannot be read is read again while
it grows.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from .dicom import read_dicom
from .dicom_slices import Slice, SliceCollector
from .incoming import Incoming, IncomingError
from .nifti import read_nifti
from .parrec import is_parrec, lacks_par, read_parrec
from .whole import BLOCK_BYTES, n_blank_blocks

POLL_S = 0.04
PARSE_PATIENCE_S = 2.0
"""An unreadable file is reported when it has not grown for this long. It is read again if it grows."""
FILL_PATIENCE_S = 1.0
"""A file with more blank blocks than the series' earlier files is read when its content stayed the same for so long."""
MOST_NEWLY_BLANK = 0.1
"""A volume's file with so many more blank blocks than earlier files, as a fraction of its blocks, is not filled yet."""
NIFTI = (".nii", ".nii.gz", ".img", ".img.gz")
NO_VOLUMES = (
    ".json", ".txt", ".tsv", ".csv", ".bval", ".bvec", ".log", ".xml", ".mat", ".tmp", ".part", ".partial",
    ".hdr", ".hdr.gz", ".par",  # read with their .img and .rec
    ".pdf", ".png", ".jpg", ".jpeg", ".html", ".lnk", ".ini", "thumbs.db", "dicomdir",
)  # fmt: skip
OTHER_FORMATS = {
    (".dtseries.nii", ".dscalar.nii", ".dlabel.nii", ".dconn.nii", ".ptseries.nii", ".pscalar.nii", ".pconn.nii"): (
        "CIFTI (surfaces)"
    ),
    (".gii", ".gii.gz"): "GIFTI (surfaces)",
    (".mgz", ".mgh"): "FreeSurfer's format",
    (".mnc", ".mnc.gz"): "MINC",
    (".head", ".brik", ".brik.gz"): "AFNI's format",
    (".trk", ".tck"): "tractography",
}
"""Endings of names of image files that a watched folder does not give to the run."""


class _Seen(NamedTuple):
    size: int
    modified_ns: int


@dataclass
class _Pending:
    """A file that is not read yet."""

    seen: _Seen
    unchanged_since_s: float
    is_named: bool = False
    n_blank: int = 0


class FolderWatch:
    """Finds a folder's new volumes.

    Parameters
    ----------
    folder : the folder that the scanner's export writes to
    existing : also take the files that are there at the start; otherwise they are stale, and `n_stale` counts them
    first_number : the number of a series' first volume in file names or DICOM headers
    by_acquisition : number volumes so that the echoes of a volume share its number

    Raises
    ------
    IncomingError
        The folder does not exist, or cannot be listed.
    """

    def __init__(
        self, folder: Path, *, existing: bool = False, first_number: int = 1, by_acquisition: bool = False
    ) -> None:
        self.folder, self.first_number, self.by_acquisition = folder, first_number, by_acquisition
        self.slices = SliceCollector()
        self._pending: dict[str, _Pending] = {}
        self._done: dict[str, _Seen] = {}
        self._blank_of: dict[str, int] = {}  # series → the most blank blocks of a file that was taken
        self._other_formats: set[str] = set()
        self._closed: dict[str, str] = {}  # what may not be read: name → the error
        self._n_closed_named = 0
        if not folder.is_dir():
            raise IncomingError(
                f"{folder} is no folder; give the one that the scanner's export writes to", code="option"
            )
        if not existing:
            self._done = self._look()
        self.n_stale = len(self._done)

    def poll(self) -> Iterator[Incoming | IncomingError]:
        """Look once; yield an error for each unreadable file, then the complete volumes by series and number."""
        now_s = time.monotonic()
        volumes: list[Incoming] = []
        files = sorted(self._look().items())
        for name, problem in list(self._closed.items())[self._n_closed_named :]:
            yield IncomingError(f"{self.folder / name} cannot be read ({problem}); it is left")
        self._n_closed_named = len(self._closed)
        for name, seen in files:
            if self._done.get(name) == seen:
                continue
            pending = self._pending.get(name)
            if pending is None or pending.seen != seen:
                self._pending[name] = _Pending(seen, now_s)
                continue
            if (format_name := _other_format(name)) is not None:
                self._done[name] = self._pending.pop(name).seen
                if format_name not in self._other_formats:
                    self._other_formats.add(format_name)
                    yield IncomingError(
                        f"{name} is {format_name}; it and all like it are left. "
                        "Convert the run to NIfTI, or export DICOM"
                    )
                continue
            try:
                found = self._read(name, pending, now_s)
                if found is None:
                    continue
                volumes += found
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

    @property
    def is_filling(self) -> bool:
        """Return whether a readable file waits for its blank parts to be filled."""
        return any(pending.n_blank for pending in self._pending.values())

    def unfinished(self) -> list[str]:
        """Return a sentence for each half-written file and each incomplete volume."""
        half = [
            f"{name} is half-written, {pending.seen.size} bytes; not sent" for name, pending in self._pending.items()
        ]
        return half + self.slices.unfinished()

    def _read(self, name: str, pending: _Pending, now_s: float) -> list[Incoming] | None:
        """Return the volumes that a file completes, or None while the file is being filled."""
        path = self.folder / name
        try:
            n_blank = n_blank_blocks(path)
        except OSError as error:
            raise IncomingError(f"{path} cannot be read: {error}") from error
        if name.lower().endswith(NIFTI):
            read = list(read_nifti(path, first_number=self.first_number, by_acquisition=self.by_acquisition))
        elif is_parrec(path):
            read = list(read_parrec(path, first_number=self.first_number))
        else:
            read = read_dicom(path, first_number=self.first_number, by_acquisition=self.by_acquisition)
        if name.lower().endswith((*NIFTI, ".rec")) and "/" in name and isinstance(read, list):
            # Subfolders often hold files of the same names.
            read = [replace(volume, series=f"{name.rpartition('/')[0]}/{volume.series}") for volume in read]
        series = read.series if isinstance(read, Slice) else read[0].series if read else ""
        self._check_filled(path, n_blank, series, holds_volumes=not isinstance(read, Slice))
        if n_blank > self._blank_of.get(series, 0):
            if n_blank != pending.n_blank:
                pending.n_blank, pending.unchanged_since_s = n_blank, now_s
            if now_s - pending.unchanged_since_s < FILL_PATIENCE_S:
                return None
        self._blank_of[series] = max(n_blank, self._blank_of.get(series, 0))
        return self.slices.add(read) if isinstance(read, Slice) else read

    def _check_filled(self, path: Path, n_blank: int, series: str, *, holds_volumes: bool) -> None:
        """Raise IncomingError if much more of the file is blank than of the series' earlier files."""
        usual = self._blank_of.get(series)
        if usual is None or not holds_volumes:
            return
        n_blocks = max(1, path.stat().st_size // BLOCK_BYTES)
        if n_blank > usual + max(1.0, MOST_NEWLY_BLANK * n_blocks):
            raise IncomingError(
                f"{path}: {n_blank} of its {n_blocks} blocks hold only zeros, of earlier volumes {usual}; it is still "
                "being written, or was cut short",
                code="partial",
            )

    def _look(self) -> dict[str, _Seen]:
        """Return the files of the folder and its subfolders. A file that vanishes meanwhile was temporary: left out."""
        found: dict[str, _Seen] = {}
        try:
            self._look_into("", found)
        except OSError as error:
            raise IncomingError(f"{self.folder} cannot be listed ({error}); is the share still mounted?") from error
        return found

    def _look_into(self, below: str, found: dict[str, _Seen]) -> None:
        with os.scandir(self.folder / below) as entries:
            for entry in entries:
                if entry.name.startswith((".", "~$")):
                    continue
                name = f"{below}{entry.name}"
                try:
                    if entry.is_dir(follow_symlinks=False):
                        self._look_into(f"{name}/", found)
                    elif entry.name.lower().endswith(".rec") and lacks_par(Path(entry.path)):
                        continue
                    elif entry.is_file() and not entry.name.lower().endswith(NO_VOLUMES):
                        # A network share's listing may have an old size, so the file itself is asked.
                        status = os.stat(entry.path)
                        found[name] = _Seen(status.st_size, status.st_mtime_ns)
                except FileNotFoundError:
                    continue
                except PermissionError as error:
                    self._closed.setdefault(name, str(error))


def _other_format(name: str) -> str | None:
    return next((text for endings, text in OTHER_FORMATS.items() if name.lower().endswith(endings)), None)
