"""Recorded sessions as a data set: reads a participant's journals with the interface of NSD and BIDS folders.

A trial is a volume of a `beta` run or an onset of a `bold` run. Each trial names its picture.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from ...arrays import Array
from ...choices import Kind
from ...client.datasets.data_set import BoldSignal, DataSetError, Trials, times_seen_before
from ...client.datasets.images import is_nifti_name, mask_of_file
from ...client.wire import Event
from ...daemon.journal.recording import Recording
from .recorded_pictures import picture_file, pictures_of
from .recorded_runs import RECORDED, RunWithTrials, check_alike, read_run_with_trials

Describe = Callable[[Array], list[str]]
"""Writes a caption for each of (n, px, px, 3) uint8 pictures."""


class RecordedSessions:
    """Recorded sessions of one participant.

    Parameters
    ----------
    paths : sequence of Path
        The sessions' journals.
    stimuli : Path
        Folder of the pictures. Trials name a picture by its file name, with or without extension.
    captions : Path, optional
        Table with the columns of a BIDS data set's `stimuli/captions.tsv`; only `stim_file` and `caption` are
        required. Its captions replace the trials' captions.
    describe : tuple of (str, Describe), optional
        Name and function of the captioner for pictures without captions. The name becomes `captioner`.

    Raises
    ------
    DataSetError, JournalError
        Methods raise them too. They name the file and the remedy.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        stimuli: Path,
        captions: Path | None = None,
        describe: tuple[str, Describe] | None = None,
    ) -> None:
        self._recordings = [Recording(path) for path in paths]
        self.root = paths[0].parent / "+".join(recording.session for recording in self._recordings)
        self._runs = [
            run
            for session, recording in enumerate(self._recordings, 1)
            for number, record in enumerate(recording.runs(), 1)
            if (run := read_run_with_trials(recording, record, session, number)) is not None
        ]
        if not self._runs:
            raise DataSetError(f"{', '.join(map(str, paths))}: no run with trials: record some first")
        check_alike(self._runs)
        named = [(run, trial) for run in self._runs for trial in run.shown]
        self._stim_file = {name: picture_file(stimuli, name, run) for run, trial in named if (name := trial.stimulus)}
        self._stimuli = pictures_of(self._stim_file, [trial for _, trial in named], stimuli, captions)
        self.captioner = ""
        self._caption_the_rest(describe)

    def close(self) -> None:
        """Close the journals."""
        for recording in self._recordings:
            recording.close()

    @property
    def subject(self) -> int:
        """The participant's number."""
        return self._runs[0].hello.subject

    @property
    def kind(self) -> Kind:
        """What a volume holds: a trial's beta, or BOLD."""
        return self._runs[0].hello.kind

    @property
    def minutes(self) -> float:
        """Total duration of the runs with trials, in minutes."""
        return sum(run.minutes for run in self._runs)

    # ── the data set ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def estimates(self) -> str:
        """Kind of the single-trial responses: recorded betas, or estimates from BOLD."""
        return "bold" if self.kind == "bold" else "recorded betas"

    def subjects(self) -> list[int]:
        """List the one participant."""
        return [self.subject]

    def is_simulated(self) -> bool:
        """Return whether any run's sender declared simulated data."""
        return any(run.hello.simulated for run in self._runs)

    def shape(self, subject: int) -> tuple[int, int, int]:
        """Return (X, Y, Z) of the volumes."""
        return self._runs[0].hello.shape

    def affine(self, subject: int) -> Array:
        """Return the map from voxel indices to mm: (4, 4) float64."""
        return np.array(self._runs[0].hello.affine)

    def brainmask(self, subject: int) -> Array:
        """Return which voxels were recorded in all runs: (X, Y, Z) bool."""
        n_runs = np.zeros(int(np.prod(self.shape(subject))), np.int64)
        for run in self._runs:
            n_runs[run.recording.voxel_index(run.record)] += 1
        return (n_runs == len(self._runs)).reshape(self.shape(subject))

    def roi_mask(self, subject: int, labels: list[str]) -> Array:
        """Return the union of mask files and, for `recorded`, of all recorded voxels: (X, Y, Z) bool."""
        mask = np.zeros(self.shape(subject), bool)
        for label in labels:
            if label == RECORDED:
                mask |= self.brainmask(subject)
            elif is_nifti_name(label):
                mask |= mask_of_file(label, subject, self.shape(subject), self.affine(subject))
            else:
                raise DataSetError(
                    f"region {label!r}: a recorded session has no atlas; give NIfTI files of masks with --z-rois and "
                    f"--c-rois, or `{RECORDED}` for all voxels that were recorded"
                )
        return mask

    def trials(self, subject: int) -> Trials:
        """Return the trials in the order of presentation."""
        self._check_subject(subject)
        shown = [(run, number, trial) for run in self._runs for number, trial in enumerate(run.shown)]
        pictures = [
            self._stimuli.number(self._stim_file[trial.stimulus or ""], run.recording.path) for run, _, trial in shown
        ]
        return Trials(
            session=np.array([run.session for run, _, _ in shown]),
            run=np.array([run.run for run, _, _ in shown]),
            trial_in_run=np.array([number + 1 for _, number, _ in shown]),
            nsd_id=np.array(pictures, np.int64),
            is_shared=np.array([self._stimuli.pictures[picture].split == "test" for picture in pictures]),
            repeat=times_seen_before(np.array(pictures, np.int64)),
            onset_s=np.array([run.onset_s(trial) for run, _, trial in shown]),
            label=np.array([trial.label or "" for _, _, trial in shown]),
        )

    def masked_betas(self, subject: int, sessions: list[int], voxel_index: Array) -> Array:
        """Return chosen voxels of whole sessions of betas: (n_trials, n_voxels) float32, % signal change."""
        if self.kind == "bold":
            raise DataSetError(f"{self.root} is BOLD: its responses are estimated, not read")
        return np.concatenate([run.voxels(voxel_index) for run in self._runs if run.session in sessions])

    def pictures(self, nsd_ids: Array | list[int]) -> Array:
        """Return pictures in the order of `nsd_ids`, as squares of one size: (n_pictures, px, px, 3) uint8, RGB."""
        return self._stimuli.read(nsd_ids)

    def picture_files(self, nsd_ids: Array | list[int]) -> list[str]:
        """Return pictures' files, as trials name them, with their extension."""
        return [self.picture_names[number] for number in nsd_ids]

    def captions(self, nsd_id: int) -> list[str]:
        """Return a picture's captions."""
        return self._stimuli.pictures[nsd_id].captions

    def novel_kind_ids(self) -> list[int]:
        """List the pictures that the table marks as novel: no training picture shows their kind of object."""
        return [number for number, picture in enumerate(self._stimuli.pictures) if picture.novel]

    # ── BOLD ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def bold_runs(self, subject: int, session: int) -> list[int]:
        """List a session's runs of BOLD with trials."""
        self._check_subject(subject)
        return [run.run for run in self._runs if run.session == session and self.kind == "bold"]

    def bold_signal(self, subject: int, session: int, run: int, voxel_index: Array) -> BoldSignal:
        """Return chosen voxels of a run."""
        recorded = self._run(session, run)
        events = [event for event in (*recorded.shown, *recorded.blank) if isinstance(event, Event)]
        headers = [header for _, header in recorded.volumes]
        motion = [header.motion for header in headers]
        return BoldSignal(
            index=np.array([header.index for header in headers]),
            voxels=recorded.voxels(voxel_index),
            onsets_s=np.array([event.onset_s for event in events]),
            tr_s=recorded.hello.tr_s,
            durations_s=np.array([event.duration_s for event in events]),
            motion=None if None in motion else np.array(motion),
            labels=tuple(event.label or "" for event in recorded.shown if isinstance(event, Event)),
        )

    def bold_mean(self, subject: int, session: int, run: int) -> Array:
        """Return a run's mean volume: (X, Y, Z) float32, NaN in voxels that were not recorded."""
        recorded = self._run(session, run)
        voxel_index = recorded.recording.voxel_index(recorded.record)
        mean = np.full(int(np.prod(recorded.hello.shape)), np.nan, np.float32)
        mean[voxel_index] = recorded.voxels(voxel_index).mean(axis=0, dtype=np.float32)
        return mean.reshape(recorded.hello.shape)

    def _run(self, session: int, run: int) -> RunWithTrials:
        return next(one for one in self._runs if (one.session, one.run) == (session, run))

    # ── the pictures ────────────────────────────────────────────────────────────────────────────────────────────────

    def _check_subject(self, subject: int) -> None:
        if subject != self.subject:
            raise DataSetError(f"{self.root} is of subject {self.subject}, not of subject {subject}")

    @cached_property
    def picture_names(self) -> list[str]:
        """The picture files, relative to the folder of the stimuli, by picture number."""
        return [picture.stim_file for picture in self._stimuli.pictures]

    def _caption_the_rest(self, describe: tuple[str, Describe] | None) -> None:
        without = [number for number, picture in enumerate(self._stimuli.pictures) if not picture.captions]
        if not without:
            return
        if describe is None:
            raise DataSetError(
                f"{len(without)} of {len(self._stimuli.pictures)} pictures have no caption, such as "
                f"{self._stimuli.pictures[without[0]].stim_file}: name captions with the trials, give a table with "
                "--captions FILE.tsv, or a model that writes them with --captioner DIR"
            )
        self.captioner, write = describe
        for number, caption in zip(without, write(self._stimuli.read(without)), strict=True):
            self._stimuli.pictures[number].captions.append(caption)
