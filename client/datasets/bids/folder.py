"""A laboratory's own data in BIDS: single-trial responses or BOLD, with events, masks and stimuli.

Events name each trial's picture in `stim_file`, or its class in a chosen column, or both. Responses are
`…_desc-singletrial_statmap.nii.gz`, one volume per trial in % signal change, one file per run or session; or they are
estimated from `…_desc-preproc_bold.nii.gz`, or else from the raw `…_bold.nii.gz`.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ....arrays import Array
from ..data_set import BoldSignal, Trials
from ..images import check_grid, is_nifti_name, load_nifti, mask_of_file, scaled
from ..trial_cache import TrialCache
from .betas import read_betas
from .bold import RunSeries, read_signal, series_of_runs
from .events import BidsRun, EventsOf, images_of_runs, read_runs
from .files import (
    BOLD,
    SINGLE_TRIALS,
    BidsError,
    BidsFile,
    Choice,
    data_roots,
    files_of_subject,
    images_of,
    load_series,
    makers,
)
from .labels import number_of, subjects_of
from .missing import missing_images
from .regions import find_region, region_names
from .stimuli import Stimuli
from .trials import trials_of

__all__ = ["BOLD", "SIMULATOR", "SINGLE_TRIALS", "BidsFolder"]

SIMULATOR = "braind simulate"


class BidsFolder:
    """A BIDS folder, read for one task in one space. Methods raise BidsError, or DataSetError for an image."""

    def __init__(
        self,
        root: Path,
        task: str,
        space: str,
        *,
        estimates: str = "",
        sessions: Sequence[int | str] | None = None,
        cache: Path | None = None,
        labels: str = "",
        test_runs: list[int] | None = None,
        raw: Path | None = None,
        choice: Choice | None = None,
    ) -> None:
        """Open a folder. Raises BidsError if it is not a BIDS data set.

        Parameters
        ----------
        root : a derivative, or a raw data set with derivatives below it
        task, space : labels in the file names; `space` is "" if the names have none
        estimates : the `desc` label of single-trial responses, or "bold" to estimate them; "" takes responses labelled
            singletrial if there are any, else "bold"
        sessions : labels or numbers of the sessions to read; None is all sessions
        cache : folder for responses trial by trial; None keeps no cache
        labels : the column of the events that names each trial's class; "" reads only trials with pictures
        test_runs : runs that are held out, in every session, instead of the pictures that the table says
        raw : the raw data set with events and stimuli, if it is not the folder above `derivatives/`
        choice : which images are read, where a run has several
        """
        self.root = Path(root)
        if not (self.root / "dataset_description.json").is_file():
            raise BidsError(
                f"{self.root} is not a BIDS data set: it has no dataset_description.json; give the folder that has one",
                code="option",
            )
        if raw is not None and not raw.is_dir():
            raise BidsError(f"{raw} is no folder: give the raw data set with --raw", code="option")
        self.roots = data_roots(self.root, raw)
        self._choice = choice or Choice()
        self.task, self.space = task, space
        self._wanted_estimates, self._wanted_sessions = estimates, sessions
        self._cache = None if cache is None else TrialCache(cache)
        self._label_column, self._test_runs = labels, test_runs
        self._files: dict[int, list[BidsFile]] = {}
        self._runs: dict[int, list[BidsRun]] = {}
        self._series: dict[int, dict[tuple[int, int], RunSeries]] = {}

    # ── subjects and runs ─────────────────────────────────────────────────────────────────────────────────────────────

    def subjects(self) -> list[int]:
        """List the subjects by number; labels.py numbers their labels."""
        return sorted(self._labels)

    def is_simulated(self) -> bool:
        """Say whether the folder was made by `braind simulate`."""
        return SIMULATOR in makers(self.root)

    @property
    def estimates(self) -> str:
        """The responses that are read: a `desc` label, or "bold"."""
        has_responses = not self._wanted_estimates and any(self._images(one, SINGLE_TRIALS) for one in self.subjects())
        return self._wanted_estimates or (SINGLE_TRIALS if has_responses else BOLD)

    def sessions(self, subject: int) -> list[int]:
        """List the chosen sessions that have responses."""
        labels = {run.session: run.session_label for run in self.runs(subject)}
        wanted = labels if self._wanted_sessions is None else self._wanted_sessions
        return sorted({number_of(str(session), labels, "ses", self._name(subject)) for session in wanted})

    def runs(self, subject: int) -> list[BidsRun]:
        """Return the runs of all sessions that have trials and responses, in order."""
        if subject not in self._runs:
            if not (images := self._images(subject, self.estimates)):
                raise self._no_images(subject)
            wanted = EventsOf(self.task, self._label_column, self._choice.acq)
            runs = read_runs(self._files_of(subject), images, self.roots, wanted)
            sessions = {image.entities.get("ses", "") for image in images}
            self._runs[subject] = [run for run in runs if run.session_label in sessions]
            if not self._runs[subject]:
                raise BidsError(f"{images[0].path}: no events of task {self.task} have trials in its session: add them")
        return self._runs[subject]

    # ── anatomy ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def shape(self, subject: int) -> tuple[int, int, int]:
        """Return (X, Y, Z) of a subject's volumes."""
        return self._first_image(subject).shape[:3]

    def affine(self, subject: int) -> Array:
        """Return the map from voxel indices to mm: (4, 4) float64."""
        return self._first_image(subject).affine.astype(np.float64)

    def brainmask(self, subject: int) -> Array:
        """Return the brain mask: (X, Y, Z) bool."""
        return self._volume(self.brainmask_path(subject), subject) > 0

    def brainmask_path(self, subject: int) -> Path:
        """Return the file of the brain mask."""
        masks = [file for file in self._in_space(subject) if file.suffix == "mask" and file.has(desc="brain")]
        if not masks:
            raise BidsError(f"{self._name(subject)} has no …_desc-brain_mask.nii.gz{self._of_space()}: add it")
        return masks[0].path

    def label(self, subject: int) -> str:
        """Return the subject's label in file names, such as 01."""
        return self._labels[subject]

    def regions(self, subject: int) -> list[str]:
        """List the regions of the subject's segmentations and masks in the space."""
        return region_names(self._in_space(subject), self.roots)

    def roi_mask(self, subject: int, labels: list[str]) -> Array:
        """Return the union of labels: (X, Y, Z) bool.

        A label is a region of any segmentation (`_dseg.nii.gz` with its table) or of a given one ("streams:early"), a
        mask (`_label-NAME_mask.nii.gz`), or a NIfTI file of a mask.
        """
        mask = np.zeros(self.shape(subject), bool)
        for label in labels:
            if is_nifti_name(label):
                mask |= mask_of_file(label, subject, self.shape(subject), self.affine(subject))
                continue
            path, value = find_region(
                self._in_space(subject), self.roots, label, self._name(subject) + self._of_space()
            )
            volume = self._volume(path, subject)
            mask |= volume > 0 if value is None else np.rint(volume) == value
        return mask

    # ── trials and responses ────────────────────────────────────────────────────────────────────────────────────────

    def trials(self, subject: int) -> Trials:
        """Return the trials of the chosen sessions, in the order of `masked_betas`."""
        # A data set without pictures needs no table of pictures.
        trials = trials_of(self.runs(subject), lambda: self._stimuli)
        chosen = trials.of(np.isin(trials.session, self.sessions(subject)))
        return chosen.split_by_runs(self._test_runs, self._name(subject))

    def masked_betas(self, subject: int, sessions: list[int], voxel_index: Array) -> Array:
        """Return chosen voxels of whole sessions: (n_trials, n_voxels) float32, % signal change.

        `voxel_index` has positions in the flattened (C order) volume (X, Y, Z).
        """
        if self.estimates == BOLD:
            raise BidsError(f"{self.root} is read for its BOLD: responses are estimated, not read")
        return np.concatenate([self._session_voxels(subject, session, voxel_index) for session in sessions])

    # ── BOLD ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def bold_runs(self, subject: int, session: int) -> list[int]:
        """List a session's runs that have trials, by the numbers of `Trials.run`; each has a BOLD series."""
        return [run for of_session, run in self._bold_series(subject) if of_session == session]

    def bold_signal(self, subject: int, session: int, run: int, voxel_index: Array) -> BoldSignal:
        """Return chosen voxels of a run, and the onsets of its trials after the run's first volume."""
        series = self._bold_series(subject)[session, run]
        return read_signal(series, self._open(series.file, subject), voxel_index)

    def bold_mean(self, subject: int, session: int, run: int) -> Array:
        """Return a run's mean volume: (X, Y, Z) float32."""
        file = self._bold_series(subject)[session, run].file
        return scaled(self._open(file, subject)).mean(axis=3, dtype=np.float32)

    # ── pictures ────────────────────────────────────────────────────────────────────────────────────────────────────

    def pictures(self, nsd_ids: Array | list[int]) -> Array:
        """Return pictures in the given order, as squares of one size: (n_pictures, px, px, 3) uint8, RGB."""
        return self._stimuli.read(nsd_ids)

    def picture_files(self, nsd_ids: Array | list[int]) -> list[str]:
        """Return pictures' files, as the column `stim_file` of the table of captions names them."""
        return [self._stimuli.picture(int(number)).stim_file for number in nsd_ids]

    def captions(self, nsd_id: int) -> list[str]:
        """Return a picture's captions."""
        return self._stimuli.picture(nsd_id).captions

    def novel_kind_ids(self) -> list[int]:
        """List the test pictures that the table marks `novel`: no training picture shows this kind of object.

        The table's mark holds for its own split, so a split by runs has none.
        """
        pictures = [] if self._test_runs else self._stimuli.pictures
        return [number for number, picture in enumerate(pictures) if picture.novel]

    # ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _labels(self) -> dict[int, str]:
        return subjects_of(self.roots)

    @cached_property
    def _stimuli(self) -> Stimuli:
        return Stimuli.of_bids(self.roots, None if self._test_runs is None else "train")

    def _name(self, subject: int) -> str:
        return f"sub-{self._labels[subject]} of {self.root}"

    def _of_space(self) -> str:
        return f" in space {self.space}" if self.space else ""

    def _files_of(self, subject: int) -> list[BidsFile]:
        if subject not in self._labels:
            there = ", ".join(f"{number} (sub-{label})" for number, label in sorted(self._labels.items()))
            raise BidsError(
                f"{self.root} has no subject {subject}; it has {there or 'no folder sub-…'}: give a label",
                code="option",
            )
        if subject not in self._files:
            self._files[subject] = list(files_of_subject(self.roots, self._labels[subject]))
        return self._files[subject]

    def _bold_series(self, subject: int) -> dict[tuple[int, int], RunSeries]:
        """Return the BOLD series of the chosen sessions' runs, by session and run."""
        if subject not in self._series:
            chosen = [run for run in self.runs(subject) if run.session in self.sessions(subject)]
            series = series_of_runs(chosen, self._images(subject, BOLD), self.roots, self._of_space())
            self._series[subject] = {(one.run.session, one.run.run): one for one in series}
        return self._series[subject]

    def _in_space(self, subject: int) -> list[BidsFile]:
        images = [file for file in self._files_of(subject) if is_nifti_name(file.path.name)]
        in_space = [image for image in images if image.entities.get("space", "") == self.space]
        return [image for image in in_space if self._choice.takes(image)]

    def _images(self, subject: int, estimates: str) -> list[BidsFile]:
        return images_of(self._files_of(subject), self.task, self.space, estimates, self._choice)

    def _no_images(self, subject: int) -> BidsError:
        neither = "" if self._wanted_estimates or self.estimates != BOLD else f"{SINGLE_TRIALS} and no "
        wanted = f"{neither}{self.estimates} responses of task {self.task}{self._of_space()}{self._choice}"
        others = images_of(self._files_of(subject), self.task, self.space, self.estimates, Choice())
        why = missing_images(self._files_of(subject), self.task, wanted, others, self._choice)
        return BidsError(f"{self._name(subject)} {why}")

    def _first_image(self, subject: int) -> Any:
        images = self._images(subject, self.estimates)
        if not images:
            raise self._no_images(subject)
        return load_series(images[0].path)

    def _open(self, file: BidsFile, subject: int) -> Any:
        return self._on_grid(load_series(file.path), subject)

    def _volume(self, path: Path, subject: int) -> Array:
        return scaled(self._on_grid(load_nifti(path), subject)).reshape(self.shape(subject))

    def _on_grid(self, image: Any, subject: int) -> Any:
        check_grid(image, self.shape(subject), self.affine(subject), f"subject {subject}'s")
        return image

    def _session_voxels(self, subject: int, session: int, voxel_index: Array) -> Array:
        """Return a session's responses, (n_trials, n_voxels) float32, from the cache if there is one."""
        runs = [run for run in self.runs(subject) if run.session == session]
        images = images_of_runs(runs, self._images(subject, self.estimates), self.estimates, self._of_space())

        def read() -> Array:
            return read_betas(runs, [(run, file, self._open(file, subject)) for run, file in images], voxel_index)

        sources = [image.path for _, image in images] + [run.path for run in runs]
        how = f"{self.estimates} {self._label_column}".strip()
        return read() if self._cache is None else np.asarray(self._cache.session(sources, voxel_index, how, read))
