"""Ridge regression from voxels to many targets, a penalty per target chosen by cross-validation over pictures.

Minimises ||y - Xw||² + alpha ||w||² for each target, X being z-scored voxels of single trials. The voxels' Gram matrix
is decomposed once per fold; every penalty then costs one product with the fold's held-out trials. Targets belong to
pictures, and a picture's trials share them, so cross-products are formed from voxels summed over a picture's trials.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .low_rank import CONSTANT_BELOW

Array = NDArray[Any]

TARGETS_PER_CHUNK = 2048


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """Ridge coefficients and how their cross-validated predictions compare with the targets.

    Parameters
    ----------
    coefficients : array of shape (n_voxels, n_targets), float32
        For z-scored voxels; 0 for constant targets.
    value_at_mean : array of shape (n_targets,), float64
        Prediction for a trial whose voxels are all at their mean: the targets' mean, or 0 without an intercept.
    alphas : array of shape (n_targets,), float64
        Chosen penalties; NaN for constant targets.
    gram : array of shape (n_voxels, n_voxels), float64
        Of the z-scored voxels over all trials.
    target_mean, target_std : arrays of shape (n_targets,), float64
        Over trials.
    held_out_std : array of shape (n_targets,), float64
        Standard deviation of predictions for trials whose fold was left out.
    held_out_correlation, held_out_mse : arrays of shape (n_targets,), float64
        Of those predictions with the targets; correlation 0 where either is constant.
    """

    coefficients: Array
    value_at_mean: Array
    alphas: Array
    gram: Array
    target_mean: Array
    target_std: Array
    held_out_std: Array
    held_out_correlation: Array
    held_out_mse: Array

    def of_targets(self, targets: slice) -> "RidgeFit":
        """Return the fit of some of the targets."""
        return replace(
            self,
            coefficients=self.coefficients[:, targets],
            value_at_mean=self.value_at_mean[targets],
            alphas=self.alphas[targets],
            target_mean=self.target_mean[targets],
            target_std=self.target_std[targets],
            held_out_std=self.held_out_std[targets],
            held_out_correlation=self.held_out_correlation[targets],
            held_out_mse=self.held_out_mse[targets],
        )


def standardise(voxels: Array) -> tuple[Array, Array, Array]:
    """z-score voxels over trials, as scikit-learn's StandardScaler does; a constant voxel becomes 0.

    Parameters
    ----------
    voxels : array of shape (n_trials, n_voxels), float32

    Returns
    -------
    z_scored : array of shape (n_trials, n_voxels), float32
    mean, std : arrays of shape (n_voxels,), float64
        `std` is 1 for a constant voxel.
    """
    mean = voxels.mean(axis=0, dtype=np.float64)
    z_scored = voxels - mean.astype(np.float32)
    std = z_scored.std(axis=0, dtype=np.float64)
    constant = std <= 1e-6 * np.maximum(1, np.abs(mean))
    std[constant] = 1
    z_scored /= std.astype(np.float32)
    z_scored[:, constant] = 0
    return z_scored, mean, std


def picture_folds(picture_of_trial: Array, n_folds: int, grouped: bool) -> list[tuple[Array, Array]]:
    """Split trials into folds: (training trials, held-out trials) each.

    Parameters
    ----------
    picture_of_trial : array of shape (n_trials,), int
    grouped : bool
        Keep all trials of a picture in one fold. Otherwise folds are blocks of consecutive trials, and a repeat of a
        held-out picture may be trained on, as in the published code.
    """
    # scikit-learn: 1 s, only a fit pays
    from sklearn.model_selection import GroupKFold, KFold

    splitter = GroupKFold(n_folds) if grouped else KFold(n_folds)
    return list(splitter.split(picture_of_trial, groups=picture_of_trial if grouped else None))


def fit_ridge(
    z_scored: Array,
    targets: Array,
    picture_of_trial: Array,
    alphas: Sequence[float],
    folds: list[tuple[Array, Array]],
    *,
    intercept: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> RidgeFit:
    """Fit every target, each with the penalty whose held-out squared error, averaged over folds, is smallest.

    Parameters
    ----------
    z_scored : array of shape (n_trials, n_voxels), float32
        From `standardise`.
    targets : array of shape (n_pictures, n_targets), float
    picture_of_trial : array of shape (n_trials,), int
        Row of `targets` seen in each trial.
    alphas : sequence of float
        Penalties to choose from.
    folds : from `picture_folds`
        Every trial is held out in exactly one.
    intercept : bool
        Without it predictions lack the targets' mean, as the published code's do.
    progress : called with the steps done and the steps in all.
    """
    target_mean, target_std = _target_moments(targets, picture_of_trial)
    varying = np.flatnonzero(target_std > CONSTANT_BELOW * target_std.max(initial=0.0))
    chunks = np.split(varying, range(TARGETS_PER_CHUNK, len(varying), TARGETS_PER_CHUNK))
    n_steps, n_done = len(folds) + len(chunks), 0

    fold_grams = [_gram(z_scored[held_out]) for _, held_out in folds]
    gram = np.sum(fold_grams, axis=0)
    decomposed = []
    for n_done, (fold, fold_gram) in enumerate(zip(folds, fold_grams, strict=True), start=1):
        decomposed.append(_decompose(z_scored, picture_of_trial, len(targets), fold, gram - fold_gram, intercept))
        if progress is not None:
            progress(n_done, n_steps)
    eigenvalues, eigenvectors = _eigen(gram)

    n_targets = targets.shape[1]
    fit = RidgeFit(
        coefficients=np.zeros((z_scored.shape[1], n_targets), np.float32),
        value_at_mean=target_mean if intercept else np.zeros(n_targets),
        alphas=np.full(n_targets, np.nan),
        gram=gram,
        target_mean=target_mean,
        target_std=target_std,
        held_out_std=np.zeros(n_targets),
        held_out_correlation=np.zeros(n_targets),
        held_out_mse=np.zeros(n_targets),
    )
    for chunk in chunks:
        # About their mean, so that float32 predictions lose nothing; without an intercept they stay where they are.
        shown = targets[:, chunk].astype(np.float64) - fit.value_at_mean[chunk]
        crosses = [fold.held_out_summed.T @ shown[fold.held_out_pictures] for fold in decomposed]
        cross = np.sum(crosses, axis=0)
        # cross.shape = (n_voxels, n_targets of the chunk)
        learned = [_learn(fold, cross - held_out, shown) for fold, held_out in zip(decomposed, crosses, strict=True)]
        best, fit.held_out_mse[chunk] = _choose_alphas(np.asarray(alphas, float), shown, decomposed, learned)
        fit.alphas[chunk] = best
        moments = _held_out_moments(best, shown, decomposed, learned)
        fit.held_out_std[chunk], fit.held_out_correlation[chunk] = moments
        fit.coefficients[:, chunk] = eigenvectors @ (_shrink(eigenvalues, best) * (eigenvectors.T @ cross))
        n_done += 1
        if progress is not None:
            progress(n_done, n_steps)
    return fit


def _eigen(gram: Array) -> tuple[Array, Array]:
    """Return a Gram matrix's eigenvalues, rising, and eigenvectors (columns); 0 for directions that no trial spans."""
    eigenvalues, eigenvectors = np.linalg.eigh(gram)
    # These come out as rounding and must not be divided by.
    eigenvalues[eigenvalues < eigenvalues[-1] * len(gram) * np.finfo(np.float64).eps] = 0
    return eigenvalues, eigenvectors


@dataclass(frozen=True, eq=False)
class _Fold:
    """One fold: its training trials' decomposed Gram matrix, and its held-out trials."""

    n_trials: int
    target_weights: (
        Array  # (n_pictures,): share of the training trials that showed each picture; 0 without an intercept
    )
    voxel_mean: Array
    eigenvalues: Array
    eigenvectors: Array
    held_out_components: Array  # (n_held_out, n_voxels) float32, in the eigenvectors' basis
    held_out_picture_of_trial: Array
    held_out_pictures: Array
    held_out_summed: Array  # (n_held_out_pictures, n_voxels): voxels summed over each picture's held-out trials


@dataclass(frozen=True, eq=False)
class _Learned:
    """A fold's training targets in its eigenvectors' basis, (n_voxels, n_targets), and their mean."""

    projected: Array
    target_mean: Array


def _target_moments(targets: Array, picture_of_trial: Array) -> tuple[Array, Array]:
    share_of_trials = np.bincount(picture_of_trial, minlength=len(targets)) / len(picture_of_trial)
    mean = share_of_trials @ targets.astype(np.float64)
    return mean, np.sqrt(share_of_trials @ (targets - mean) ** 2)


def _gram(z_scored: Array) -> Array:
    # float64: the smallest eigenvalues stand a million times below the largest.
    voxels = z_scored.astype(np.float64)
    return voxels.T @ voxels


def _decompose(
    z_scored: Array,
    picture_of_trial: Array,
    n_pictures: int,
    fold: tuple[Array, Array],
    gram: Array,
    intercept: bool,
) -> _Fold:
    trials, held_out = fold
    n_shown = np.bincount(picture_of_trial[trials], minlength=n_pictures)
    voxel_mean = np.zeros(z_scored.shape[1])
    if intercept:
        voxel_mean = z_scored[trials].mean(axis=0, dtype=np.float64)
        gram = gram - len(trials) * np.outer(voxel_mean, voxel_mean)
    eigenvalues, eigenvectors = _eigen(gram)
    held_out_voxels = z_scored[held_out]
    pictures, summed = _sum_by_picture(held_out_voxels, picture_of_trial[held_out])
    return _Fold(
        n_trials=len(trials),
        target_weights=n_shown / len(trials) * intercept,
        voxel_mean=voxel_mean,
        eigenvalues=eigenvalues,
        eigenvectors=eigenvectors,
        held_out_components=(held_out_voxels - voxel_mean.astype(np.float32)) @ eigenvectors.astype(np.float32),
        held_out_picture_of_trial=picture_of_trial[held_out],
        held_out_pictures=pictures,
        held_out_summed=summed,
    )


def _sum_by_picture(voxels: Array, picture_of_trial: Array) -> tuple[Array, Array]:
    order = np.argsort(picture_of_trial, kind="stable")
    pictures, first = np.unique(picture_of_trial[order], return_index=True)
    return pictures, np.add.reduceat(voxels[order], first, axis=0, dtype=np.float64)


def _learn(fold: _Fold, cross: Array, shown: Array) -> _Learned:
    """Project a fold's targets; `cross` is voxels times targets, summed over its training trials."""
    target_mean = fold.target_weights @ shown
    centred = cross - fold.n_trials * np.outer(fold.voxel_mean, target_mean)
    return _Learned(fold.eigenvectors.T @ centred, target_mean)


def _choose_alphas(alphas: Array, shown: Array, folds: list[_Fold], learned: list[_Learned]) -> tuple[Array, Array]:
    """Return each target's best penalty and its held-out squared error."""
    errors = np.zeros((len(alphas), shown.shape[1]))
    for fold, targets in zip(folds, learned, strict=True):
        seen = (shown[fold.held_out_picture_of_trial] - targets.target_mean).astype(np.float32)
        for position, alpha in enumerate(alphas):
            missed = seen - _predict_held_out(fold, targets, alpha)
            errors[position] += np.einsum("ij,ij->j", missed, missed) / len(seen) / len(folds)
    return alphas[errors.argmin(axis=0)], errors.min(axis=0)


def _held_out_moments(alphas: Array, shown: Array, folds: list[_Fold], learned: list[_Learned]) -> tuple[Array, Array]:
    """Return the standard deviation of all folds' held-out predictions, and their correlation with the targets."""
    sums = np.zeros((5, shown.shape[1]))
    for fold, targets in zip(folds, learned, strict=True):
        predicted = _predict_held_out(fold, targets, alphas) + targets.target_mean
        seen = shown[fold.held_out_picture_of_trial]
        sums += [predicted.sum(0), seen.sum(0), (predicted**2).sum(0), (seen**2).sum(0), (predicted * seen).sum(0)]
    mean_predicted, mean_seen, square_predicted, square_seen, product = sums / sum(
        len(fold.held_out_picture_of_trial) for fold in folds
    )
    predicted_std = np.sqrt(np.maximum(square_predicted - mean_predicted**2, 0))
    spread = predicted_std * np.sqrt(np.maximum(square_seen - mean_seen**2, 0))
    covariance = product - mean_predicted * mean_seen
    return predicted_std, np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 0)


def _predict_held_out(fold: _Fold, targets: _Learned, alphas: Array) -> Array:
    shrunken = _shrink(fold.eigenvalues, np.atleast_1d(alphas)) * targets.projected
    return fold.held_out_components @ shrunken.astype(np.float32)


def _shrink(eigenvalues: Array, alphas: Array) -> Array:
    """Return 1 / (eigenvalue + alpha), shape (n_voxels, n_alphas); 0 for directions that no trial spans."""
    spanned = (eigenvalues > 0)[:, None]
    return np.divide(1, eigenvalues[:, None] + alphas, where=spanned, out=np.zeros((len(eigenvalues), len(alphas))))
