"""Ridge regression from voxels to many targets, a penalty per target chosen by cross-validation over pictures.

Minimises ||y - Xw||² + alpha ||w||² for each target, X being z-scored voxels of single trials: (XᵀX + alpha) w = Xᵀy,
solved by a Cholesky factor per penalty. Targets belong to pictures, which a picture's trials share: Xᵀy is formed from
X summed over each picture's trials. Targets are read a chunk at a time, and coefficients are formed only where they are
asked for: the predictions' leading directions (`models/low_rank.py`) need sums over targets, which cost less.
`models/cross_validation.py` chooses the penalties.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .cross_validation import cross_validate
from .design import Design, in_chunks, make_design
from .kept import Kept, release
from .linear_algebra import cholesky_solve, matmul
from .low_rank import CONSTANT_BELOW

Array = NDArray[Any]
Folds = list[tuple[Array, Array]]
Factor = Callable[[float], torch.Tensor]


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """A ridge solution for every target, and how its cross-validated predictions compare with the targets.

    Parameters
    ----------
    design : Design
    shown : function of an array of target numbers
        Returns those targets about `value_at_mean`, (n_pictures, n) float32.
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

    design: Design
    shown: Callable[[Array], torch.Tensor]
    value_at_mean: Array
    alphas: Array
    target_mean: Array
    target_std: Array
    held_out_std: Array
    held_out_correlation: Array
    held_out_mse: Array

    def coefficients_of(self, targets: Array, factor: Factor) -> torch.Tensor:
        """Return coefficients of some targets that vary, for the design's voxels, (n, n_targets) float64.

        Parameters
        ----------
        targets : array of shape (n_targets,), int
        factor : from a penalty to its Cholesky factor, (n, n), in whose precision they are computed
        """
        found = torch.empty(len(self.design.gram), len(targets), dtype=torch.float64, device=self.design.gram.device)
        for alpha in np.unique(self.alphas[targets]):
            lower = factor(alpha)
            for own in in_chunks(np.flatnonzero(self.alphas[targets] == alpha)):
                products = matmul(self.design.by_picture.T.to(lower.dtype), self.shown(targets[own]).to(lower.dtype))
                found[:, own] = cholesky_solve(products, lower).double()
        return found

    @property
    def coefficients(self) -> Array:
        """Return dense coefficients for z-scored voxels, (n_voxels, n_targets) float32; 0 for constant targets."""
        varying = np.flatnonzero(np.isfinite(self.alphas))
        in_float64 = partial(self.design.factor, dtype=torch.float64)
        own = self.design.in_voxels(self.coefficients_of(varying, in_float64)).cpu().numpy()
        whole = np.zeros((len(own), len(self.alphas)), np.float32)
        whole[:, varying] = own
        return whole

    def project_predictions(
        self, basis: torch.Tensor, scale: torch.Tensor, n_probes: int, factor: Factor
    ) -> tuple[torch.Tensor, float]:
        """Project scaled predictions of the training trials onto some that are orthonormal over trials.

        Parameters
        ----------
        basis : tensor of shape (n, n_basis), float64
            Coefficients of those, for the design's voxels.
        scale : tensor of shape (n_targets,), float32
        n_probes : int
            Random sums of all targets that the second result is estimated from.
        factor : from a penalty to its Cholesky factor, (n, n)

        Returns
        -------
        projected : tensor of shape (n_targets, n_basis), float32
        outside : float
            Sum of squares of what the basis does not hold.
        """
        design, device = self.design, basis.device
        onto, generator = matmul(design.gram, basis), torch.Generator().manual_seed(0)
        probes = torch.randn(len(scale), n_probes, generator=generator).to(device) * scale[:, None]
        projected = torch.zeros(len(scale), basis.shape[1], device=device)
        outside = torch.zeros(len(basis), n_probes, dtype=torch.float64, device=device)
        for alpha in np.unique(self.alphas[np.isfinite(self.alphas)]):
            lower = factor(alpha)
            pattern = matmul(design.by_picture, cholesky_solve(onto.to(lower.dtype), lower).float())
            total = torch.zeros(len(pattern), n_probes, device=device)
            for own in in_chunks(np.flatnonzero(self.alphas == alpha)):
                values = self.shown(own)
                projected[own] = matmul(values.T, pattern) * scale[own, None]
                total += values @ probes[own]
            # predictions are linear in the targets: a penalty's are summed, then solved for
            outside += cholesky_solve((design.by_picture.T @ total).to(lower.dtype), lower)
        outside -= basis @ (onto.T @ outside)
        return projected, float((outside * (design.gram @ outside)).sum()) / n_probes


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
    design: Design,
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
    design : from `make_design`, of the same trials and with the same `intercept`
    targets : array of shape (n_pictures, n_targets), float; a memory map is read a chunk at a time
    picture_of_trial : array of shape (n_trials,), int
        Row of `targets` seen in each trial.
    alphas : sequence of float
        Penalties to choose from.
    folds : from `picture_folds`
        Every trial is held out in exactly one.
    intercept : bool
        Without it predictions lack the targets' mean, as the published code's do.
    kept : what a later attempt goes on from
    progress : called with the share that is done, 0–1.
    """
    kept = kept or Kept()
    target_mean, target_std = _target_moments(targets, picture_of_trial)
    varying = np.flatnonzero(target_std > CONSTANT_BELOW * target_std.max(initial=0.0))
    value_at_mean = target_mean if intercept else np.zeros(targets.shape[1])
    about = value_at_mean.astype(np.float32)

    def shown(columns: Array) -> torch.Tensor:
        # About their mean, so that float32 loses nothing; without an intercept they stay where they are.
        return torch.as_tensor(_columns(targets, columns) - about[columns], device=design.voxels.device)

    chosen = np.full(targets.shape[1], np.nan)
    held_out = np.zeros((3, targets.shape[1]))
    if len(varying):
        moments = np.stack([target_mean - value_at_mean, target_std])[:, varying]
        chosen[varying], held_out[:, varying] = cross_validate(
            design, picture_of_trial, folds, np.asarray(alphas, float), intercept,
            varying, shown, moments, kept, progress or (lambda share: None),
        )  # fmt: skip
    release(targets)
    return RidgeFit(
        design, shown, value_at_mean, chosen, target_mean, target_std,
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
    """Make the design and fit every target: `make_design` and `fit_targets` in one."""
    design = make_design(z_scored, picture_of_trial, len(targets), intercept=intercept, device=device)
    return fit_targets(
        design, targets, picture_of_trial, alphas, folds,
        intercept=intercept, kept=kept, progress=progress,
    )  # fmt: skip


def _columns(targets: Array, columns: Array) -> Array:
    """Return some columns as float32."""
    span = targets[:, columns[0] : columns[-1] + 1]
    # a memory map is read fastest as it lies
    if span.shape[1] >= 2 * len(columns):
        span = targets[:, columns]
    elif span.shape[1] > len(columns):
        span = span[:, columns - columns[0]]
    picked = np.array(span, np.float32)
    release(targets)
    return picked


def _target_moments(targets: Array, picture_of_trial: Array) -> tuple[Array, Array]:
    """Return the mean and the standard deviation of targets over trials, float64."""
    share_of_trials = np.bincount(picture_of_trial, minlength=len(targets)).astype(np.float32) / len(picture_of_trial)
    mean, std = np.empty(targets.shape[1]), np.empty(targets.shape[1])
    for columns in in_chunks(np.arange(targets.shape[1])):
        chunk = _columns(targets, columns)
        first = chunk[0].copy()
        # from one of them, so that float32 keeps small differences of large values
        chunk -= first
        offset = share_of_trials @ chunk
        mean[columns] = first + offset.astype(np.float64)
        chunk -= offset
        std[columns] = np.sqrt(share_of_trials @ np.square(chunk, out=chunk))
    return mean, std
