"""Where NSD's files lie, and opening them: an incomplete download gets an error with the file and the remedy."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from ..data_set import DataSetError

SPACE = "func1pt8mm"
N_SERIES_WITH_REST = 14
"""A session's BOLD series: 12 of the task, or 14 with resting state before and after it."""
MARKER = "simulated.json"
"""The file that a simulated tree has and the real data set lacks."""


class NsdError(DataSetError):
    """The folder is not the Natural Scenes Dataset, or not all of it: names the file and the remedy."""

    code = "nsd"


@dataclass(frozen=True)
class Layout:
    """The paths of one NSD folder. `estimates` is the version of the betas, such as `betas_fithrf`."""

    root: Path
    estimates: str

    def subjects(self) -> list[int]:
        """List the subjects that have a folder."""
        folders = (self.root / "nsddata/ppdata").glob("subj[0-9][0-9]")
        return sorted(int(folder.name[4:]) for folder in folders)

    def anatomy(self, subject: int) -> Path:
        """Return the folder of a subject's brain mask and ROIs. Raises NsdError if there is none."""
        path = self.root / f"nsddata/ppdata/subj{subject:02d}/{SPACE}"
        if not path.exists():
            raise NsdError(
                f"{path} is missing; it holds subject {subject}'s anatomy: this tree has subjects {self.subjects()}; "
                "download nsddata/ppdata for others",
                code="option",
            )
        return path

    def brainmask(self, subject: int) -> Path:
        """Return the file of a subject's brain mask. Raises NsdError if there is none."""
        path = self.anatomy(subject) / "brainmask.nii.gz"
        return existing(path, "the brain mask and the affine", f"download nsddata/ppdata/…/{SPACE}")

    def betas(self, subject: int) -> Path:
        """Return the folder of a subject's betas, which need not exist."""
        return self.root / f"nsddata_betas/ppdata/subj{subject:02d}/{SPACE}/{self.estimates}"

    def beta_sessions(self, subject: int) -> list[int]:
        """List the sessions whose betas are on disk."""
        names = [path.name for path in self.betas(subject).glob("betas_session*")]
        matches = [re.fullmatch(r"betas_session(\d+)\.(hdf5|nii\.gz)", name) for name in names]
        return sorted({int(match[1]) for match in matches if match})

    def session_betas(self, subject: int, session: int) -> Path:
        """Return the file of a session's betas. Raises NsdError if there is none."""
        stem = self.betas(subject) / f"betas_session{session:02d}"
        # HDF5 first: it is not compressed, and a part of it can be read.
        for path in (stem.with_suffix(".hdf5"), stem.with_suffix(".nii.gz")):
            if path.exists():
                return path
        others = sorted(folder.name for folder in self.betas(subject).parent.glob("betas_*"))
        others = [name for name in others if name != self.estimates]
        raise NsdError(
            f"{stem}.hdf5 (or .nii.gz) is missing; it holds the betas of subject {subject}, session {session}: "
            f"download it, or choose among the sessions there: {self.beta_sessions(subject) or 'none'}"
            + (f", or another version with --betas: {', '.join(others)}" if others else ""),
            code="option",
        )

    def bold(self, subject: int) -> Path:
        """Return the folder of a subject's BOLD series and their designs, which need not exist."""
        return self.root / f"nsddata_timeseries/ppdata/subj{subject:02d}/{SPACE}"

    def bold_file(self, subject: int, session: int, run: int) -> str:
        """Return the part of the file names of a task run's BOLD series and design that names session and run.

        A session with resting state has 14 series. The first and the last are rest, so task run 1 is series 2.
        """
        has_rest = N_SERIES_WITH_REST in self.bold_series(subject, session)
        return f"session{session:02d}_run{run + has_rest:02d}"

    def bold_task_runs(self, subject: int, session: int) -> list[int]:
        """List a session's task runs that have a BOLD series on disk, from 1, without resting state."""
        series = self.bold_series(subject, session)
        if N_SERIES_WITH_REST not in series:
            return series
        return [number - 1 for number in series if 1 < number < N_SERIES_WITH_REST]

    def bold_series(self, subject: int, session: int) -> list[int]:
        """List the numbers of a session's BOLD series on disk, resting state included."""
        names = [
            path.name for path in self.bold(subject).glob(f"timeseries/timeseries_session{session:02d}_run*.nii.gz")
        ]
        return sorted(int(name.split("_run")[1][:2]) for name in names)


def existing(path: Path, purpose: str, remedy: str) -> Path:
    """Return a path that exists.

    Raises
    ------
    NsdError
        The path is missing; the sentence has the file's purpose and the remedy.
    """
    if not path.exists():
        raise NsdError(f"{path} is missing; it holds {purpose}: {remedy}")
    return path


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading. Raises NsdError if it cannot be read."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise NsdError(f"{path} cannot be read as HDF5 ({error}): download it again") from error


def dataset(file: h5py.File, key: str) -> Any:
    """Return a dataset of an open HDF5 file. Raises NsdError if the file has none of this name."""
    if key not in file:
        raise NsdError(f"{file.filename} has no dataset '{key}'; it has {list(file)}: download it again")
    return file[key]
