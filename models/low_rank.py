"""One affine map from voxels to z or to c, as a low-rank product in half precision."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from .ridge import RidgeFit

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


def reduce_rank(fit: "RidgeFit", scale: Array, max_discarded_variance: float) -> tuple[Array, Array, float]:
    """Find the smallest low-rank product whose predictions lose little variance (reduced-rank regression).

    The best product for prediction keeps the leading directions of the *predictions* over the training trials, not of
    the coefficients: voxels are correlated, so large coefficients need not move the predictions. Predictions come a
    chunk of targets at a time, as coordinates in the trials' components.

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

    from .decomposition import gram

    def scaled(number: int) -> "torch.Tensor":
        predicted = fit.predicted_components(number)
        return predicted * torch.as_tensor(scale[fit.chunks[number]], dtype=torch.float32, device=predicted.device)

    singular_values = fit.decomposition.singular_values
    products = torch.zeros(len(singular_values), len(singular_values), dtype=torch.float64)
    for number in range(len(fit.chunks)):
        products += gram(scaled(number).T).cpu()
    variance, directions = _leading_eigenvectors(products, max_discarded_variance)
    rank, discarded = _smallest_rank(variance, float(products.trace()), max_discarded_variance)
    kept = directions[:, :rank].to(singular_values)
    right = np.zeros((rank, len(scale)), np.float32)
    for number, chunk in enumerate(fit.chunks):
        right[:, chunk] = (kept.T.float() @ scaled(number)).cpu().numpy()
    length = np.linalg.norm(right, axis=1)
    length[length == 0] = 1
    left = fit.decomposition.directions @ (kept / singular_values[:, None])
    return left.cpu().numpy() * length, right / length[:, None].astype(np.float32), discarded


def _leading_eigenvectors(products: "torch.Tensor", max_discarded: float) -> tuple[Array, "torch.Tensor"]:
    """Return falling eigenvalues and their eigenvectors: all, or as many as leave less than that share of the trace."""
    import torch

    n, n_wanted = len(products), 320
    generator = torch.Generator().manual_seed(0)
    while 3 * n_wanted < n:
        basis = torch.randn(n, n_wanted, dtype=torch.float64, generator=generator)
        for _ in range(6):
            basis = torch.linalg.qr(products @ basis)[0]
        variance, inner = torch.linalg.eigh(basis.T @ products @ basis)
        # the last of them are not yet the leading ones
        if variance[n_wanted // 10 :].sum() >= (1 - max_discarded) * products.trace():
            return variance.flip(0).numpy(), basis @ inner.flip(1)
        n_wanted *= 2
    variance, directions = torch.linalg.eigh(products)
    return variance.flip(0).numpy(), directions.flip(1)


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
