"""NSD's experiment design: the picture of each trial, and the pictures with their captions.

Pictures count from 0 here; the files count 73k ids and positions from 1.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from ....arrays import Array
from ..data_set import Trials, times_seen_before
from .files import NsdError, dataset, existing, open_hdf5

TRIALS_PER_SESSION = 750
SLOT_S = 4.0
"""A slot is 3 s of picture and 1 s of grey."""
DESIGN_PATH = "nsddata/experiments/nsd/nsd_expdesign.mat"
STIM_INFO_PATH = "nsddata/experiments/nsd/nsd_stim_info_merged.csv"
PICTURES_PATH = "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
CAPTION_FOLDERS = ("nsddata_stimuli/stimuli/nsd/annotations", "annotations")
"""Folders of COCO's caption files; nsd_access keeps them in the first."""


@dataclass(frozen=True)
class NsdDesign:
    """The contents of nsd_expdesign.mat.

    Parameters
    ----------
    master_ordering : array of shape (n_trials,), int64
        The position of each trial's picture among the subject's pictures.
    subject_ids : array of shape (n_subjects, n_pictures), int64
        0-based 73k ids.
    shared_ids : array of shape (n_shared,), int64
        0-based 73k ids of the pictures that all subjects see.
    stim_pattern : array of shape (n_sessions, 12, 75)
        1 where a slot of a run shows a picture.
    """

    master_ordering: Array
    subject_ids: Array
    shared_ids: Array
    stim_pattern: Array

    @property
    def n_sessions(self) -> int:
        """Return the number of planned sessions."""
        return min(len(self.stim_pattern), len(self.master_ordering) // TRIALS_PER_SESSION)

    def trials(self, subject: int) -> Trials:
        """Return every planned trial of a subject (from 1), scanned or not."""
        n_trials = self.n_sessions * TRIALS_PER_SESSION
        slots = np.argwhere(self.stim_pattern[: self.n_sessions] == 1)
        runs = slots[:, 0] * self.stim_pattern.shape[1] + slots[:, 1]
        starts = np.searchsorted(runs, runs)
        nsd_id = self.subject_ids[subject - 1, self.master_ordering[:n_trials]]
        return Trials(
            session=slots[:, 0] + 1,
            run=slots[:, 1] + 1,
            trial_in_run=np.arange(n_trials) - starts + 1,
            nsd_id=nsd_id,
            is_shared=np.isin(nsd_id, self.shared_ids),
            repeat=times_seen_before(nsd_id),
            onset_s=slots[:, 2] * SLOT_S,
            label=np.full(n_trials, ""),
        )


@dataclass(frozen=True)
class PictureTable:
    """The COCO id and split of each picture; row n is the picture with 0-based 73k id n.

    Source: nsd_stim_info_merged.csv.
    """

    coco_ids: Array
    coco_splits: list[str]


class _Annotation(msgspec.Struct):
    image_id: int
    caption: str


class _Annotations(msgspec.Struct):
    annotations: list[_Annotation]


def read_design(root: Path) -> NsdDesign:
    """Read nsd_expdesign.mat of an NSD folder. Raises NsdError if it is missing or is another file."""
    from scipy.io import loadmat  # importing scipy takes 0.1 s, and only this function needs it

    path = existing(root / DESIGN_PATH, "the order of trials", "download nsddata/experiments/nsd")
    try:
        design = loadmat(path)
    except (OSError, ValueError, NotImplementedError) as error:
        raise NsdError(f"{path} cannot be read as a MATLAB file ({error}): download it again") from error
    wanted = ("masterordering", "subjectim", "sharedix", "stimpattern")
    missing = [name for name in wanted if name not in design]
    if missing:
        raise NsdError(f"{path} has no {', '.join(missing)}: it is not NSD's design file; download it again")
    n_pictured = design["stimpattern"].reshape(len(design["stimpattern"]), -1).sum(1)
    if (n_pictured != TRIALS_PER_SESSION).any():
        raise NsdError(f"{path}: stimpattern has a session without 750 trials; download the file again")
    return NsdDesign(
        master_ordering=design["masterordering"].ravel().astype(np.int64) - 1,
        subject_ids=design["subjectim"].astype(np.int64) - 1,
        shared_ids=design["sharedix"].ravel().astype(np.int64) - 1,
        stim_pattern=design["stimpattern"],
    )


def read_picture_table(root: Path) -> PictureTable:
    """Read the COCO picture of each 73k id. Raises NsdError if the table is missing or has other columns."""
    path = existing(root / STIM_INFO_PATH, "the COCO ids of pictures", "download nsddata/experiments/nsd")
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        if rows.fieldnames is None or not {"cocoId", "cocoSplit"} <= set(rows.fieldnames):
            raise NsdError(f"{path} has no columns cocoId and cocoSplit: it is not NSD's table; download it again")
        coco = [(int(row["cocoId"]), row["cocoSplit"]) for row in rows]
    return PictureTable(np.array([id_ for id_, _ in coco], np.int64), [split for _, split in coco])


def read_captions(root: Path, split: str) -> dict[int, list[str]]:
    """Read all captions of a COCO split ("train2017" or "val2017"): COCO id → captions, in the file's order.

    Raises
    ------
    NsdError
        The file is missing or damaged.
    """
    name = f"captions_{split}.json"
    found = [path for folder in CAPTION_FOLDERS if (path := root / folder / name).exists()]
    path = existing(
        found[0] if found else root / CAPTION_FOLDERS[0] / name,
        "the pictures' captions",
        "download annotations_trainval2017.zip from cocodataset.org and put its annotations there",
    )
    try:
        rows = msgspec.json.decode(path.read_bytes(), type=_Annotations).annotations
    except msgspec.DecodeError as error:
        raise NsdError(f"{path} is not a COCO caption file ({error}): download it again") from error
    captions: dict[int, list[str]] = {}
    for row in rows:
        captions.setdefault(row.image_id, []).append(row.caption)
    return captions


class Captions:
    """The captions of an NSD folder's pictures; a COCO split is read when its first picture is asked for."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._table: PictureTable | None = None
        self._of_split: dict[str, dict[int, list[str]]] = {}

    def of(self, nsd_id: int) -> list[str]:
        """Return the captions of a picture. Raises NsdError if the picture or its captions are missing."""
        self._table = table = self._table or read_picture_table(self._root)
        if not 0 <= nsd_id < len(table.coco_ids):
            raise NsdError(f"picture {nsd_id}: the table of pictures has 0 to {len(table.coco_ids) - 1}")
        split = table.coco_splits[nsd_id]
        if split not in self._of_split:
            self._of_split[split] = read_captions(self._root, split)
        coco_id = int(table.coco_ids[nsd_id])
        if coco_id not in self._of_split[split]:
            raise NsdError(f"captions_{split}.json has nothing for COCO picture {coco_id}: download the whole file")
        return self._of_split[split][coco_id]


def read_pictures(root: Path, nsd_ids: Array | list[int]) -> Array:
    """Return pictures in the given order: (n_pictures, px, px, 3) uint8, RGB.

    Raises
    ------
    NsdError
        The file is missing or damaged, or has no such picture.
    """
    path = existing(root / PICTURES_PATH, "the pictures", "download nsddata_stimuli")
    with open_hdf5(path) as file:
        brick = dataset(file, "imgBrick")
        beyond = [int(nsd_id) for nsd_id in nsd_ids if not 0 <= nsd_id < len(brick)]
        if beyond:
            raise NsdError(f"picture {beyond[0]}: {path} has the pictures 0 to {len(brick) - 1}")
        return np.stack([brick[int(nsd_id)] for nsd_id in nsd_ids]) if len(nsd_ids) else brick[:0]


def read_onsets(path: Path, tr_s: float) -> list[tuple[float, int]]:
    """Return the trials of a BOLD run's design file: seconds since the first volume, and 0-based 73k id.

    The file has one row per volume: the 1-based 73k id of the picture that appears, or 0. Raises NsdError if the file
    is missing.
    """
    existing(path, "the onsets of a run's trials", "download nsddata_timeseries/…/design of this session")
    ids = np.loadtxt(path, dtype=np.int64, ndmin=1)
    return [(float(volume * tr_s), int(ids[volume]) - 1) for volume in np.flatnonzero(ids)]
