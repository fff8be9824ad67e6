"""What the offline commands ask of a data set, whoever recorded it: NSD's folder and a BIDS folder both answer."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..errors import BraindError

Array = NDArray[Any]


class DataSetError(BraindError):
    """Recorded data that are missing, damaged or not what they should be: names the file and what to do."""

    code = "data"


@dataclass(frozen=True)
class Trials:
    """Trials in the order in which they were shown; all arrays have the shape (n_trials,).

    `session`, `run` and `trial_in_run` count from 1. `nsd_id` is the picture's number, from 0 (NSD's 73k id less 1);
    `is_shared` marks the test set, in NSD the pictures that all subjects see; `repeat` is how often the subject has
    seen the picture before; `onset_s` is the time since the run's first volume.
    """

    session: Array
    run: Array
    trial_in_run: Array
    nsd_id: Array
    is_shared: Array
    repeat: Array
    onset_s: Array

    def __len__(self) -> int:
        """Return the number of trials."""
        return len(self.nsd_id)

    def of(self, chosen: Array) -> "Trials":
        """Return the chosen trials, by mask or by index."""
        return Trials(**{name: getattr(self, name)[chosen] for name in self.__dataclass_fields__})


@dataclass(frozen=True, eq=False)
class BoldSignal:
    """A run of BOLD as it was recorded.

    Parameters
    ----------
    index : array of shape (n_volumes,), int
        Each volume's number in the run, rising; some may be missing.
    voxels : array of shape (n_volumes, n_voxels), float32
        Raw.
    onsets_s : array of shape (n_onsets,), float
        Of the run's trials, in their order; then of what showed no picture, if that is known.
    durations_s : array of shape (n_onsets,), float, optional
    motion : array of shape (n_volumes, 6), float, optional
        mm and rad.
    """

    index: Array
    voxels: Array
    onsets_s: Array
    tr_s: float
    durations_s: Array | None = None
    motion: Array | None = None


class DataSet(Protocol):
    """Single-trial responses of some subjects, the pictures they saw, and what the pictures show.

    Volumes are (X, Y, Z) as NIfTI orders them. Subjects, sessions and runs count from 1, pictures from 0. Every method
    raises DataSetError for what is not there.
    """

    @property
    def root(self) -> Path:
        """The folder."""
        ...

    @property
    def estimates(self) -> str:
        """Which single-trial estimates these are, such as betas_fithrf."""
        ...

    def subjects(self) -> list[int]:
        """List the subjects."""
        ...

    def is_simulated(self) -> bool:
        """Say whether nobody was scanned."""
        ...

    def shape(self, subject: int) -> tuple[int, int, int]:
        """Return (X, Y, Z) of a subject's volumes."""
        ...

    def affine(self, subject: int) -> Array:
        """Return the map from voxel indices to mm: (4, 4) float64."""
        ...

    def brainmask(self, subject: int) -> Array:
        """Return where the brain is: (X, Y, Z) bool."""
        ...

    def roi_mask(self, subject: int, labels: list[str]) -> Array:
        """Return where any of the labels (or mask files) is: (X, Y, Z) bool."""
        ...

    def trials(self, subject: int) -> Trials:
        """Return the trials of the chosen sessions, in the order of their responses."""
        ...

    def masked_betas(self, subject: int, sessions: list[int], voxel_index: Array) -> Array:
        """Return chosen voxels of whole sessions: (n_trials, n_voxels) float32, % signal change."""
        ...

    def pictures(self, nsd_ids: Array | list[int]) -> Array:
        """Return pictures in the order asked for: (n_pictures, px, px, 3) uint8, RGB."""
        ...

    def captions(self, nsd_id: int) -> list[str]:
        """Return a picture's captions."""
        ...

    def novel_kind_ids(self) -> list[int]:
        """List the test pictures of kinds of object that no training picture shows, where that is known."""
        ...


@runtime_checkable
class BoldDataSet(DataSet, Protocol):
    """A data set whose runs have BOLD series, volume by volume."""

    @property
    def bold_tr_s(self) -> float:
        """Return the time from one volume to the next, s."""
        ...

    def bold_runs(self, subject: int, session: int) -> list[int]:
        """List a session's runs with a BOLD series and trials, as `Trials.run` numbers them."""
        ...

    def bold_signal(self, subject: int, session: int, run: int, voxel_index: Array) -> BoldSignal:
        """Return chosen voxels of a run."""
        ...

    def bold_mean(self, subject: int, session: int, run: int) -> Array:
        """Return a run's mean volume: (X, Y, Z) float32, NaN in voxels that were not recorded."""
        ...


class BrainDataSet(DataSet, Protocol):
    """A data set whose whole brain is mapped: its regions have names, and its files say whose and what they are."""

    task: str
    space: str

    def label(self, subject: int) -> str:
        """Return the subject's label in names of files, such as 01."""
        ...

    def regions(self, subject: int) -> list[str]:
        """List the regions that `roi_mask` knows and a table of regions has."""
        ...

    def brainmask_path(self, subject: int) -> Path:
        """Return the file of the brain mask."""
        ...


def parse_sessions(text: str) -> list[int] | None:
    """Read "1-12,14" (both ends in) into session numbers, rising; None, all of them, for "".

    Raises
    ------
    DataSetError
    """
    if not text:
        return None
    sessions: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last:
            raise DataSetError(f"sessions {text!r}: give numbers from 1 and ranges, such as 1-12,14")
        sessions |= set(range(first, last + 1))
    return sorted(sessions)


def chosen_sessions(there: list[int], wanted: list[int] | None, whose: str) -> list[int]:
    """Return the wanted sessions (None: all that are there); raises DataSetError if one is not there."""
    missing = sorted(set(wanted or []) - set(there))
    if missing:
        raise DataSetError(
            f"{whose} has no session {', '.join(map(str, missing))}; it has {span(there) or 'none'}: "
            "choose among those with --sessions"
        )
    return there if wanted is None else wanted


def span(numbers: Iterable[int]) -> str:
    """Write numbers as people do: "1-12, 14"."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def times_seen_before(nsd_id: Array) -> Array:
    """Count, for each trial, the earlier trials with the same picture: (n_trials,) int64."""
    order = np.argsort(nsd_id, kind="stable")
    in_order = nsd_id[order]
    repeat = np.empty(len(nsd_id), np.int64)
    repeat[order] = np.arange(len(nsd_id)) - np.searchsorted(in_order, in_order)
    return repeat
