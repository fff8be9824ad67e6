"""One affine map from voxels to z or to c, as a low-rank product in half precision."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# A target that varies less than this share of the most varying one is constant up to rounding (CLIP's first tokens).
CONSTANT_BELOW = 1e-5

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


def reduce_rank(coefficients: Array, gram: Array, max_discarded_variance: float) -> tuple[Array, Array, float]:
    """Find the smallest low-rank product whose predictions lose little variance (reduced-rank regression).

    The best product for prediction keeps the leading directions of the *predictions* over the training trials, not of
    the coefficients: voxels are correlated, so large coefficients need not move the predictions.

    Parameters
    ----------
    coefficients : array of shape (n_voxels, n_targets), float
    gram : array of shape (n_voxels, n_voxels), float64
        Of the same z-scored voxels.
    max_discarded_variance : float
        Share of the predictions' variance that may be lost, 0–1.

    Returns
    -------
    left, right : arrays of shape (n_voxels, rank) and (rank, n_targets), float64
    discarded : float
        Share of the predictions' variance that is lost.
    """
    coefficients = coefficients.astype(np.float64)
    n_voxels, n_targets = coefficients.shape
    if n_targets <= n_voxels:
        variance, directions = np.linalg.eigh(coefficients.T @ (gram @ coefficients))
        rank, discarded = _smallest_rank(variance, max_discarded_variance)
        right = directions[:, ::-1][:, :rank].T
    else:
        # Predictions = (an orthonormal basis of the trials) @ root: the same directions from the smaller side.
        eigenvalues, eigenvectors = np.linalg.eigh(gram)
        root = np.sqrt(np.maximum(eigenvalues, 0))[:, None] * (eigenvectors.T @ coefficients)
        variance, left_directions = np.linalg.eigh(root @ root.T)
        rank, discarded = _smallest_rank(variance, max_discarded_variance)
        right = left_directions[:, ::-1][:, :rank].T @ root
        right /= np.linalg.norm(right, axis=1, keepdims=True)
    return coefficients @ right.T, right, discarded


def _largest_magnitude(array: Array, axis: int) -> Array:
    """Return the largest magnitude along an axis, 1 where all are zero, so that it can be divided by."""
    magnitude = np.abs(array).max(axis=axis, initial=0.0)
    return np.where(magnitude > 0, magnitude, 1.0)


def _smallest_rank(variance: Array, max_discarded: float) -> tuple[int, float]:
    """Return how many of the largest of rising variances to keep, and the share that is lost."""
    kept = np.cumsum(np.maximum(variance[::-1], 0))
    if kept[-1] == 0:
        return 1, 0.0
    share_lost = 1 - kept / kept[-1]
    rank = int(np.argmax(share_lost <= max_discarded)) + 1
    return rank, float(max(share_lost[rank - 1], 0))
