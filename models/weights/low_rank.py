"""One affine map from voxels to z or to c, as a low-rank product in half precision."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

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
        The product's factors. Each row of `left` and each column of `right` is divided by its largest magnitude.
    row_scale, column_scale : arrays of shape (n_own,) and (n_targets,), float32
        These magnitudes.
    intercept : array of shape (n_targets,), float32
    target_mean, target_std, cv_correlation : arrays of shape (n_targets,), float32
        `TargetStatistics`.
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
        # CPUs multiply float32 natively and float16 not at all: the first prediction widens the factors for all.
        left = self.left.astype(np.float32) * self.row_scale[:, None]
        right = self.right.astype(np.float32) * self.column_scale
        return left, right

    def predict(self, voxels: Array) -> Array:
        """Predict targets, shape (n_trials, n_targets) float32, from all the weights' voxels (n_trials, n_voxels)."""
        left, right = self._factors
        components = np.take(voxels, self.positions, axis=1) @ left
        # components.shape = (n_trials, rank)
        return components @ right + self.intercept


@dataclass(frozen=True, eq=False)
class TargetStatistics:
    """Statistics of the training targets, arrays of shape (n_targets,).

    Parameters
    ----------
    mean, std : float
        Over training trials.
    cv_correlation : float
        Correlation of cross-validated single-trial predictions with the targets; 0 for a constant target.
    """

    mean: Array
    std: Array
    cv_correlation: Array


def low_rank_map(
    positions: Array, left: Array, right: Array, voxel_mean: Array, value_at_mean: Array, statistics: TargetStatistics
) -> LowRankMap:
    """Store `(voxels - voxel_mean) @ left @ right + value_at_mean` in half precision.

    Parameters
    ----------
    positions : array of shape (n_own,), int
        Which of the weights' voxels the map reads.
    left, right : arrays of shape (n_own, rank) and (rank, n_targets), float
        For voxels in % signal change: `left` is divided by the voxels' standard deviations.
    voxel_mean : array of shape (n_own,), float
        Mean of each voxel over the training trials.
    value_at_mean : array of shape (n_targets,), float
        Prediction for a trial whose voxels are all at their mean.
    statistics : TargetStatistics
    """
    # Components of equal size lose equally little to half precision.
    size = _largest_magnitude(left, axis=0)
    left, right = left / size, right * size[:, None]
    row_scale = _largest_magnitude(left, axis=1)
    column_scale = _largest_magnitude(right, axis=0)
    left16 = (left / row_scale[:, None]).astype(np.float16)
    right16 = (right / column_scale).astype(np.float16)
    # The intercept comes from the rounded factors: the mean trial's prediction is exact.
    components_at_mean = (voxel_mean * row_scale) @ left16.astype(np.float64)
    intercept = value_at_mean - components_at_mean @ right16.astype(np.float64) * column_scale
    return LowRankMap(
        positions=np.ascontiguousarray(positions, np.int64),
        left=left16,
        row_scale=row_scale.astype(np.float32),
        right=right16,
        column_scale=column_scale.astype(np.float32),
        intercept=intercept.astype(np.float32),
        target_mean=statistics.mean.astype(np.float32),
        target_std=statistics.std.astype(np.float32),
        cv_correlation=statistics.cv_correlation.astype(np.float32),
    )


def _largest_magnitude(array: Array, axis: int) -> Array:
    """Return the largest magnitude along an axis, 1 where all are zero, so that it can be divided by."""
    magnitude = np.abs(array).max(axis=axis, initial=0.0)
    return np.where(magnitude > 0, magnitude, 1.0)
