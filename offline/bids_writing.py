"""Writes simulated subjects as a BIDS derivative, from a simulated NSD folder.

The files are written into a temporary folder beside `root`. The folder is renamed when it is complete.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from .. import __version__
from ..arrays import Array
from ..client.datasets.bids.files import BidsError
from ..client.datasets.bids.folder import SIMULATOR, SINGLE_TRIALS
from ..client.datasets.bids.stimuli import TABLE
from ..client.datasets.data_set import Trials
from ..client.datasets.nsd.atlas import LABEL_TABLES
from ..client.datasets.nsd.tree import BETA_SCALE, NsdTree
from ..client.replays.runs import picture_file
from .bids_tables import label, write_json, write_table

Progress = Callable[[str, int, int], None]  # description of the step, steps done, steps in total

TASK, SPACE = "nsd", "T1w"
PICTURE_S = 3.0
BATCH = 256  # pictures
README = """# SIMULATED DATA. NOBODY WAS SCANNED.

Pictures are computer-made scenes, subjects a computer's model of visual cortex; `braind simulate --bids` wrote this
folder. Do not report anything found in it as a finding about brains.

- `stimuli/captions.tsv`: what each picture shows, and whether it is held out (test); `novel` marks kinds of object that
  no training picture shows.
- `sub-*/ses-*/func/*_events.tsv`: which picture was shown when.
- `*_desc-singletrial_statmap.nii.gz`: one volume a trial, % signal change, in the order of the session's events.
  BIDS has no name for these yet, so `.bidsignore` lists them.
- `*_desc-preproc_bold.nii.gz`: preprocessed BOLD of some sessions.
- `*_dseg.nii.gz`, `*_mask.nii.gz`: regions, and the brain.
"""
# BIDS requires or recommends these fields. A sidecar at the top applies to every file that has its entities.
SIDECARS: dict[str, dict[str, Any]] = {
    f"task-{TASK}_space-{SPACE}_desc-{SINGLE_TRIALS}_statmap": {"TaskName": TASK, "Units": "percent signal change"},
    f"task-{TASK}_space-{SPACE}_desc-preproc_bold": {
        "TaskName": TASK,
        "RepetitionTime": NsdTree.bold_tr_s,
        "SkullStripped": True,
        "SpatialReference": "orig",
    },
    f"space-{SPACE}_desc-brain_mask": {"Type": "Brain", "SpatialReference": "orig"},
    f"task-{TASK}_events": {"stim_file": {"Description": "the picture of the trial, below stimuli/"}},
}


def write_bids(tree: NsdTree, subjects: Sequence[int], root: Path, progress: Progress) -> None:
    """Write simulated subjects of an NSD folder as a BIDS derivative at `root`.

    Raises
    ------
    BidsError
        If `root` is a file, or a folder that is not empty.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise BidsError(
            f"{root} is there already: choose a folder that is empty, or remove this one first", code="option"
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        _write_description(draft)
        trials = {subject: tree.trials(subject) for subject in subjects}
        _write_stimuli(draft, tree, trials.values(), progress)
        atlases = sorted(path.name.removesuffix(".mgz.ctab") for path in (tree.root / LABEL_TABLES).glob("*.mgz.ctab"))
        for atlas in atlases:
            rows = [(value, name) for name, value in tree.labels(atlas).items()]
            write_table(draft / f"seg-{label(atlas)}_dseg.tsv", ("index", "name"), rows)
            sidecar = {"SpatialReference": "orig"}
            write_json(draft / f"space-{SPACE}_seg-{label(atlas)}_dseg.json", sidecar)
        for subject in subjects:
            _write_anatomy(draft, tree, subject, atlases)
            sessions = tree.sessions(subject)
            for n, session in enumerate(sessions, 1):
                progress(f"subject {subject}, session {session}", n, len(sessions))
                _write_session(draft, tree, subject, session, trials[subject])
        draft.chmod(0o755)
        draft.replace(root)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _write_description(root: Path) -> None:
    (root / "README.md").write_text(README)
    (root / ".bidsignore").write_text("*_statmap.*\n")
    description = {
        "Name": "SIMULATED subjects looking at computer-made scenes: nobody was scanned",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "License": "CC0",
        "GeneratedBy": [{"Name": SIMULATOR, "Version": __version__}],
    }
    write_json(root / "dataset_description.json", description)
    for name, content in SIDECARS.items():
        write_json(root / f"{name}.json", content)


def _write_stimuli(root: Path, tree: NsdTree, trials: Iterable[Trials], progress: Progress) -> None:
    from PIL import Image

    seen = np.concatenate([each.nsd_id for each in trials])
    is_test = np.concatenate([each.is_shared for each in trials])
    numbers, first = np.unique(seen, return_index=True)
    (root / TABLE).parent.mkdir()
    for start in range(0, len(numbers), BATCH):
        batch = numbers[start : start + BATCH]
        for number, picture in zip(batch, tree.pictures(batch), strict=True):
            Image.fromarray(picture).save(root / "stimuli" / picture_file(number), compress_level=1)
        progress("pictures", start + len(batch), len(numbers))
    novel = set(tree.novel_kind_ids())
    rows = [
        (picture_file(number), caption, "test" if is_test[row] else "train", int(number in novel))
        for number, row in zip(numbers, first, strict=True)
        for caption in tree.captions(int(number))
    ]
    write_table(root / TABLE, ("stim_file", "caption", "split", "novel"), rows)


def _write_anatomy(root: Path, tree: NsdTree, subject: int, atlases: list[str]) -> None:
    folder = root / f"sub-{subject:02d}/anat"
    folder.mkdir(parents=True)
    stem, affine = f"{folder}/sub-{subject:02d}_space-{SPACE}", tree.affine(subject)
    _write_nifti(Path(f"{stem}_desc-brain_mask.nii.gz"), tree.brainmask(subject).astype(np.uint8), affine)
    for atlas in atlases:
        labels = np.maximum(tree.roi(subject, atlas), 0).astype(np.int16)
        _write_nifti(Path(f"{stem}_seg-{label(atlas)}_dseg.nii.gz"), labels, affine)


def _write_session(root: Path, tree: NsdTree, subject: int, session: int, trials: Trials) -> None:
    folder = root / f"sub-{subject:02d}/ses-{session:02d}/func"
    folder.mkdir(parents=True)
    stem = f"{folder}/sub-{subject:02d}_ses-{session:02d}_task-{TASK}"
    affine = tree.affine(subject)
    of_session = trials.of(trials.session == session)
    for run in np.unique(of_session.run):
        of_run = of_session.of(of_session.run == run)
        rows = [
            (f"{onset_s:.3f}", f"{PICTURE_S:.3f}", "picture", picture_file(number))
            for onset_s, number in zip(of_run.onset_s, of_run.nsd_id, strict=True)
        ]
        write_table(Path(f"{stem}_run-{run:02d}_events.tsv"), ("onset", "duration", "trial_type", "stim_file"), rows)
    betas = np.moveaxis(tree.betas(subject, session), 0, -1)
    _write_nifti(Path(f"{stem}_space-{SPACE}_desc-{SINGLE_TRIALS}_statmap.nii.gz"), betas, affine, scale=BETA_SCALE)
    for run in tree.bold_runs(subject, session):
        path = Path(f"{stem}_run-{run:02d}_space-{SPACE}_desc-preproc_bold.nii.gz")
        _write_nifti(path, tree.bold_run(subject, session, run), affine, tr_s=tree.bold_tr_s)


def _write_nifti(path: Path, volume: Array, affine: Array, *, tr_s: float = 0.0, scale: float | None = None) -> None:
    image = nib.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm", "sec")
    if tr_s:
        image.header.set_zooms((*image.header.get_zooms()[:3], tr_s))
    # With a slope in the header, nibabel does not rescale the array.
    image.header.set_slope_inter(scale, None if scale is None else 0)
    nib.save(image, path)
