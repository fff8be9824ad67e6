"""Cross-validation's choice between one penalty for all targets of a map and a penalty for each target.

With few trials a target's own penalty is mostly noise. Held-out predictions of a sample of targets decide. Both ways
choose penalties on all folds but one and predict this fold, so no fold is scored by a choice that its own trials took
part in. The fits that give the other folds' errors train on this fold, in both ways alike.

The score is the mean over targets of the correlation of held-out predictions with the targets. The shared penalty is
chosen by this score too, a penalty for each target by the squared error. For the shared penalty the squared error would
be misleading: shrinkage lowers it, and the scale is restored later. Predictions and targets of a fold are less the mean
of the fold's training trials.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from ...arrays import Array
from .checkpoint import Checkpoint
from .linear_algebra import cholesky_solve, gram, matmul
from .penalty_screening import are_all_worse
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
    """Return sums of p·y, p² and y² by penalty, fold and target, (3, n_tried, n_folds, n_targets) float64.

    Penalties are tried from the largest down, until the first fold is predicted worse.

    Parameters
    ----------
    values : tensor of shape (n_pictures, n_targets), float32
    """
    by_fold, n_tried = [], len(problem.penalties)
    for fold in problem.folds:
        predictions, y = _predictions(problem, fold, values)
        found = []
        for penalty in problem.falling_penalties[:n_tried]:
            p = predictions(penalty)
            found.append(torch.stack([(p * y).sum(0), (p**2).sum(0), (y**2).sum(0)]).cpu().numpy())
            if not by_fold and _is_past_the_best(np.stack(found, axis=1)):
                break
        n_tried = len(found)
        by_fold.append(np.stack(found, axis=1))
    return np.stack(by_fold, axis=2)


def _predictions(
    problem: RidgeProblem, fold: tuple[Array, Array], values: torch.Tensor
) -> tuple[Callable[[float], torch.Tensor], torch.Tensor]:
    """Return a function from a penalty to a fold's predictions, and the fold's targets: (n_held_out, n) float64.

    Both are less the mean of the fold's training trials.
    """
    design = problem.design
    training, held_out = (torch.as_tensor(trials, device=design.device) for trials in fold)
    by_trial = values.double()[torch.as_tensor(design.picture_of_trial, device=design.device)]
    x = design.voxels[held_out].double()
    x_mean, y_mean = (rows[training].mean(0, dtype=torch.float64) for rows in (design.voxels, by_trial))
    x_mean, y_mean = x_mean * design.intercept, y_mean * design.intercept
    products = matmul(design.by_picture.T, values).double() - matmul(x.T, by_trial[held_out])
    products -= len(training) * torch.outer(x_mean, y_mean)
    of_training = replace(design, gram=design.gram - gram(x) - len(training) * torch.outer(x_mean, x_mean))
    centred = x - x_mean

    def predictions(penalty: float) -> torch.Tensor:
        lower = of_training.factor(penalty)
        return matmul(centred.to(lower.dtype), cholesky_solve(products.to(lower.dtype), lower)).double()

    return predictions, by_trial[held_out] - y_mean


def _is_past_the_best(sums: Array) -> bool:
    """Say whether every target's last error is well above its least error, and the last mean correlation no best."""
    correlation = _correlation(sums).mean(axis=1)
    return bool(correlation[-1] < correlation.max() and are_all_worse(_squared_error(sums)))


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
