"""Simulated BOLD runs of blocks: known responses, noise, a baseline, and a class for each block; and a BIDS folder."""

import json

import numpy as np
from bids_study import AFFINE, SHAPE, nifti, table, text

from braind.models.bold.finished_run import FinishedRun, estimates_of
from braind.models.bold.hrf import response
from braind.models.weights.bold_prior import CANONICAL, BoldPrior

TR_S = 2.5
CLASSES = ("animal", "house", "tool")


def prior_of(n_voxels, **settings):
    return BoldPrior(
        np.full(n_voxels, CANONICAL), np.ones(n_voxels, np.float32), np.full(n_voxels, 0.3, np.float32),
        **{"amplitude_variance": 10.0, "drift_variance": 0.01, **settings},
    )  # fmt: skip


def run_of(onsets_s, durations_s, betas, rng, noise=0.3, adaptation_rate=0.0, baseline=None, labels=(), tail_s=25.0):
    """Return a run whose blocks have the responses `betas`, (n_blocks, n_voxels), in % of the baseline."""
    onsets_s, durations_s = np.asarray(onsets_s, float), np.asarray(durations_s, float)
    n_volumes = int(((onsets_s + durations_s).max() + tail_s) / TR_S)
    times_s = np.arange(n_volumes) * TR_S
    percent = noise * rng.normal(size=(n_volumes, betas.shape[1]))
    for onset_s, duration_s, beta in zip(onsets_s, durations_s, betas, strict=True):
        percent += np.outer(response(times_s - onset_s, float(duration_s), adaptation_rate), beta)
    if baseline is not None:
        percent += baseline(times_s)
    volumes = (rng.uniform(500, 1500, betas.shape[1]) * (1 + percent / 100)).astype(np.float32)
    return FinishedRun(volumes, onsets_s, TR_S, durations_s=durations_s, labels=tuple(labels))


def class_runs(n_runs, patterns, seed=0, spread=0.3, duration_s=20.0, rest_s=12.5, repeats=1, **settings):
    """Return runs in which each class, a row of `patterns`, has `repeats` blocks in random order."""
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(n_runs):
        order = rng.permutation(np.repeat(np.arange(len(patterns)), repeats))
        onsets_s = 10 + (duration_s + rest_s) * np.arange(len(order))
        betas = patterns[order] + rng.normal(0, spread, (len(order), patterns.shape[1]))
        labels = [f"class-{number}" for number in order]
        runs.append(run_of(onsets_s, np.full(len(order), duration_s), betas, rng, labels=labels, **settings))
    return runs


def finals_of(run, prior):
    """Return each trial's final estimate, by event. A trial has one."""
    finals = [estimate for estimate in estimates_of(run, prior) if estimate.is_final]
    by_event = {final.event_number: final for final in finals}
    assert len(by_event) == len(finals)
    return by_event


def block_study(root, n_runs=3, classes=CLASSES, change=None):
    """Write a BIDS folder of raw BOLD, without pictures and derivatives. A run has one block of each class.

    `change(run, rows, volumes)` returns other rows and volumes of a run. A row is onset and duration in s, and a class.
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
