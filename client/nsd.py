"""The Natural Scenes Dataset on disk, real or simulated: betas, ROIs, pictures, captions, BOLD, read and never written.

Volumes are (X, Y, Z) as NIfTI orders them, in space func1pt8mm; subjects, sessions and runs count from 1, pictures
(73k ids) from 0. The only thing kept on disk is a cache of betas, if a folder is given for it.
"""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .data_set import BoldSignal, Trials, chosen_sessions
from .images import is_nifti_name, load_nifti, mask_of_file, scaled, stored
from .nsd_atlas import atlases_in, find_label, read_labels
from .nsd_design import TRIALS_PER_SESSION, Design, PictureTable, read_captions, read_design, read_picture_table
from .nsd_files import NsdError, dataset, existing, open_hdf5
from .trial_cache import TrialCache

__all__ = ["BETA_SCALE", "BETAS_VERSION", "BOLD_TR_S", "SPACE", "NsdError", "NsdTree", "Trials"]

Array = NDArray[Any]

SPACE = "func1pt8mm"
TASK = "nsdcore"  # as NSD's own BIDS files call it
ATLASES = ("streams", "prf-visualrois")
"""Of visual cortex, which every subject has."""
BETAS_VERSION = "betas_fithrf_GLMdenoise_RR"
BETA_SCALE = 1 / 300  # NSD stores % signal change x 300 as int16
BOLD_TR_S = 4 / 3
MARKER = "simulated.json"


class NsdTree:
    """A folder with NSD's layout. Methods raise NsdError, which names the missing file and what to do about it."""

    bold_tr_s = BOLD_TR_S
    task, space = TASK, SPACE

    def __init__(
        self,
        root: Path,
        *,
        betas_version: str = BETAS_VERSION,
        sessions: list[int] | None = None,
        cache: Path | None = None,
    ) -> None:
        """Open a folder. Raises NsdError if it is no NSD folder at all.

        Parameters
        ----------
        root : Path
        betas_version : which of NSD's three estimates of single-trial responses
        sessions : those to read; all that are there if not given
        cache : folder for betas trial by trial; without one, sessions are read anew each time
        """
        self.root = Path(root)
        self.estimates = betas_version
        self._wanted_sessions = sessions
        self._cache = None if cache is None else TrialCache(cache)
        if not (self.root / "nsddata").is_dir():
            raise NsdError(
                f"{self.root} is not a Natural Scenes Dataset: it has no folder nsddata; give the folder that holds "
                "nsddata, nsddata_betas and nsddata_stimuli, or make a simulated one with `braind simulate`"
            )
        self._captions: dict[str, dict[int, list[str]]] = {}

    # ── what is there ───────────────────────────────────────────────────────────────────────────────────────────────

    def subjects(self) -> list[int]:
        """List the subjects that have a folder."""
        folders = (self.root / "nsddata/ppdata").glob("subj[0-9][0-9]")
        return sorted(int(folder.name[4:]) for folder in folders)

    def is_simulated(self) -> bool:
        """Say whether the tree was made by `braind simulate`."""
        return (self.root / MARKER).exists()

    def sessions(self, subject: int) -> list[int]:
        """List the chosen sessions, of those whose betas are on disk, which may be fewer than were scanned."""
        there = self.sessions_on_disk(subject)
        return chosen_sessions(there, self._wanted_sessions, f"subject {subject} of {self.root}") if there else []

    def sessions_on_disk(self, subject: int) -> list[int]:
        """List the sessions whose betas are on disk."""
        names = [path.name for path in self._betas_folder(subject).glob("betas_session*")]
        matches = [re.fullmatch(r"betas_session(\d+)\.(hdf5|nii\.gz)", name) for name in names]
        return sorted({int(match[1]) for match in matches if match})

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
        """Return where the brain is: (X, Y, Z) bool."""
        return stored(self._brainmask_image(subject)) > 0

    def brainmask_path(self, subject: int) -> Path:
        """Return the file of the brain mask."""
        path = self._folder(subject) / "brainmask.nii.gz"
        return existing(path, "the brain mask and the affine", f"download nsddata/ppdata/…/{SPACE}")

    def label(self, subject: int) -> str:
        """Return the subject's label in names of files."""
        return f"{subject:02d}"

    def regions(self, subject: int) -> list[str]:
        """List the regions of visual cortex that the subject has: streams, and visual areas."""
        present = {atlas: set(np.unique(self.roi(subject, atlas)).tolist()) for atlas in ATLASES}
        return [name for atlas in ATLASES for name, value in self.labels(atlas).items() if value in present[atlas]]

    def roi(self, subject: int, atlas: str) -> Array:
        """Return an atlas' labels: (X, Y, Z) int, 0 in cortex without a label, below 0 outside cortex."""
        path = self._folder(subject) / "roi" / f"{atlas}.nii.gz"
        if not path.exists():
            raise NsdError(
                f"{path} is missing; it holds the regions of atlas {atlas}: download it, or choose one of "
                f"{', '.join(atlases_in(path.parent)) or 'none: the folder is empty'}"
            )
        return np.rint(scaled(load_nifti(path))).astype(np.int64)

    def labels(self, atlas: str) -> dict[str, int]:
        """Return an atlas' labels, name → value, without the one of value 0."""
        return read_labels(self.root, atlas)

    def roi_mask(self, subject: int, labels: list[str]) -> Array:
        """Return where any of the labels is: (X, Y, Z) bool.

        A label is a name of any atlas ("early", "V1v"), one of a named atlas ("streams:early"), or a NIfTI file of a
        mask on the subject's grid.
        """
        mask = np.zeros(self.shape(subject), bool)
        atlases = atlases_in(self._folder(subject) / "roi")
        for label in labels:
            if is_nifti_name(label):
                mask |= mask_of_file(label, subject, self.shape(subject), self.affine(subject))
                continue
            atlas, value = find_label(self.root, atlases, label)
            mask |= self.roi(subject, atlas) == value
        return mask

    def ncsnr(self, subject: int) -> Array:
        """Return the noise-ceiling signal-to-noise ratio (standard deviations): (X, Y, Z) float32."""
        path = existing(
            self._betas_folder(subject) / "ncsnr.nii.gz", "the voxels' noise ceiling", f"download {self.estimates}"
        )
        return scaled(load_nifti(path))

    # ── trials and betas ────────────────────────────────────────────────────────────────────────────────────────────

    def trials(self, subject: int, session: int | None = None) -> Trials:
        """Return the trials of one session, or of all sessions whose betas are on disk, in the betas' order."""
        if subject not in self.subjects() or subject > len(self._design.subject_ids):
            raise NsdError(f"{self.root} has no subject {subject}; it has {self.subjects()}")
        trials = self._design.trials(subject)
        if session is None:
            sessions = self.sessions(subject)
            if not sessions:
                self._betas_path(subject, 1)  # raises: there is no betas file at all
            return trials.of(np.isin(trials.session, sessions))
        if not 1 <= session <= self._design.n_sessions:
            raise NsdError(f"session {session}: the experiment has sessions 1 to {self._design.n_sessions}")
        return trials.of(trials.session == session)

    def betas(self, subject: int, session: int) -> Array:
        """Return a session's betas as stored: (750, X, Y, Z) int16, % signal change x 300; a view, not contiguous."""
        path = self._betas_path(subject, session)
        if path.suffix == ".hdf5":
            with open_hdf5(path) as file:
                # MATLAB wrote X, Y, Z, trial; h5py reads the axes in reverse
                return dataset(file, "betas")[:].transpose(0, 3, 2, 1)
        return np.moveaxis(stored(load_nifti(path)), -1, 0)

    def masked_betas(self, subject: int, sessions: list[int], voxel_index: Array) -> Array:
        """Read chosen voxels of whole sessions.

        Parameters
        ----------
        subject : int
        sessions : list of int
        voxel_index : array of shape (n_voxels,), int64
            Positions in the flattened (C order) volume (X, Y, Z).

        Returns
        -------
        betas : array of shape (n_trials, n_voxels), float32
            % signal change, trials in the order of `trials` for these sessions.
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
        """List the task runs of a session that have a BOLD series on disk, by the number in the file's name.

        Sessions with resting state have 14 files, of which the first and the last are rest: no picture, not listed.
        """
        folder = self._bold_folder(subject) / "timeseries"
        names = [path.name for path in folder.glob(f"timeseries_session{session:02d}_run*.nii.gz")]
        runs = sorted(int(name.split("_run")[1][:2]) for name in names)
        return [run for run in runs if not (14 in runs and run in (1, 14)) and self.bold_onsets(subject, session, run)]

    def bold_run(self, subject: int, session: int, run: int) -> Array:
        """Return a run's preprocessed volumes: (X, Y, Z, n_volumes) int16, scanner units, one every `bold_tr_s`."""
        path = self._bold_folder(subject) / f"timeseries/timeseries_session{session:02d}_run{run:02d}.nii.gz"
        existing(path, "a run's BOLD series", "download nsddata_timeseries of this session")
        return stored(load_nifti(path))

    def bold_signal(self, subject: int, session: int, run: int, voxel_index: Array) -> BoldSignal:
        """Return chosen voxels of a run, and its trials' onsets."""
        series = self.bold_run(subject, session, run)
        voxels = series.reshape(-1, series.shape[3])[voxel_index].T.astype(np.float32)
        onsets_s = np.array([onset_s for onset_s, _ in self.bold_onsets(subject, session, run)])
        return BoldSignal(np.arange(len(voxels)), np.ascontiguousarray(voxels), onsets_s, self.bold_tr_s)

    def bold_mean(self, subject: int, session: int, run: int) -> Array:
        """Return a run's mean volume: (X, Y, Z) float32."""
        return self.bold_run(subject, session, run).mean(axis=3, dtype=np.float32)

    def bold_onsets(self, subject: int, session: int, run: int) -> list[tuple[float, int]]:
        """Return the run's trials: seconds since the first volume, and 0-based 73k id."""
        path = existing(
            self._bold_folder(subject) / f"design/design_session{session:02d}_run{run:02d}.tsv",
            "the onsets of a run's trials",
            "download nsddata_timeseries/…/design of this session",
        )
        ids = np.loadtxt(path, dtype=np.int64, ndmin=1)
        return [(float(volume * BOLD_TR_S), int(ids[volume]) - 1) for volume in np.flatnonzero(ids)]

    # ── pictures ────────────────────────────────────────────────────────────────────────────────────────────────────

    def shared_ids(self) -> Array:
        """Return the pictures that all subjects see: (n_shared,) int64, 0-based 73k ids."""
        return self._design.shared_ids

    def novel_kind_ids(self) -> list[int]:
        """List the shared pictures of object kinds that no subject sees otherwise (simulated trees only)."""
        if not self.is_simulated():
            return []
        return msgspec.json.decode((self.root / MARKER).read_bytes())["novel_kind_ids"]

    def pictures(self, nsd_ids: Array | list[int]) -> Array:
        """Return pictures in the order asked for: (n_pictures, px, px, 3) uint8, RGB."""
        path = existing(
            self.root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5", "the pictures", "download nsddata_stimuli"
        )
        with open_hdf5(path) as file:
            brick = dataset(file, "imgBrick")
            beyond = [int(nsd_id) for nsd_id in nsd_ids if not 0 <= nsd_id < len(brick)]
            if beyond:
                raise NsdError(f"picture {beyond[0]}: {path} has the pictures 0 to {len(brick) - 1}")
            return np.stack([brick[int(nsd_id)] for nsd_id in nsd_ids]) if len(nsd_ids) else brick[:0]

    def captions(self, nsd_id: int) -> list[str]:
        """Return a picture's captions, usually five."""
        table = self._picture_table
        if not 0 <= nsd_id < len(table.coco_ids):
            raise NsdError(f"picture {nsd_id}: the table of pictures has 0 to {len(table.coco_ids) - 1}")
        split = table.coco_splits[nsd_id]
        if split not in self._captions:
            self._captions[split] = read_captions(self.root, split)
        coco_id = int(table.coco_ids[nsd_id])
        if coco_id not in self._captions[split]:
            raise NsdError(f"captions_{split}.json has nothing for COCO picture {coco_id}: download the whole file")
        return self._captions[split][coco_id]

    # ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _design(self) -> Design:
        return read_design(self.root)

    @cached_property
    def _picture_table(self) -> PictureTable:
        return read_picture_table(self.root)

    def _folder(self, subject: int) -> Path:
        return existing(
            self.root / f"nsddata/ppdata/subj{subject:02d}/{SPACE}",
            f"subject {subject}'s anatomy",
            f"this tree has subjects {self.subjects()}; download nsddata/ppdata for others",
        )

    def _betas_folder(self, subject: int) -> Path:
        return self.root / f"nsddata_betas/ppdata/subj{subject:02d}/{SPACE}/{self.estimates}"

    def _bold_folder(self, subject: int) -> Path:
        return self.root / f"nsddata_timeseries/ppdata/subj{subject:02d}/{SPACE}"

    def _brainmask_image(self, subject: int) -> Any:
        return load_nifti(self.brainmask_path(subject))

    def _betas_path(self, subject: int, session: int) -> Path:
        stem = self._betas_folder(subject) / f"betas_session{session:02d}"
        # hdf5 first: it is uncompressed, and a part of it can be read
        for path in (stem.with_suffix(".hdf5"), stem.with_suffix(".nii.gz")):
            if path.exists():
                return path
        raise NsdError(
            f"{stem}.hdf5 (or .nii.gz) is missing; it holds the betas of subject {subject}, session {session}: "
            f"download it, or choose among the sessions there: {self.sessions_on_disk(subject) or 'none'}"
            + self._other_versions(subject)
        )

    def _other_versions(self, subject: int) -> str:
        """Say which other versions of the betas are there."""
        folders = self._betas_folder(subject).parent.glob("betas_*")
        others = sorted(folder.name for folder in folders if folder.name != self.estimates)
        return f", or another version with --betas: {', '.join(others)}" if others else ""

    def _session_voxels(self, subject: int, session: int, voxel_index: Array) -> Array:
        """Return a session's stored betas of some voxels: (750, n_voxels) int16, from the cache if there is one."""

        def read() -> Array:
            return self._read_voxels(subject, session, *np.unravel_index(voxel_index, self.shape(subject)))

        if self._cache is None:
            return read()
        return self._cache.session([self._betas_path(subject, session)], voxel_index, "as stored", read)

    def _read_voxels(self, subject: int, session: int, x: Array, y: Array, z: Array) -> Array:
        """Return a session's stored betas at voxel coordinates: (750, n_voxels) int16."""
        path = self._betas_path(subject, session)
        if path.suffix != ".hdf5" or len(x) == 0:
            return self.betas(subject, session)[:, x, y, z]
        with open_hdf5(path) as file:
            on_disk = dataset(file, "betas")
            # a chunk is one voxel's session: the box around the voxels is all that needs reading
            box = on_disk[:, z.min() : z.max() + 1, y.min() : y.max() + 1, x.min() : x.max() + 1]
        return box[:, z - z.min(), y - y.min(), x - x.min()]
