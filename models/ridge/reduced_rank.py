"""Reduced-rank regression: the smallest low-rank product whose predictions are nearly the ridge's."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .fit import RidgeFit
from .linear_algebra import matmul

Array = NDArray[Any]

FIRST_READ = 2304  # targets whose predictions give the first basis; doubled until it holds enough of all predictions
SHARE_LEFT = 0.2  # of the permitted loss: what the basis may lose of these targets' own predictions
N_PROBES = 64
FACTORS_KEPT = 3  # 0.7 GB at NSD's size, until the rank is reduced


def reduce_rank(fit: RidgeFit, scale: Array, max_discarded_variance: float) -> tuple[Array, Array, float]:
    """Find the smallest low-rank product whose predictions lose little variance (reduced-rank regression).

    The best product for prediction keeps the leading directions of the *predictions* over the training trials, not of
    the coefficients: voxels are correlated, so large coefficients need not move the predictions. A basis comes from
    some targets' predictions. The variance of all targets' predictions outside the basis is estimated from random sums
    of them.

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
        For z-scored voxels.
    discarded : float
        Share of the predictions' variance that is lost.
    """
    gram = fit.design.gram
    factors = torch.as_tensor(scale, dtype=torch.float32, device=gram.device)
    order = np.random.default_rng(0).permutation(fit.varying)
    # The coefficients and the projection both need the factors.
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
    if not variance.size:  # no target varies
        return np.zeros((len(fit.design.in_voxels(basis)), 1)), np.zeros((1, len(scale)), np.float32), 0.0
    leading = rotation.flip(1)[:, :rank]
    right = matmul(projected, leading.float()).T.cpu().numpy()
    length = np.linalg.norm(right, axis=1)
    length[length == 0] = 1
    left = fit.design.in_voxels(matmul(basis, leading))
    return left.cpu().numpy() * length, right / length[:, None].astype(np.float32), discarded


def _leading_predictions(coefficients: torch.Tensor, gram: torch.Tensor, discarded: float) -> torch.Tensor:
    """Return coefficients whose predictions are orthonormal over trials, (n, n_basis).

    Parameters
    ----------
    coefficients : tensor of shape (n, n_targets), float64
        Of some targets.
    gram : tensor of shape (n, n), float64
    discarded : float
        Share of these targets' predicted variance that the result need not span, 0–1.
    """
    variance, directions = torch.linalg.eigh(matmul(coefficients.T, matmul(gram, coefficients)))
    rounding = len(variance) * torch.finfo(torch.float64).eps
    spanned = variance.cumsum(0) > max(discarded, rounding) * variance.sum()
    return matmul(coefficients, directions[:, spanned] / variance[spanned].sqrt())


def _smallest_rank(variance: Array, total: float, max_discarded: float) -> tuple[int, float]:
    """Return how many of the falling variances to keep, and the share of the total that is lost."""
    if total == 0:
        return 1, 0.0
    share_lost = np.maximum(1 - np.cumsum(np.maximum(variance, 0)) / total, 0)
    enough = np.flatnonzero(share_lost <= max_discarded)
    rank = int(enough[0]) + 1 if len(enough) else len(variance)
    return rank, float(share_lost[rank - 1])
