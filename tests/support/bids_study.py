"""A BIDS folder as fMRIPrep and a laboratory leave it, written by hand."""

import json

import nibabel as nib
import numpy as np
from PIL import Image

SHAPE = (4, 5, 3)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
PER_RUN = 6


def nifti(path, numbers, affine=AFFINE, tr_s=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(numbers, affine)
    if tr_s:
        image.header.set_zooms((2.0, 2.0, 2.0, tr_s))
    nib.save(image, path)


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def table(path, *rows):
    text(path, "\n".join("\t".join(str(cell) for cell in row) for row in rows) + "\n")


def events(path, names):
    rows = [(2.0 + 4 * n, 3.0, name) for n, name in enumerate(names)]
    table(path, ("onset", "duration", "stim_file"), *rows, (90.0, 1.0, "n/a"))


def study(folder):
    """Two subjects, two sessions of two runs, raw data above fMRIPrep's derivatives; subject 2 has BOLD alone."""
    root = folder / "study"
    prep = root / "derivatives/fmriprep"
    for folder in (root, prep):
        text(folder / "dataset_description.json", json.dumps({"Name": "own", "BIDSVersion": "1.10.0"}))
    rng = np.random.default_rng(4)
    names = [f"set/p{n}.jpg" for n in range(8)]
    for n, name in enumerate(names):
        (root / "stimuli/set").mkdir(parents=True, exist_ok=True)
        size = (40, 30) if n % 2 else (24, 24)
        Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), dtype=np.uint8)).save(root / "stimuli" / name)
    rows = [(name, f"{which} words of {name}", "test" if n < 2 else "train")
            for n, name in enumerate(names) for which in ("first", "second")]  # fmt: skip
    table(root / "stimuli/captions.tsv", ("stim_file", "caption", "split"), *rows)
    for subject in ("S01", "S02"):
        for session in ("01", "02"):
            for run in ("1", "2"):
                stem = f"ses-{session}/func/sub-{subject}_ses-{session}_task-look_run-{run}"
                events(root / f"sub-{subject}/{stem}_events.tsv", rng.permutation(names)[:PER_RUN])
                own = prep / f"sub-{subject}"
                bold = rng.normal(1000, 9, (*SHAPE, 30)).astype(np.float32)
                nifti(own / f"{stem}_space-MNI_desc-preproc_bold.nii.gz", bold, tr_s=2.0)
                text(own / f"{stem}_space-MNI_desc-preproc_bold.json", '{"RepetitionTime": 1.5, "StartTime": 0.5}')
                if subject == "S01":
                    betas = rng.normal(size=(*SHAPE, PER_RUN)).astype(np.float32)
                    nifti(own / f"{stem}_space-MNI_desc-singletrial_statmap.nii.gz", betas)
        anatomy = f"anat/sub-{subject}_space-MNI"
        labels = np.zeros(SHAPE, np.int16)
        labels[0], labels[1] = 1, 2
        nifti(own / f"{anatomy}_desc-aparc_dseg.nii.gz", labels)
        nifti(own / f"{anatomy}_label-EVC_mask.nii.gz", (labels == 2).astype(np.uint8))
        nifti(own / f"{anatomy}_desc-brain_mask.nii.gz", (labels > 0).astype(np.uint8))
    table(prep / "desc-aparc_dseg.tsv", ("index", "name"), (1, "early"), (2, "ventral"))
    return root
