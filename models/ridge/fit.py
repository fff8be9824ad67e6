"""Ridge regression from voxels to many targets, with a penalty for each target.

Minimises ||y - Xw||² + penalty ||w||² for each target y; the rows of X are single trials' z-scored voxels. The
solution of (XᵀX + penalty) w = Xᵀy takes one Cholesky factor for each penalty. A target has one value a picture, which
the picture's trials share: Xᵀy is formed from X summed over each picture's trials. Coefficients of all targets would
not fit in memory. They are formed only on request, and reduced-rank regression (`models/ridge/reduced_rank.py`) needs
few of them. Cross-validation over pictures chooses the penalties (`models/ridge/penalties.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..weights.low_rank import TargetStatistics
from .checkpoint import Checkpoint
from .design import Design
from .linear_algebra import cholesky_solve, matmul
from .memory_maps import release
from .penalties import choose_penalties
from .problem import Progress, RidgeProblem, RidgeTargets, in_chunks

Array = NDArray[Any]
Factor = Callable[[float], torch.Tensor]
"""A penalty → the lower Cholesky factor of the design's gram + penalty, (n, n)."""


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """Ridge solutions of all targets, and scores of their cross-validated predictions.

    Parameters
    ----------
    design : Design
    targets : RidgeTargets
    penalties : array of shape (n_targets,), float64
        Chosen; NaN for constant targets.
    held_out_std : array of shape (n_targets,), float64
        Standard deviation of the predictions for trials whose fold was left out.
    held_out_correlation, held_out_mse : arrays of shape (n_targets,), float64
        Of those predictions with the targets. The correlation is 0 where either is constant; the error is averaged over
        folds.
    """

    design: Design
    targets: RidgeTargets
    penalties: Array
    held_out_std: Array
    held_out_correlation: Array
    held_out_mse: Array

    @property
    def varying(self) -> Array:
        """Return the numbers of the fitted targets, which are those that vary: (n_varying,) int."""
        return np.flatnonzero(np.isfinite(self.penalties))

    @property
    def target_statistics(self) -> TargetStatistics:
        """Return the targets' statistics as compiled weights keep them."""
        return TargetStatistics(self.targets.mean, self.targets.std, self.held_out_correlation)

    def coefficients_of(self, numbers: Array, factor: Factor) -> torch.Tensor:
        """Return coefficients of some varying targets for the design's voxels, (n, n_numbers) float64.

        Parameters
        ----------
        numbers : array of shape (n_numbers,), int
            The targets', in rising order.
        factor : from a penalty to its Cholesky factor, (n, n)
            Its dtype is the precision of the solution.
        """
        design, penalties = self.design, self.penalties[numbers]
        found = torch.empty(len(design.gram), len(numbers), dtype=torch.float64, device=design.device)
        for penalty in np.unique(penalties):
            lower = factor(penalty)
            for own in in_chunks(np.flatnonzero(penalties == penalty)):
                values = self.targets.deviations(numbers[own])
                products = matmul(design.by_picture.T.to(lower.dtype), values.to(lower.dtype))
                found[:, own] = cholesky_solve(products, lower).double()
        return found

    @property
    def coefficients(self) -> Array:
        """Return dense coefficients for z-scored voxels, (n_voxels, n_targets) float32; 0 for constant targets."""
        in_float64 = partial(self.design.factor, dtype=torch.float64)
        own = self.design.in_voxels(self.coefficients_of(self.varying, in_float64)).cpu().numpy()
        whole = np.zeros((len(own), len(self.penalties)), np.float32)
        whole[:, self.varying] = own
        return whole

    def project_predictions(
        self, basis: torch.Tensor, scale: torch.Tensor, n_probes: int, factor: Factor
    ) -> tuple[torch.Tensor, float]:
        """Project the training trials' predictions, scaled, onto an orthonormal basis.

        Parameters
        ----------
        basis : tensor of shape (n, n_basis), float64
            Coefficients for the design's voxels, whose predictions are orthonormal over trials.
        scale : tensor of shape (n_targets,), float32
            Factors on the targets' predictions.
        n_probes : int
            Random sums of all targets' predictions, from which `outside` is estimated.
        factor : from a penalty to its Cholesky factor, (n, n)

        Returns
        -------
        projected : tensor of shape (n_targets, n_basis), float32
        outside : float
            Sum of squares of the predictions' parts outside the basis.
        """
        design, device = self.design, basis.device
        onto, generator = matmul(design.gram, basis), torch.Generator().manual_seed(0)
        probes = torch.randn(len(scale), n_probes, generator=generator).to(device) * scale[:, None]
        projected = torch.zeros(len(scale), basis.shape[1], device=device)
        outside = torch.zeros(len(basis), n_probes, dtype=torch.float64, device=device)
        for penalty in np.unique(self.penalties[self.varying]):
            lower = factor(penalty)
            pattern = matmul(design.by_picture, cholesky_solve(onto.to(lower.dtype), lower).float())
            total = torch.zeros(len(pattern), n_probes, device=device)
            for own in in_chunks(np.flatnonzero(self.penalties == penalty)):
                values = self.targets.deviations(own)
                projected[own] = matmul(values.T, pattern) * scale[own, None]
                total += values @ probes[own]
            # Predictions are linear in the targets: targets of one penalty are summed, then solved once.
            outside += cholesky_solve((design.by_picture.T @ total).to(lower.dtype), lower)
        outside -= basis @ (onto.T @ outside)
        return projected, float((outside * (design.gram @ outside)).sum()) / n_probes


def fit_targets(
    problem: RidgeProblem,
    targets: Array,
    *,
    checkpoint: Checkpoint | None = None,
    progress: Progress | None = None,
) -> RidgeFit:
    """Fit every target, each with the penalty whose held-out squared error, averaged over folds, is smallest.

    Parameters
    ----------
    problem : RidgeProblem
    targets : array of shape (n_pictures, n_targets), float
        By the design's pictures. A memory map is read a chunk at a time.
    checkpoint : Checkpoint, optional
        Lets a later attempt go on where this one is interrupted.
    progress : called with the finished share, 0–1.
    """
    described = RidgeTargets.of(targets, problem.design)
    varying, penalties = described.varying, np.full(len(described), np.nan)
    held_out = np.zeros((3, len(described)))
    if len(varying):
        penalties[varying], held_out[:, varying] = choose_penalties(
            problem, described, checkpoint or Checkpoint(), progress or (lambda share: None)
        )
    release(targets)
    std, correlation, mse = held_out
    return RidgeFit(problem.design, described, penalties, std, correlation, mse)
