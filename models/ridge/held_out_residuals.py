"""Held-out residuals from the fit to all trials, without a fit for each fold.

The residuals of fold v's trials, had the fold been left out of the fit, are e_v = (I - H_vv)⁻¹ (y_v - ŷ_v) with the hat
matrix H = X (XᵀX + penalty)⁻¹ Xᵀ, plus 1 / n_trials for an intercept. So one Cholesky factor serves all folds.
"""

from collections.abc import Callable
from functools import lru_cache

import torch

from .linear_algebra import cholesky, cholesky_solve, gram, matmul, whiten
from .problem import RidgeProblem

Residuals = Callable[[torch.Tensor], torch.Tensor]
"""Targets, (n_pictures, n_targets) float32 → held-out residuals, (n_trials, n_targets) float32."""

LARGEST_CACHE = 5 * 2**28  # bytes of the factors at some penalties


def held_out_residuals(problem: RidgeProblem) -> Callable[[float], Residuals]:
    """Return a function from a penalty to `Residuals`.

    It keeps the factors at the last few penalties: once all penalties are tried, some are needed again, most likely the
    last ones.
    """
    bytes_each = 4 * (problem.design.voxels.numel() + sum(len(held_out) ** 2 for _, held_out in problem.folds))
    return lru_cache(max(1, LARGEST_CACHE // bytes_each))(lambda penalty: _residuals_at(problem, penalty))


def _residuals_at(problem: RidgeProblem, penalty: float) -> Residuals:
    design, device = problem.design, problem.design.device
    pictures = torch.as_tensor(design.picture_of_trial, device=device)
    held_outs = [torch.as_tensor(held_out, device=device) for _, held_out in problem.folds]
    factor = design.factor(penalty)
    dtype = factor.dtype
    whitened = whiten(design.voxels.to(dtype), factor)
    # whitened whitenedᵀ = H
    fold_factors = []
    for held_out in held_outs:
        left = torch.eye(len(held_out), dtype=dtype, device=device) - gram(whitened[held_out].T)
        fold_factors.append(cholesky(left - design.intercept / len(design.voxels)))

    def residuals(targets: torch.Tensor) -> torch.Tensor:
        by_trial = targets[pictures].to(dtype)
        found = by_trial - matmul(whitened, matmul(whitened.T, by_trial))
        for held_out, fold_factor in zip(held_outs, fold_factors, strict=True):
            found[held_out] = cholesky_solve(found[held_out], fold_factor)
        return found.float()

    return residuals
