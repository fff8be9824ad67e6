"""Chooses how freely a run's baseline may move: so that classes of left-out runs are decoded best.

A baseline that moves freely takes a part of the response to a long block. The likelihood of single voxels does not see
the loss: voxels drift much, but neighbouring voxels share the drift, and a decoder of many voxels cancels it. If
classes are known, a ridge regression therefore predicts the classes of left-out runs under each baseline.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..label_fit import LabelledEstimates, fit_classes
from ..ridge.design import standardise
from ..weights.bold_prior import BoldPrior
from .finished_run import FinishedRun, estimates_of

BASELINES = (
    {"first_slope_variance": 1e-9, "slope_variance": 0.0, "drift_variance": 0.0},
    {"first_slope_variance": 1e-6, "slope_variance": 0.0, "drift_variance": 0.0},
    {"first_slope_variance": 1e-5, "slope_variance": 0.0, "drift_variance": 0.0},
    {"first_slope_variance": 1e-5, "slope_variance": 1e-7, "drift_variance": 0.0},
    {"first_slope_variance": 1e-5, "slope_variance": 1e-6, "drift_variance": 0.0},
    {"first_slope_variance": 1e-5, "slope_variance": 0.0, "drift_variance": 0.003},
    {"first_slope_variance": 1e-5, "slope_variance": 0.0, "drift_variance": 0.01},
    {"first_slope_variance": 1e-5, "slope_variance": 0.0, "drift_variance": 0.03},
)
"""From a constant to a free random walk. If several baselines are equally good, the first is taken."""


def can_choose_baseline(runs: Sequence[FinishedRun], n_voxels: int) -> bool:
    """Return whether at least two runs and two classes have final estimates. The run's end may cut trials off."""
    estimates = labelled_estimates(runs, BoldPrior.vague(n_voxels), finals_only=True)
    return min(len(np.unique(estimates.run_of)), len(np.unique(estimates.class_of))) > 1


def choose_baseline(runs: Sequence[FinishedRun], prior: BoldPrior) -> BoldPrior:
    """Return the prior with the baseline that decodes the classes of left-out runs best.

    Parameters
    ----------
    runs : sequence of FinishedRun
        With labels, and accepted by `can_choose_baseline`.
    """
    candidates = [replace(prior, **baseline) for baseline in BASELINES]
    errors = [_held_out_error(labelled_estimates(runs, candidate, finals_only=True)) for candidate in candidates]
    return candidates[int(np.argmin(errors))]


def labelled_estimates(
    runs: Sequence[FinishedRun], prior: BoldPrior, *, finals_only: bool = False
) -> LabelledEstimates:
    """Estimate the trials of runs, and keep the trials whose class is known.

    A voxel without signal in a run gets its mean over the other estimates, so that the voxel favours no class.
    """
    classes = tuple(sorted({label for run in runs for label in run.labels if label}))
    number = {label: position for position, label in enumerate(classes)}
    found, has_signal, rows, n_trials = [], [], [], 0
    for at, run in enumerate(runs):
        for estimate in estimates_of(run, prior):
            label = run.label(estimate.event_number)
            if label and (estimate.is_final or not finals_only):
                found.append(estimate.betas)
                has_signal.append(estimate.has_signal)
                rows.append((number[label], at, n_trials + estimate.event_number))
        n_trials += len(run.onsets_s)
    voxels = np.array(found, np.float32).reshape(len(found), len(prior.noise_std))
    seen = np.array(has_signal, bool).reshape(voxels.shape)
    n_seen = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, voxels, 0).sum(axis=0, dtype=np.float64) / n_seen
    voxels = np.where(seen, voxels, mean.astype(np.float32))
    class_of, run_of, trial_of = np.array(rows, np.int64).reshape(len(rows), 3).T
    return LabelledEstimates(classes, voxels, class_of, run_of, np.unique(trial_of, return_inverse=True)[1])


def _held_out_error(estimates: LabelledEstimates) -> float:
    """Return the squared error of the classes of left-out runs, mean over classes."""
    z_scored, *_ = standardise(estimates.voxels)
    ridge, _ = fit_classes(z_scored, estimates)
    return float(ridge.held_out_mse[ridge.varying].mean())
