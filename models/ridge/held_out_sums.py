"""Sums over trials of targets and of their held-out residuals: all that penalties are chosen from."""

import numpy as np
import torch

from ...arrays import Array
from .linear_algebra import gram, matmul
from .problem import RidgeProblem


class HeldOutSums:
    """Sums over trials of targets y and held-out residuals e, at one penalty."""

    def __init__(self, problem: RidgeProblem) -> None:
        device, n_trials = problem.design.device, len(problem.design.picture_of_trial)
        self.picture_of_trial = torch.as_tensor(problem.design.picture_of_trial, device=device)
        # Every fold counts the same, however many trials it holds.
        weights = np.empty(n_trials)
        for _, held_out in problem.folds:
            weights[held_out] = 1 / len(held_out) / len(problem.folds)
        self.weights = torch.as_tensor(weights, dtype=torch.float32, device=device)

    def statistics(self, targets: torch.Tensor, residuals: torch.Tensor) -> Array:
        """Return the mean squared error over folds and the sums of e, e·y and e², (4, n_targets) float64.

        Parameters
        ----------
        targets : tensor of shape (n_pictures, n_targets), float32
        residuals : tensor of shape (n_trials, n_targets), float32
        """
        squares = residuals**2
        by_trial = targets[self.picture_of_trial]
        rows = [self.weights @ squares, residuals.sum(0), (residuals * by_trial).sum(0), squares.sum(0)]
        return torch.stack(rows).double().cpu().numpy()

    def quadratic_forms(self, basis: torch.Tensor, residuals: torch.Tensor) -> torch.Tensor:
        """Return quadratic forms that give a target's `statistics` from its coordinates, (3 n_basis + 1, n_basis).

        Residuals are linear in the targets. The rows are stacked: the matrices for the error, for e·y and for e², then
        the row for e.

        Parameters
        ----------
        basis : tensor of shape (n_pictures, n_basis), float32
            Targets that others are linear combinations of.
        residuals : tensor of shape (n_trials, n_basis), float32
            The basis's own.
        """
        by_trial = basis[self.picture_of_trial]
        error = gram(residuals * self.weights.sqrt()[:, None])
        return torch.cat([error, matmul(by_trial.T, residuals), gram(residuals), residuals.sum(0)[None]])


def held_out_scores(statistics: Array, mean: Array, std: Array, n_trials: int) -> Array:
    """Turn sums into scores of the held-out predictions: their standard deviation, correlation with targets, and error.

    Parameters
    ----------
    statistics : array of shape (4, n_targets), float64
        From `HeldOutSums.statistics`.
    mean, std : arrays of shape (n_targets,), float64
        The targets', over trials.
    n_trials : int

    Returns
    -------
    scores : array of shape (3, n_targets), float64
        The correlation is 0 where the prediction or the target is constant.
    """
    error, total, product, square = statistics
    target_sum, target_square = n_trials * np.stack([mean, std**2 + mean**2])
    predicted_mean = (target_sum - total) / n_trials
    predicted_variance = np.maximum((target_square - 2 * product + square) / n_trials - predicted_mean**2, 0)
    target_variance = np.maximum(target_square / n_trials - (target_sum / n_trials) ** 2, 0)
    covariance = (target_square - product) / n_trials - predicted_mean * target_sum / n_trials
    spread = np.sqrt(predicted_variance * target_variance)
    correlation = np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 0)
    return np.stack([np.sqrt(predicted_variance), np.clip(correlation, -1, 1), error])
