"""Cross-validation: the penalty that predicts held-out trials best, for each of very many targets.

Three ways compute the same held-out statistics, and the size of the problem decides between them:

- Voxels are few: every fold's training trials are fitted (`models/ridge/fold_fits.py`). Penalties that are
  negligible relative to the largest eigenvalue need this way too: the next way would lose all precision.
- Targets are few: their held-out residuals follow from the fit to all trials (`models/ridge/held_out_residuals.py`).
- Both are many: a basis of the targets stands for all, and close decisions are settled by the target's own residuals
  (`models/ridge/penalty_screening.py`).

The last two try penalties from the largest down, until every target has become much worse than it was.
"""

import numpy as np
import torch

from ...arrays import Array
from .checkpoint import Checkpoint
from .fold_fits import fold_statistics
from .held_out_residuals import held_out_residuals
from .held_out_sums import HeldOutSums, held_out_scores
from .penalty_screening import are_all_worse, is_worth_screening, screened_statistics
from .problem import Progress, RidgeProblem, RidgeTargets

# Penalties below this share of the voxels' whole variance need a fit to every fold's own training trials.
REFIT_BELOW = 1e-8
FEW_VOXELS = 1024  # up to which such fits are faster


def choose_penalties(
    problem: RidgeProblem, targets: RidgeTargets, checkpoint: Checkpoint, progress: Progress
) -> tuple[Array, Array]:
    """Choose each varying target's penalty: the smallest held-out squared error, averaged over folds.

    Parameters
    ----------
    problem : RidgeProblem
    targets : RidgeTargets
        At least one varies.
    checkpoint : Checkpoint
        Of finished penalties or chunks of targets.
    progress : called with the finished share, 0–1.

    Returns
    -------
    penalties : array of shape (n_varying,), float64
    held_out : array of shape (3, n_varying), float64
        Standard deviation of the held-out predictions, their correlation with the targets (0 where either is constant),
        and their mean squared error, averaged over folds.
    """
    design, penalties, varying = problem.design, problem.falling_penalties, targets.varying
    is_tiny = penalties[-1] < REFIT_BELOW * float(design.gram.trace())
    if is_tiny or len(design.gram) <= FEW_VOXELS:
        dtype = torch.float64 if is_tiny else torch.float32
        statistics = fold_statistics(problem, targets, dtype, checkpoint, progress)
    elif is_worth_screening(len(varying)):
        statistics = screened_statistics(problem, targets, checkpoint, progress)
    else:
        statistics = _exact_statistics(problem, targets, checkpoint, progress)
    best = statistics[:, 0].argmin(axis=0)
    at_best = statistics[best, :, np.arange(len(varying))].T
    mean, std = np.stack([targets.mean - targets.value_at_mean, targets.std])[:, varying]
    return penalties[best], held_out_scores(at_best, mean, std, len(design.picture_of_trial))


def _exact_statistics(
    problem: RidgeProblem, targets: RidgeTargets, checkpoint: Checkpoint, progress: Progress
) -> Array:
    """Return the statistics of few varying targets at the penalties tried, (n_tried, 4, n_varying)."""
    residuals_at, sums, penalties = held_out_residuals(problem), HeldOutSums(problem), problem.falling_penalties
    values, tried = targets.deviations(targets.varying), []
    for position, penalty in enumerate(penalties):
        own = lambda penalty=penalty: sums.statistics(values, residuals_at(penalty)(values))  # noqa: E731
        tried.append(checkpoint.array(f"tried-{position:02d}", own))
        progress(len(tried) / len(penalties))
        if are_all_worse(np.stack(tried)[:, 0]):
            break
    progress(1.0)
    return np.stack(tried)
