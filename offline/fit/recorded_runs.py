"""One run of a recorded session, with the trials and the voxels that weights are fitted on."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...arrays import Array
from ...client.datasets.bids.files import NOT_AVAILABLE
from ...client.datasets.data_set import DataSetError
from ...client.wire import Event, Hello, Volume
from ...daemon.journal.recording import Recording
from ...daemon.journal.records import RunRecord
from ...grids import MAX_CORNER_SHIFT_MM, corner_shift_mm
from ...models.bold.estimator import FINAL_AFTER_END_S

RECORDED = "recorded"
"""The region of all recorded voxels; every session has it."""


@dataclass(frozen=True, eq=False)
class RunWithTrials:
    """A recorded run with trials.

    Parameters
    ----------
    recording : Recording
        The open journal.
    record : RunRecord
    session, run : int
        1-based numbers.
    volumes : list of (int, Volume)
        Arrival number and header of each volume.
    shown : list of Volume or Event
        Trials that name a picture, by time.
    blank : list of Event
        Onsets without a picture.
    """

    recording: Recording
    record: RunRecord
    session: int
    run: int
    volumes: list[tuple[int, Volume]]
    shown: list[Volume] | list[Event]
    blank: list[Event]

    @property
    def hello(self) -> Hello:
        """The run's hello."""
        return self.record.hello

    @property
    def minutes(self) -> float:
        """The run's duration, in minutes."""
        return len(self.volumes) * self.hello.tr_s / 60

    def onset_s(self, trial: Volume | Event) -> float:
        """Return a trial's onset, in seconds after the first volume."""
        return trial.onset_s if isinstance(trial, Event) else trial.index * self.hello.tr_s

    def voxels(self, voxel_index: Array) -> Array:
        """Return chosen voxels of all volumes, (n_volumes, n_voxels) float32."""
        recorded = self.recording.voxel_index(self.record)
        positions = np.searchsorted(recorded, voxel_index)
        found = recorded[np.minimum(positions, len(recorded) - 1)] == voxel_index
        if not found.all():
            raise DataSetError(
                f"{self.recording.path}: run {self.record.name} has {len(recorded)} voxels, and not {(~found).sum()} "
                f"of the {len(voxel_index)} that the regions have: give smaller masks, or `{RECORDED}` for all"
            )
        chosen = np.empty((len(self.volumes), len(voxel_index)), np.float32)
        for row, (arrival, _) in enumerate(self.volumes):
            chosen[row] = self.recording.voxels(arrival)[positions]
        return chosen


def read_run_with_trials(recording: Recording, record: RunRecord, session: int, number: int) -> RunWithTrials | None:
    """Return a run with its trials. Without trials, or before any trial's final estimate, return None.

    Raises
    ------
    DataSetError
        If a trial names no picture.
    """
    volumes = recording.volumes(record)
    if record.hello.kind == "beta":
        trials: list[Any] = [header for _, header in volumes]
    else:
        length_s = (volumes[-1][1].index if volumes else 0) * record.hello.tr_s
        trials = recording.events(record)
        if not any(length_s - event.onset_s - event.duration_s >= FINAL_AFTER_END_S for event in trials):
            return None
    if not trials:
        return None
    unnamed = [trial for trial in trials if not trial.stimulus]
    if unnamed:
        what = f"volume {unnamed[0].index}" if record.hello.kind == "beta" else f"event {unnamed[0].event}"
        raise DataSetError(
            f"{recording.path}: {what} of run {record.name} names no picture (and {len(unnamed) - 1} more of the run): "
            f"send its file or id as `stimulus` ({NOT_AVAILABLE} where an onset shows none)"
        )
    shown = [trial for trial in trials if trial.stimulus != NOT_AVAILABLE]
    blank = [trial for trial in trials if trial.stimulus == NOT_AVAILABLE]
    if record.hello.kind == "beta":
        volumes, blank = [(arrival, header) for arrival, header in volumes if header.stimulus != NOT_AVAILABLE], []
    return RunWithTrials(recording, record, session, number, volumes, shown, blank) if shown else None


def check_alike(runs: list[RunWithTrials]) -> None:
    """Refuse runs of several subjects, kinds or grids.

    Raises
    ------
    DataSetError
    """
    first = runs[0]
    for run in runs[1:]:
        for what in ("subject", "kind", "shape"):
            own, wanted = getattr(run.hello, what), getattr(first.hello, what)
            if own != wanted:
                raise DataSetError(
                    f"{run.recording.path}: run {run.record.name} is of {what} {own}, run {first.record.name} of "
                    f"{first.recording.path} of {what} {wanted}: fit on sessions that are alike"
                )
        shift_mm = corner_shift_mm(first.hello.shape, np.array(run.hello.affine), np.array(first.hello.affine))
        if not shift_mm <= MAX_CORNER_SHIFT_MM:
            raise DataSetError(
                f"{run.recording.path}: by its affine, run {run.record.name} lies {shift_mm:.1f} mm away from run "
                f"{first.record.name} of {first.recording.path}: fit on sessions of one grid"
            )
