"""Ridge regression from voxels to many targets, a penalty per target chosen by cross-validation over pictures.

Minimises ||y - Xw||² + alpha ||w||² for each target, X being z-scored voxels of single trials. X is decomposed once,
X = U S Vᵀ. Targets belong to pictures, which a picture's trials share: UᵀY is formed from U summed over each picture's
trials, a chunk of targets at a time, and is all that is kept of the targets. Coefficients are V (s / (s² + alpha)) UᵀY.
`models/cross_validation.py` chooses the penalties.

float64 where small eigenvalues stand beside large ones: the Gram matrix, its decomposition, U = X V / S. float32 for
every product with the targets, which have no more digits themselves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .cross_validation import cross_validate
from .decomposition import Decomposition, decompose, shrinkage_of
from .kept import Kept, release
from .low_rank import CONSTANT_BELOW

Array = NDArray[Any]
Folds = list[tuple[Array, Array]]

TARGETS_PER_CHUNK = 2048


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """A ridge solution for every target, and how its cross-validated predictions compare with the targets.

    Parameters
    ----------
    decomposition : Decomposition
    projected : function of a chunk's number
        Returns UᵀY of that chunk of `chunks`, (n_components, n_targets of the chunk) float32.
    chunks : list of arrays of int
        Which targets each chunk holds; constant ones are in none.
    value_at_mean : array of shape (n_targets,), float64
        Prediction for a trial whose voxels are all at their mean: the targets' mean, or 0 without an intercept.
    alphas : array of shape (n_targets,), float64
        Chosen penalties; NaN for constant targets.
    target_mean, target_std : arrays of shape (n_targets,), float64
        Over trials.
    held_out_std : array of shape (n_targets,), float64
        Standard deviation of predictions for trials whose fold was left out.
    held_out_correlation, held_out_mse : arrays of shape (n_targets,), float64
        Of those predictions with the targets; correlation 0 where either is constant.
    """

    decomposition: Decomposition
    projected: Callable[[int], Array]
    chunks: list[Array]
    value_at_mean: Array
    alphas: Array
    target_mean: Array
    target_std: Array
    held_out_std: Array
    held_out_correlation: Array
    held_out_mse: Array

    def predicted_components(self, number: int) -> torch.Tensor:
        """Return a chunk's predictions of the training trials as coordinates in the components, float32."""
        shrinkage = shrinkage_of(self.decomposition.singular_values, self.alphas[self.chunks[number]])
        return shrinkage.float() * torch.as_tensor(self.projected(number), device=shrinkage.device)

    @property
    def coefficients(self) -> Array:
        """Return dense coefficients for z-scored voxels, (n_voxels, n_targets) float32; 0 for constant targets."""
        whole = np.zeros((len(self.decomposition.directions), len(self.alphas)), np.float32)
        for number, chunk in enumerate(self.chunks):
            scaled = self.predicted_components(number).double() / self.decomposition.singular_values[:, None]
            whole[:, chunk] = (self.decomposition.directions @ scaled).cpu().numpy()
        return whole


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


def picture_folds(picture_of_trial: Array, n_folds: int, grouped: bool) -> Folds:
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


def fit_targets(
    decomposition: Decomposition,
    z_scored: Array,
    targets: Array,
    picture_of_trial: Array,
    alphas: Sequence[float],
    folds: Folds,
    *,
    intercept: bool = True,
    kept: Kept | None = None,
    progress: Callable[[float], None] | None = None,
) -> RidgeFit:
    """Fit every target, each with the penalty whose held-out squared error, averaged over folds, is smallest.

    Parameters
    ----------
    decomposition : from `decompose`, of the same trials and with the same `intercept`
    z_scored : array of shape (n_trials, n_voxels), float32
    targets : array of shape (n_pictures, n_targets), float; a memory map is read a chunk at a time
    picture_of_trial : array of shape (n_trials,), int
        Row of `targets` seen in each trial.
    alphas : sequence of float
        Penalties to choose from.
    folds : from `picture_folds`
        Every trial is held out in exactly one.
    intercept : bool
        Without it predictions lack the targets' mean, as the published code's do.
    kept : where UᵀY lies, and what a later attempt goes on from
    progress : called with the share that is done, 0–1.
    """
    kept = kept or Kept()
    target_mean, target_std = _target_moments(targets, picture_of_trial)
    varying = np.flatnonzero(target_std > CONSTANT_BELOW * target_std.max(initial=0.0))
    chunks = np.split(varying, range(TARGETS_PER_CHUNK, len(varying), TARGETS_PER_CHUNK)) if len(varying) else []
    value_at_mean = target_mean if intercept else np.zeros(targets.shape[1])
    device = decomposition.summed.device

    def shown(columns: Array) -> torch.Tensor:
        # About their mean, so that float32 loses nothing; without an intercept they stay where they are.
        about = _columns(targets, columns) - value_at_mean[columns]
        return torch.as_tensor(about.astype(np.float32), device=device)

    def projected(number: int) -> Array:
        compute = lambda: (decomposition.summed.T @ shown(chunks[number])).cpu().numpy()  # noqa: E731
        return kept.array(f"projected-{number:04d}", compute)

    chosen = np.full(targets.shape[1], np.nan)
    held_out = np.zeros((3, targets.shape[1]))
    if chunks:
        chosen[varying], held_out[:, varying] = cross_validate(
            decomposition, z_scored, picture_of_trial, folds, np.asarray(alphas, float), intercept,
            chunks, shown, projected, kept, progress or (lambda share: None),
        )  # fmt: skip
    release(targets)
    return RidgeFit(
        decomposition, projected, chunks, value_at_mean, chosen, target_mean, target_std,
        held_out_std=held_out[0], held_out_correlation=held_out[1], held_out_mse=held_out[2],
    )  # fmt: skip


def fit_ridge(
    z_scored: Array,
    targets: Array,
    picture_of_trial: Array,
    alphas: Sequence[float],
    folds: Folds,
    *,
    intercept: bool = True,
    device: str = "cpu",
    kept: Kept | None = None,
    progress: Callable[[float], None] | None = None,
) -> RidgeFit:
    """Decompose the voxels and fit every target: `decompose` and `fit_targets` in one."""
    decomposition = decompose(z_scored, picture_of_trial, len(targets), intercept=intercept, device=device)
    return fit_targets(
        decomposition, z_scored, targets, picture_of_trial, alphas, folds,
        intercept=intercept, kept=kept, progress=progress,
    )  # fmt: skip


def _columns(targets: Array, columns: Array) -> Array:
    """Return some columns as float64."""
    span = targets[:, columns[0] : columns[-1] + 1]
    # a memory map is read fastest as it lies
    picked = span[:, columns - columns[0]] if span.shape[1] < 2 * len(columns) else targets[:, columns]
    picked = picked.astype(np.float64)
    release(targets)
    return picked


def _target_moments(targets: Array, picture_of_trial: Array) -> tuple[Array, Array]:
    share_of_trials = np.bincount(picture_of_trial, minlength=len(targets)) / len(picture_of_trial)
    mean, std = np.empty(targets.shape[1]), np.empty(targets.shape[1])
    for start in range(0, targets.shape[1], TARGETS_PER_CHUNK):
        columns = np.arange(start, min(start + TARGETS_PER_CHUNK, targets.shape[1]))
        chunk = _columns(targets, columns)
        mean[columns] = share_of_trials @ chunk
        std[columns] = np.sqrt(share_of_trials @ (chunk - mean[columns]) ** 2)
    return mean, std
