"""The Natural Scenes Dataset on disk, real or simulated: betas, ROIs, pictures, captions, BOLD. It is never written to.

Volumes are (X, Y, Z) as NIfTI orders axes, in space func1pt8mm. Subjects, sessions and runs count from 1, pictures (73k
ids) from 0. A cache of betas is kept on disk if a folder is given for it.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ....arrays import Array
from ..data_set import BoldSignal, Trials, chosen_sessions
from ..images import is_nifti_name, load_nifti, mask_of_file, scaled, stored
from ..trial_cache import TrialCache
from .atlas import atlases_in, find_label, read_labels, read_roi
from .betas import read_beta_voxels, read_betas
from .design import TRIALS_PER_SESSION, Captions, NsdDesign, read_design, read_onsets, read_pictures
from .files import MARKER, SPACE, Layout, NsdError, existing

__all__ = ["BETAS_VERSION", "BETA_SCALE", "BOLD_TR_S", "MARKER", "SPACE", "NsdError", "NsdTree", "Trials"]


TASK = "nsdcore"
"""The task's label in NSD's own BIDS files."""
ATLASES = ("streams", "prf-visualrois")
"""The atlases of visual cortex, which every subject has."""
BETAS_VERSION = "betas_fithrf_GLMdenoise_RR"
BETA_SCALE = 1 / 300
"""Stored int16 betas times this are % signal change."""
BOLD_TR_S = 4 / 3


class NsdTree:
    """A folder with NSD's layout. Every method raises NsdError, which names the missing file and the remedy."""

    bold_tr_s = BOLD_TR_S
    task, space = TASK, SPACE

    def __init__(
        self,
        root: Path,
        *,
        betas_version: str = BETAS_VERSION,
        sessions: list[int] | None = None,
        cache: Path | None = None,
        test_runs: list[int] | None = None,
    ) -> None:
        """Open a folder. Raises NsdError if it is not an NSD folder.

        Parameters
        ----------
        root : the folder that holds nsddata, nsddata_betas and nsddata_stimuli
        betas_version : one of NSD's three single-trial estimates
        sessions : sessions to read; None is all sessions on disk
        cache : folder for betas trial by trial; without it, sessions are read anew each time
        test_runs : runs that are held out, in every session, instead of the shared pictures
        """
        self.root = Path(root)
        self.estimates = betas_version
        self._files = Layout(self.root, betas_version)
        self._wanted_sessions, self._test_runs = sessions, test_runs
        self._cache = None if cache is None else TrialCache(cache)
        if not (self.root / "nsddata").is_dir():
            raise NsdError(
                f"{self.root} is not a Natural Scenes Dataset: it has no folder nsddata; give the folder that holds "
                "nsddata, nsddata_betas and nsddata_stimuli, or make a simulated one with `braind simulate`",
                code="option",
            )

    # ── subjects and sessions ───────────────────────────────────────────────────────────────────────────────────────

    def subjects(self) -> list[int]:
        """List the subjects that have a folder."""
        return self._files.subjects()

    def is_simulated(self) -> bool:
        """Say whether the tree was made by `braind simulate`."""
        return (self.root / MARKER).exists()

    def sessions(self, subject: int) -> list[int]:
        """List the chosen sessions that have betas on disk, which may be fewer than were scanned."""
        on_disk = self.sessions_on_disk(subject)
        if not on_disk:
            return []
        return chosen_sessions(on_disk, self._wanted_sessions, f"subject {subject} of {self.root}")

    def sessions_on_disk(self, subject: int) -> list[int]:
        """List the sessions that have betas on disk."""
        return self._files.beta_sessions(subject)

    def n_sessions(self, subject: int) -> int:
        """Count the chosen sessions."""
        return len(self.sessions(subject))

    # ── anatomy ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def shape(self, subject: int) -> tuple[int, int, int]:
        """Return (X, Y, Z) of a subject's volumes."""
        return self._brainmask_image(subject).shape

    def affine(self, subject: int) -> Array:
        """Return the map from voxel indices to mm: (4, 4) float64."""
        return self._brainmask_image(subject).affine.astype(np.float64)

    def brainmask(self, subject: int) -> Array:
        """Return the brain mask: (X, Y, Z) bool."""
        return stored(self._brainmask_image(subject)) > 0

    def brainmask_path(self, subject: int) -> Path:
        """Return the file of the brain mask."""
        return self._files.brainmask(subject)

    def label(self, subject: int) -> str:
        """Return the subject's label in file names, such as 01."""
        return f"{subject:02d}"

    def regions(self, subject: int) -> list[str]:
        """List the subject's regions of visual cortex: streams and visual areas."""
        present = {atlas: set(np.unique(self.roi(subject, atlas)).tolist()) for atlas in ATLASES}
        return [name for atlas in ATLASES for name, value in self.labels(atlas).items() if value in present[atlas]]

    def roi(self, subject: int, atlas: str) -> Array:
        """Return an atlas' labels: (X, Y, Z) int64, 0 in unlabelled cortex, below 0 outside cortex."""
        return read_roi(self._files.anatomy(subject) / "roi", atlas)

    def labels(self, atlas: str) -> dict[str, int]:
        """Return an atlas' labels, name → value, without the label of value 0."""
        return read_labels(self.root, atlas)

    def roi_mask(self, subject: int, labels: list[str]) -> Array:
        """Return the union of labels: (X, Y, Z) bool.

        A label is a name of any atlas ("early", "V1v"), a name of a given atlas ("streams:early"), or a NIfTI file of a
        mask on the subject's grid.
        """
        mask = np.zeros(self.shape(subject), bool)
        atlases = atlases_in(self._files.anatomy(subject) / "roi")
        for label in labels:
            if is_nifti_name(label):
                mask |= mask_of_file(label, subject, self.shape(subject), self.affine(subject))
                continue
            atlas, value = find_label(self.root, atlases, label)
            mask |= self.roi(subject, atlas) == value
        return mask

    def ncsnr(self, subject: int) -> Array:
        """Return the noise-ceiling signal-to-noise ratio, a ratio of standard deviations: (X, Y, Z) float32."""
        path = self._files.betas(subject) / "ncsnr.nii.gz"
        return scaled(load_nifti(existing(path, "the voxels' noise ceiling", f"download {self.estimates}")))

    # ── trials and betas ────────────────────────────────────────────────────────────────────────────────────────────

    def trials(self, subject: int, session: int | None = None) -> Trials:
        """Return the trials of one session, or of all chosen sessions, in the order of the betas."""
        if subject not in self.subjects() or subject > len(self._design.subject_ids):
            raise NsdError(f"{self.root} has no subject {subject}; it has {self.subjects()}", code="option")
        trials = self._design.trials(subject).split_by_runs(self._test_runs, f"subject {subject} of {self.root}")
        if session is None:
            sessions = self.sessions(subject)
            if not sessions:
                self._files.session_betas(subject, 1)  # raises: no session has a file
            return trials.of(np.isin(trials.session, sessions))
        if not 1 <= session <= self._design.n_sessions:
            raise NsdError(
                f"session {session}: the experiment has sessions 1 to {self._design.n_sessions}", code="option"
            )
        return trials.of(trials.session == session)

    def betas(self, subject: int, session: int) -> Array:
        """Return a session's betas as stored: (750, X, Y, Z) int16, % signal change x 300; a view, not contiguous."""
        return read_betas(self._files.session_betas(subject, session))

    def masked_betas(self, subject: int, sessions: list[int], voxel_index: Array) -> Array:
        """Return chosen voxels of whole sessions.

        Parameters
        ----------
        subject : int
        sessions : list of int
        voxel_index : array of shape (n_voxels,), int64
            Positions in the flattened (C order) volume (X, Y, Z).

        Returns
        -------
        betas : array of shape (n_trials, n_voxels), float32
            % signal change, in the order of `trials` for these sessions.
        """
        betas = np.empty((len(sessions) * TRIALS_PER_SESSION, len(voxel_index)), np.float32)
        for n, session in enumerate(sessions):
            rows = slice(n * TRIALS_PER_SESSION, (n + 1) * TRIALS_PER_SESSION)
            betas[rows] = self._session_voxels(subject, session, voxel_index)
        betas *= BETA_SCALE
        return betas

    def beta_volumes(self, subject: int, session: int, rows: Array | list[int]) -> Iterator[Array]:
        """Yield the volumes of a session's trials (rows from 0): (X, Y, Z) int16 as stored, 0 outside the brain."""
        brain = np.flatnonzero(self.brainmask(subject))
        betas = self._session_voxels(subject, session, brain)
        for row in rows:
            volume = np.zeros(self.shape(subject), betas.dtype)
            volume.flat[brain] = betas[row]
            yield volume

    # ── BOLD ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def bold_runs(self, subject: int, session: int) -> list[int]:
        """List a session's task runs that have a BOLD series on disk, by the numbers of `Trials.run`."""
        runs = self._files.bold_task_runs(subject, session)
        return [run for run in runs if self.bold_onsets(subject, session, run)]

    def bold_image(self, subject: int, session: int, run: int) -> Any:
        """Open a run's BOLD series, a NIfTI image, without reading its volumes."""
        name = f"timeseries/timeseries_{self._files.bold_file(subject, session, run)}.nii.gz"
        path = self._files.bold(subject) / name
        return load_nifti(existing(path, "a run's BOLD series", "download nsddata_timeseries of this session"))

    def bold_run(self, subject: int, session: int, run: int) -> Array:
        """Return a run's preprocessed volumes: (X, Y, Z, n_volumes) int16, scanner units, one per `bold_tr_s`."""
        return stored(self.bold_image(subject, session, run))

    def bold_signal(self, subject: int, session: int, run: int, voxel_index: Array) -> BoldSignal:
        """Return chosen voxels of a run, and the onsets of its trials."""
        series = self.bold_run(subject, session, run)
        voxels = series.reshape(-1, series.shape[3])[voxel_index].T.astype(np.float32)
        onsets_s = np.array([onset_s for onset_s, _ in self.bold_onsets(subject, session, run)])
        labels = ("",) * len(onsets_s)
        return BoldSignal(np.arange(len(voxels)), np.ascontiguousarray(voxels), onsets_s, self.bold_tr_s, labels=labels)

    def bold_mean(self, subject: int, session: int, run: int) -> Array:
        """Return a run's mean volume: (X, Y, Z) float32."""
        return self.bold_run(subject, session, run).mean(axis=3, dtype=np.float32)

    def bold_onsets(self, subject: int, session: int, run: int) -> list[tuple[float, int]]:
        """Return the run's trials: seconds since the first volume, and 0-based 73k id."""
        path = self._files.bold(subject) / f"design/design_{self._files.bold_file(subject, session, run)}.tsv"
        return read_onsets(path, BOLD_TR_S)

    # ── pictures ────────────────────────────────────────────────────────────────────────────────────────────────────

    def shared_ids(self) -> Array:
        """Return the pictures that all subjects see: (n_shared,) int64, 0-based 73k ids."""
        return self._design.shared_ids

    def novel_kind_ids(self) -> list[int]:
        """List the shared pictures of object kinds that no training picture shows (simulated trees only).

        If runs are held out instead of the shared pictures, none is listed.
        """
        if not self.is_simulated() or self._test_runs:
            return []
        return msgspec.json.decode((self.root / MARKER).read_bytes())["novel_kind_ids"]

    def pictures(self, nsd_ids: Array | list[int]) -> Array:
        """Return pictures in the given order: (n_pictures, px, px, 3) uint8, RGB."""
        return read_pictures(self.root, nsd_ids)

    def picture_files(self, nsd_ids: Array | list[int]) -> list[str]:
        """Return nothing: senders name NSD's pictures by their ids."""
        return []

    def captions(self, nsd_id: int) -> list[str]:
        """Return a picture's captions, usually five."""
        return self._captions.of(nsd_id)

    # ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _design(self) -> NsdDesign:
        return read_design(self.root)

    @cached_property
    def _captions(self) -> Captions:
        return Captions(self.root)

    def _brainmask_image(self, subject: int) -> Any:
        return load_nifti(self.brainmask_path(subject))

    def _session_voxels(self, subject: int, session: int, voxel_index: Array) -> Array:
        """Return a session's stored betas of some voxels, (750, n_voxels) int16, from the cache if there is one."""
        path = self._files.session_betas(subject, session)

        def read() -> Array:
            return read_beta_voxels(path, *np.unravel_index(voxel_index, self.shape(subject)))

        return read() if self._cache is None else self._cache.session([path], voxel_index, "as stored", read)
