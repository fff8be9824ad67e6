"""Held-out predictions from a fit to every fold's training trials: one eigendecomposition a fold, XᵀX = Q λ Qᵀ.

Held-out predictions at a penalty are (x Q) (Qᵀ Xᵀy / (λ + penalty)): exact for any penalty, and cheap where voxels are
few.
"""

import numpy as np
import torch

from ...arrays import Array
from .checkpoint import Checkpoint
from .design import Design, make_design
from .held_out_sums import HeldOutSums
from .linear_algebra import matmul
from .problem import Progress, RidgeProblem, RidgeTargets, in_chunks


def fold_statistics(
    problem: RidgeProblem, targets: RidgeTargets, dtype: torch.dtype, checkpoint: Checkpoint, progress: Progress
) -> Array:
    """Compute `HeldOutSums.statistics` of every varying target at every penalty.

    Parameters
    ----------
    problem : RidgeProblem
    targets : RidgeTargets
    dtype : torch.dtype
        float64 where penalties are next to nothing beside the largest eigenvalue, else float32.
    checkpoint : Checkpoint
        Of the chunks of targets.
    progress : called with the finished share, 0–1.

    Returns
    -------
    statistics : array of shape (n_penalties, 4, n_varying), float64
        By falling penalty.
    """
    design, sums = problem.design, HeldOutSums(problem)
    folds = [_Fold(design, fold, dtype) for fold in problem.folds]
    pictures = torch.as_tensor(design.picture_of_trial, device=design.device)

    def of_chunk(chunk: Array) -> Array:
        values = targets.deviations(chunk)
        by_trial = values.to(dtype)[pictures]
        products = matmul(design.by_picture.to(dtype).T, values.to(dtype))
        coordinates = [fold.coordinates(products, by_trial) for fold in folds]
        residuals, found = torch.empty_like(by_trial), []
        for penalty in problem.falling_penalties:
            for fold, of_fold in zip(folds, coordinates, strict=True):
                residuals[fold.held_out] = by_trial[fold.held_out] - fold.predict(of_fold, penalty)
            found.append(sums.statistics(values, residuals.float()))
        return np.stack(found)

    found, chunks = [], in_chunks(targets.varying)
    for number, chunk in enumerate(chunks):
        found.append(checkpoint.array(f"statistics-{number:04d}", lambda chunk=chunk: of_chunk(chunk)))
        progress((number + 1) / len(chunks))
    return np.concatenate(found, axis=2)


class _Fold:
    """A fold's training trials, decomposed, and its held-out trials along the eigenvectors.

    Its tensors:

    - `training`, `held_out`: trial numbers
    - `eigenvalues` (n, 1) and `eigenvectors` (n_voxels, n)
    - `mean` (n_voxels,) of the training trials' voxels
    - `voxels` (n_held_out, n_voxels) of the held-out trials
    - `centred` (n_held_out, n): these voxels less `mean`, along the eigenvectors
    """

    def __init__(self, design: Design, fold: tuple[Array, Array], dtype: torch.dtype) -> None:
        self.training, self.held_out = (torch.as_tensor(trials, device=design.device) for trials in fold)
        self.intercept, voxels = design.intercept, design.voxels[self.training]
        pictures, n_pictures = design.picture_of_trial[fold[0]], len(design.by_picture)
        own = make_design(voxels, pictures, n_pictures, intercept=design.intercept)
        eigenvalues, eigenvectors = torch.linalg.eigh(own.gram)
        self.eigenvalues = eigenvalues.clamp(min=0).to(dtype)[:, None]
        self.eigenvectors = own.in_voxels(eigenvectors).to(dtype)
        self.mean = design.intercept * voxels.mean(dim=0, dtype=torch.float64).to(dtype)
        self.voxels = design.voxels[self.held_out].to(dtype)
        self.centred = matmul(self.voxels - self.mean, self.eigenvectors)

    def coordinates(self, products: torch.Tensor, by_trial: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return Qᵀ Xᵀy over the training trials, (n, n_targets), and the targets' mean, which predictions add.

        Parameters
        ----------
        products : tensor of shape (n_voxels, n_targets)
            Xᵀy over all trials.
        by_trial : tensor of shape (n_trials, n_targets)
        """
        total = by_trial[self.training].sum(dim=0)
        products = products - matmul(self.voxels.T, by_trial[self.held_out]) - torch.outer(self.mean, total)
        return matmul(self.eigenvectors.T, products), total / len(self.training) * self.intercept

    def predict(self, coordinates: tuple[torch.Tensor, torch.Tensor], penalty: float) -> torch.Tensor:
        """Return predictions for the held-out trials, (n_held_out, n_targets)."""
        products, mean = coordinates
        return matmul(self.centred, products / (self.eigenvalues + penalty)) + mean
