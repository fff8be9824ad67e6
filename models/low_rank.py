"""One affine map from voxels to z or to c, as a low-rank product in half precision."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from .ridge import RidgeFit

Array = NDArray[Any]

# A target that varies less than this share of the most varying one is constant up to rounding (CLIP's first tokens).
CONSTANT_BELOW = 1e-5

FIRST_READ = 2304  # targets whose predictions lead to the directions of all; doubled until those hold enough
SHARE_LEFT = 0.2  # of what may be lost, that those targets' predictions may lose of themselves
N_PROBES = 64
FACTORS_KEPT = 3  # 0.7 GB at NSD's size, until the rank is reduced

MAP_TENSORS = (
    "positions", "left", "row_scale", "right", "column_scale", "intercept", "target_mean", "target_std",
    "cv_correlation",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class LowRankMap:
    """One affine map from the weights' voxels to z or to c, as stored.

    Parameters
    ----------
    positions : array of shape (n_own,), int64
        Which of the weights' voxels this map reads.
    left, right : arrays of shape (n_own, rank) and (rank, n_targets), float16
        The product, each row of `left` and each column of `right` divided by its largest magnitude.
    row_scale, column_scale : arrays of shape (n_own,) and (n_targets,), float32
        Those magnitudes.
    intercept : array of shape (n_targets,), float32
    target_mean, target_std, cv_correlation : arrays of shape (n_targets,), float32
        Of the training pictures' targets; correlation of cross-validated single-trial predictions with them (0 for a
        constant target).
    """

    positions: Array
    left: Array
    row_scale: Array
    right: Array
    column_scale: Array
    intercept: Array
    target_mean: Array
    target_std: Array
    cv_correlation: Array

    @property
    def rank(self) -> int:
        """Return the number of components of the product."""
        return self.left.shape[1]

    @cached_property
    def _factors(self) -> tuple[Array, Array]:
        # CPUs multiply float32 natively and float16 not at all: widened once, at the first prediction.
        left = self.left.astype(np.float32) * self.row_scale[:, None]
        right = self.right.astype(np.float32) * self.column_scale
        return left, right

    def predict(self, voxels: Array) -> Array:
        """Predict targets, shape (n_trials, n_targets) float32, from all the weights' voxels (n_trials, n_voxels)."""
        left, right = self._factors
        components = np.take(voxels, self.positions, axis=1) @ left
        # components.shape = (n_trials, rank)
        return components @ right + self.intercept


def low_rank_map(
    positions: Array,
    left: Array,
    right: Array,
    voxel_mean: Array,
    *,
    value_at_mean: Array,
    target_mean: Array,
    target_std: Array,
    cv_correlation: Array,
) -> LowRankMap:
    """Store `(voxels - voxel_mean) @ left @ right + value_at_mean` in half precision.

    Parameters
    ----------
    left, right : arrays of shape (n_own, rank) and (rank, n_targets), float
        For voxels in % signal change (z-scoring already divided in).
    voxel_mean : array of shape (n_own,), float
        Mean of each voxel over the training trials.
    value_at_mean : array of shape (n_targets,), float
        The prediction for a trial whose voxels are all at their mean.
    """
    # Components of equal size lose equally little to half precision.
    size = _largest_magnitude(left, axis=0)
    left, right = left / size, right * size[:, None]
    row_scale = _largest_magnitude(left, axis=1)
    column_scale = _largest_magnitude(right, axis=0)
    left16 = (left / row_scale[:, None]).astype(np.float16)
    right16 = (right / column_scale).astype(np.float16)
    # From the rounded factors, so that the mean trial's prediction is exact.
    components_at_mean = (voxel_mean * row_scale) @ left16.astype(np.float64)
    intercept = value_at_mean - components_at_mean @ right16.astype(np.float64) * column_scale
    return LowRankMap(
        positions=np.ascontiguousarray(positions, np.int64),
        left=left16,
        row_scale=row_scale.astype(np.float32),
        right=right16,
        column_scale=column_scale.astype(np.float32),
        intercept=intercept.astype(np.float32),
        target_mean=target_mean.astype(np.float32),
        target_std=target_std.astype(np.float32),
        cv_correlation=cv_correlation.astype(np.float32),
    )


def reduce_rank(fit: "RidgeFit", scale: Array, max_discarded_variance: float) -> tuple[Array, Array, float]:
    """Find the smallest low-rank product whose predictions lose little variance (reduced-rank regression).

    The best product for prediction keeps the leading directions of the *predictions* over the training trials, not of
    the coefficients: voxels are correlated, so large coefficients need not move the predictions. Predictions of some
    targets lead to the directions of all; what lies outside of those is estimated from random sums of all predictions.

    Parameters
    ----------
    fit : RidgeFit
    scale : array of shape (n_targets,), float
        Factors on the targets' predictions.
    max_discarded_variance : float
        Share of the predictions' variance that may be lost, 0–1.

    Returns
    -------
    left, right : arrays of shape (n_voxels, rank) and (rank, n_targets), float64 and float32
    discarded : float
        Share of the predictions' variance that is lost.
    """
    import torch

    from .linear_algebra import matmul

    gram, varying = fit.design.gram, np.flatnonzero(np.isfinite(fit.alphas))
    factors = torch.as_tensor(scale, dtype=torch.float32, device=gram.device)
    order = np.random.default_rng(0).permutation(varying)
    # wanted for the coefficients and for the projection
    factor = lru_cache(FACTORS_KEPT)(fit.design.factor)
    n_read = FIRST_READ
    while True:
        some = np.sort(order[:n_read])
        is_whole = n_read >= min(len(order), len(gram))
        if len(some) < len(gram):
            coefficients = fit.coefficients_of(some, factor) * factors[some]
        else:
            coefficients = torch.eye(len(gram)).to(gram)
        basis = _leading_predictions(coefficients, gram, 0.0 if is_whole else SHARE_LEFT * max_discarded_variance)
        projected, outside = fit.project_predictions(basis, factors, N_PROBES, factor)
        variance, rotation = torch.linalg.eigh(matmul(projected.T, projected).double())
        variance = variance.flip(0).cpu().numpy()
        rank, discarded = _smallest_rank(variance, float(variance.sum()) + outside, max_discarded_variance)
        if discarded <= max_discarded_variance or is_whole:
            break
        n_read *= 2
    if not variance.size:  # nothing is predicted
        return np.zeros((len(fit.design.in_voxels(basis)), 1)), np.zeros((1, len(scale)), np.float32), 0.0
    kept = rotation.flip(1)[:, :rank]
    right = matmul(projected, kept.float()).T.cpu().numpy()
    length = np.linalg.norm(right, axis=1)
    length[length == 0] = 1
    left = fit.design.in_voxels(matmul(basis, kept))
    return left.cpu().numpy() * length, right / length[:, None].astype(np.float32), discarded


def _leading_predictions(coefficients: "torch.Tensor", gram: "torch.Tensor", discarded: float) -> "torch.Tensor":
    """Return coefficients whose predictions are orthonormal over trials and span all but a share of some targets'."""
    import torch

    from .linear_algebra import matmul

    variance, directions = torch.linalg.eigh(matmul(coefficients.T, matmul(gram, coefficients)))
    rounding = len(variance) * torch.finfo(torch.float64).eps
    spanned = variance.cumsum(0) > max(discarded, rounding) * variance.sum()
    return matmul(coefficients, directions[:, spanned] / variance[spanned].sqrt())


def _largest_magnitude(array: Array, axis: int) -> Array:
    """Return the largest magnitude along an axis, 1 where all are zero, so that it can be divided by."""
    magnitude = np.abs(array).max(axis=axis, initial=0.0)
    return np.where(magnitude > 0, magnitude, 1.0)


def _smallest_rank(variance: Array, total: float, max_discarded: float) -> tuple[int, float]:
    """Return how many of falling variances to keep of a total, and the share that is lost."""
    if total == 0:
        return 1, 0.0
    share_lost = np.maximum(1 - np.cumsum(np.maximum(variance, 0)) / total, 0)
    enough = np.flatnonzero(share_lost <= max_discarded)
    rank = int(enough[0]) + 1 if len(enough) else len(variance)
    return rank, float(share_lost[rank - 1])
