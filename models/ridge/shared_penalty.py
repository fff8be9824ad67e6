"""Cross-validation's choice between one penalty for all targets of a map and a penalty for each target.

With few trials a target's own penalty is mostly noise. Held-out predictions of a sample of targets decide. Both ways
choose penalties on all folds but one and predict this fold, so no fold is scored by a choice that it took part in.

The score is the mean over targets of the correlation of held-out predictions with the targets. The shared penalty is
chosen by this score too. The squared error would be misleading: shrinkage lowers it, and the scale is restored later.
Predictions and targets of a fold are less the mean of the fold's training trials.
"""

from typing import NamedTuple

import numpy as np
import torch

from ...arrays import Array
from .checkpoint import Checkpoint
from .held_out_residuals import held_out_residuals
from .problem import RidgeProblem, RidgeTargets

SAMPLE_SIZE = 256  # of targets


class SharedPenalty(NamedTuple):
    """The best penalty for all targets, and the held-out correlations with it and with a penalty for each target."""

    penalty: float
    correlation: float
    correlation_per_target: float

    @property
    def is_better(self) -> bool:
        """Return whether the shared penalty predicts held-out trials at least as well."""
        return self.correlation >= self.correlation_per_target


def shared_penalty(problem: RidgeProblem, targets: Array, checkpoint: Checkpoint | None = None) -> SharedPenalty | None:
    """Find the penalty that all targets share, and compare it with a penalty for each target.

    Parameters
    ----------
    problem : RidgeProblem
    targets : array of shape (n_pictures, n_targets), float
        By the design's pictures.
    checkpoint : Checkpoint, optional
        Keeps the sums over the held-out trials.

    Returns
    -------
    shared : SharedPenalty, or None if no target varies
    """
    described = RidgeTargets.of(targets, problem.design)
    varying = described.varying
    if not len(varying):
        return None
    chosen = np.sort(np.random.default_rng(0).choice(varying, min(SAMPLE_SIZE, len(varying)), replace=False))
    sums = (checkpoint or Checkpoint()).array("shared-penalty", lambda: _sums(problem, described.deviations(chosen)))
    others = sums.sum(axis=2, keepdims=True) - sums
    # others.shape = (3, n_penalties, n_folds, n_sampled): sums over all folds but one
    shared = np.broadcast_to(_correlation(others).mean(axis=2).argmax(axis=0)[:, None], sums.shape[2:])
    own = _squared_error(others).argmin(axis=0)
    best = int(_correlation(sums.sum(axis=2)).mean(axis=1).argmax())
    return SharedPenalty(
        float(problem.falling_penalties[best]), *(float(_score(sums, choice)) for choice in (shared, own))
    )


def _sums(problem: RidgeProblem, values: torch.Tensor) -> Array:
    """Return sums of p·y, p² and y² by penalty, fold and target, (3, n_penalties, n_folds, n_targets) float64.

    Parameters
    ----------
    values : tensor of shape (n_pictures, n_targets), float32
    """
    residuals_at = held_out_residuals(problem)
    by_trial = values.cpu().numpy()[problem.design.picture_of_trial].astype(np.float64)
    sums = np.empty((3, len(problem.penalties), len(problem.folds), by_trial.shape[1]))
    for position, penalty in enumerate(problem.falling_penalties):
        predicted = by_trial - residuals_at(penalty)(values).cpu().numpy()
        for fold, (training, held_out) in enumerate(problem.folds):
            mean = by_trial[training].mean(axis=0)
            p, y = predicted[held_out] - mean, by_trial[held_out] - mean
            sums[:, position, fold] = (p * y).sum(axis=0), (p**2).sum(axis=0), (y**2).sum(axis=0)
    return sums


def _correlation(sums: Array) -> Array:
    product, predicted, true = sums
    spread = np.sqrt(predicted * true)
    return np.divide(product, spread, out=np.zeros_like(product), where=spread > 0)


def _squared_error(sums: Array) -> Array:
    product, predicted, true = sums
    return true - 2 * product + predicted


def _score(sums: Array, choice: Array) -> Array:
    """Return the mean held-out correlation with penalties chosen by fold and target, (n_folds, n_targets) int."""
    chosen = np.take_along_axis(sums, choice[None, None], axis=1)[:, 0]
    return _correlation(chosen.sum(axis=1)).mean()
