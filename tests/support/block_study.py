"""A BIDS folder of raw BOLD with blocks of classes: no pictures, no derivatives."""

import json

import numpy as np
from bids_study import AFFINE, SHAPE, nifti, table, text
from block_runs import TR_S, class_runs

CLASSES = ("animal", "house", "tool")


def block_study(root, n_runs=3, classes=CLASSES, change=None):
    """Write runs of one block a class; `change(run, rows, volumes)` returns other rows and volumes of a run.

    A row is an onset and a duration in s, and a class.
    """
    text(root / "dataset_description.json", json.dumps({"Name": "blocks", "BIDSVersion": "1.10.0"}))
    nifti(root / "mask.nii.gz", np.ones(SHAPE, np.uint8))
    patterns = np.random.default_rng(1).normal(1, 0.8, (len(classes), np.prod(SHAPE)))
    for number, run in enumerate(class_runs(n_runs, patterns, seed=2, duration_s=15.0, rest_s=10.0, tail_s=12.5), 1):
        names = [classes[int(label.removeprefix("class-"))] for label in run.labels]
        rows, volumes = list(zip(run.onsets_s, run.durations_s, names, strict=True)), run.volumes
        if change:
            rows, volumes = change(number, rows, volumes)
        stem = root / f"sub-01/func/sub-01_task-blocks_run-{number}"
        nifti(stem.with_name(f"{stem.name}_bold.nii.gz"), volumes.T.reshape(*SHAPE, -1), AFFINE, TR_S)
        table(stem.with_name(f"{stem.name}_events.tsv"), ("onset", "duration", "trial_type"), *rows)
    return root


def block_options(root, data):
    """Return the options of a command that reads the study."""
    mask = str(root / "mask.nii.gz")
    return [
        "--data", str(data), "--bids", str(root), "--task", "blocks", "--labels", "trial_type",
        "--z-rois", mask, "--c-rois", mask,
    ]  # fmt: skip
