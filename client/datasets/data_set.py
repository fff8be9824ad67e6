"""What the offline commands need of recorded data; NSD folders and BIDS folders both provide it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from ...arrays import Array
from ...errors import BraindError


class DataSetError(BraindError):
    """Recorded data are missing, damaged or wrong: names the file and the remedy."""

    code = "data"


@dataclass(frozen=True)
class Trials:
    """Trials in the order of their onsets; each field is an array of shape (n_trials,).

    `session`, `run` and `trial_in_run` count from 1. `nsd_id` is the picture's number, from 0 (NSD's 73k id less 1).
    `is_shared` (bool) marks the test set: in NSD the pictures that all subjects see, or the trials of chosen test runs.
    `repeat` is the number of earlier trials with the same picture. `onset_s` is the time since the run's first volume,
    s. `label` (str) is the trial's class, "" if it is not known. A trial without a picture has the `nsd_id` −1.
    """

    session: Array
    run: Array
    trial_in_run: Array
    nsd_id: Array
    is_shared: Array
    repeat: Array
    onset_s: Array
    label: Array

    def __len__(self) -> int:
        """Return the number of trials."""
        return len(self.nsd_id)

    def of(self, chosen: Array) -> "Trials":
        """Return the chosen trials, by mask or by index."""
        return Trials(**{name: getattr(self, name)[chosen] for name in self.__dataclass_fields__})

    @property
    def has_picture(self) -> Array:
        """Return which trials show a picture: (n_trials,) bool."""
        return self.nsd_id >= 0

    def split_by_runs(self, test_runs: list[int] | None, whose: str) -> "Trials":
        """Return the trials with the trials of these runs, in every session, as the test set; None keeps the split.

        Raises
        ------
        DataSetError
            A run does not exist, or no run is left for training; `whose` trials they are.
        """
        if test_runs is None:
            return self
        runs = np.unique(self.run).tolist()
        unknown = sorted(set(test_runs) - set(runs))
        if unknown:
            raise DataSetError(
                f"test runs {span(test_runs)}: {whose} has no run {span(unknown)}; it has {span(runs)}: choose among "
                "those with --test-runs",
                code="option",
            )
        is_test = np.isin(self.run, test_runs)
        if is_test.all():
            raise DataSetError(
                f"test runs {span(test_runs)}: {whose} has no other run, so none is left for training: hold out fewer "
                "runs with --test-runs",
                code="option",
            )
        return replace(self, is_shared=is_test)


@dataclass(frozen=True, eq=False)
class BoldSignal:
    """Chosen voxels of a recorded BOLD run.

    Parameters
    ----------
    index : array of shape (n_volumes,), int
        Each volume's number in the run, rising; numbers may be missing.
    voxels : array of shape (n_volumes, n_voxels), float32
        Scanner units.
    onsets_s : array of shape (n_onsets,), float, s
        The trials' onsets in their order, then the onsets of known events without a picture.
    tr_s : float
        Seconds from volume to volume.
    durations_s : array of shape (n_onsets,), float, s, optional
    motion : array of shape (n_volumes, 6), float, optional
        Translations along x, y, z in mm, then rotations about x, y, z in rad.
    labels : tuple of str
        The class of each onset that is a trial, "" if it is not known.
    """

    index: Array
    voxels: Array
    onsets_s: Array
    tr_s: float
    durations_s: Array | None = None
    motion: Array | None = None
    labels: tuple[str, ...] = ()


class DataSet(Protocol):
    """Single-trial responses of some subjects, the pictures they saw, and the pictures' captions.

    Volumes are (X, Y, Z) as NIfTI orders axes. Subjects, sessions and runs count from 1, pictures from 0. Every method
    raises DataSetError if its data are missing.
    """

    @property
    def root(self) -> Path:
        """The folder."""
        ...

    @property
    def estimates(self) -> str:
        """The kind of single-trial estimates, such as betas_fithrf."""
        ...

    def subjects(self) -> list[int]:
        """List the subjects."""
        ...

    def is_simulated(self) -> bool:
        """Say whether the data are simulated."""
        ...

    def shape(self, subject: int) -> tuple[int, int, int]:
        """Return (X, Y, Z) of a subject's volumes."""
        ...

    def affine(self, subject: int) -> Array:
        """Return the map from voxel indices to mm: (4, 4) float64."""
        ...

    def brainmask(self, subject: int) -> Array:
        """Return the brain mask: (X, Y, Z) bool."""
        ...

    def roi_mask(self, subject: int, labels: list[str]) -> Array:
        """Return the union of labels and mask files: (X, Y, Z) bool."""
        ...

    def trials(self, subject: int) -> Trials:
        """Return the trials of the chosen sessions, in the order of `masked_betas`."""
        ...

    def masked_betas(self, subject: int, sessions: list[int], voxel_index: Array) -> Array:
        """Return chosen voxels of whole sessions: (n_trials, n_voxels) float32, % signal change."""
        ...

    def pictures(self, nsd_ids: Array | list[int]) -> Array:
        """Return pictures in the given order: (n_pictures, px, px, 3) uint8, RGB."""
        ...

    def captions(self, nsd_id: int) -> list[str]:
        """Return a picture's captions."""
        ...

    def picture_files(self, nsd_ids: Array | list[int]) -> list[str]:
        """Return the files by which senders name these pictures; empty if they name them by NSD's ids."""
        ...

    def novel_kind_ids(self) -> list[int]:
        """List the test pictures of object kinds that no training picture shows; empty if that is unknown."""
        ...


@runtime_checkable
class BoldDataSet(DataSet, Protocol):
    """A data set that also has BOLD series."""

    def bold_runs(self, subject: int, session: int) -> list[int]:
        """List a session's runs that have a BOLD series and trials, by the numbers of `Trials.run`."""
        ...

    def bold_signal(self, subject: int, session: int, run: int, voxel_index: Array) -> BoldSignal:
        """Return chosen voxels of a run, by positions in the flattened (C order) volume."""
        ...

    def bold_mean(self, subject: int, session: int, run: int) -> Array:
        """Return a run's mean volume: (X, Y, Z) float32, NaN in unrecorded voxels."""
        ...


class BrainDataSet(DataSet, Protocol):
    """A data set of whole-brain volumes with named regions and BIDS labels."""

    task: str
    space: str

    def label(self, subject: int) -> str:
        """Return the subject's label in file names, such as 01."""
        ...

    def regions(self, subject: int) -> list[str]:
        """List the named regions that `roi_mask` knows."""
        ...

    def brainmask_path(self, subject: int) -> Path:
        """Return the file of the brain mask."""
        ...


def parse_numbers(text: str, what: str) -> list[int] | None:
    """Return the sorted numbers of "1-12,14" (ends included); None for "".

    Parameters
    ----------
    what : the name of the setting, "sessions" or "test runs", for the error

    Raises
    ------
    DataSetError
        The text is not a list of numbers and ranges.
    """
    if not text:
        return None
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part.strip(), re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last:
            raise DataSetError(f"{what} {text!r}: give numbers from 1 and ranges, such as 1-12,14", code="option")
        numbers |= set(range(first, last + 1))
    return sorted(numbers)


def chosen_sessions(on_disk: list[int], wanted: list[int] | None, whose: str) -> list[int]:
    """Return the wanted sessions; None wants all. Raises DataSetError if a wanted session is not on disk."""
    missing = sorted(set(wanted or []) - set(on_disk))
    if missing:
        raise DataSetError(
            f"{whose} has no session {', '.join(map(str, missing))}; it has {span(on_disk) or 'none'}: "
            "choose among those with --sessions",
            code="option",
        )
    return on_disk if wanted is None else wanted


def span(numbers: Iterable[int]) -> str:
    """Write numbers as ranges: "1-12, 14"."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def times_seen_before(nsd_id: Array) -> Array:
    """Count each trial's earlier trials with the same picture: (n_trials,) int64; 0 for trials without a picture."""
    order = np.argsort(nsd_id, kind="stable")
    in_order = nsd_id[order]
    repeat = np.empty(len(nsd_id), np.int64)
    repeat[order] = np.arange(len(nsd_id)) - np.searchsorted(in_order, in_order)
    return np.where(nsd_id < 0, 0, repeat)
