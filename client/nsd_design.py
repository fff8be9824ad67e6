"""NSD's experiment design and picture table: which trial shows which picture, and where a picture's captions are.

Everything is counted from 0 here; the files count 73k ids and positions from 1.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .data_set import Trials, times_seen_before
from .nsd_files import NsdError, existing

Array = NDArray[Any]

TRIALS_PER_SESSION = 750
SLOT_S = 4.0  # 3 s of picture, 1 s of grey
DESIGN_PATH = "nsddata/experiments/nsd/nsd_expdesign.mat"
STIM_INFO_PATH = "nsddata/experiments/nsd/nsd_stim_info_merged.csv"
# COCO's own file names; the first folder is where nsd_access keeps them
CAPTION_FOLDERS = ("nsddata_stimuli/stimuli/nsd/annotations", "annotations")


@dataclass(frozen=True)
class Design:
    """nsd_expdesign.mat: `master_ordering` (n_trials,), `subject_ids` (n_subjects, n_pictures) 0-based 73k ids,
    `shared_ids` (n_shared,) and `stim_pattern` (n_sessions, 12, 75), 1 where a slot shows a picture.
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
        )


@dataclass(frozen=True)
class PictureTable:
    """nsd_stim_info_merged.csv: COCO id and split of each 73k id (row)."""

    coco_ids: Array
    coco_splits: list[str]


class _Annotation(msgspec.Struct):
    image_id: int
    caption: str


class _Annotations(msgspec.Struct):
    annotations: list[_Annotation]


def read_design(root: Path) -> Design:
    """Read nsd_expdesign.mat below an NSD folder. Raises NsdError if it is missing or not what it should be."""
    from scipy.io import loadmat  # scipy: 0.1 s, and only design readers need it

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
    return Design(
        master_ordering=design["masterordering"].ravel().astype(np.int64) - 1,
        subject_ids=design["subjectim"].astype(np.int64) - 1,
        shared_ids=design["sharedix"].ravel().astype(np.int64) - 1,
        stim_pattern=design["stimpattern"],
    )


def read_picture_table(root: Path) -> PictureTable:
    """Read which COCO picture each 73k id is. Raises NsdError if the table is missing or has other columns."""
    path = existing(root / STIM_INFO_PATH, "the COCO ids of pictures", "download nsddata/experiments/nsd")
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        if rows.fieldnames is None or not {"cocoId", "cocoSplit"} <= set(rows.fieldnames):
            raise NsdError(f"{path} has no columns cocoId and cocoSplit: it is not NSD's table; download it again")
        coco = [(int(row["cocoId"]), row["cocoSplit"]) for row in rows]
    return PictureTable(np.array([id_ for id_, _ in coco], np.int64), [split for _, split in coco])


def read_captions(root: Path, split: str) -> dict[int, list[str]]:
    """Read all captions of a COCO split ("train2017" or "val2017"): COCO id → captions, in the file's order."""
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
