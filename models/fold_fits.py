"""Fits to every fold's training trials, at all penalties at once: one eigendecomposition a fold, XᵀX = Q λ Qᵀ.

Held-out predictions at a penalty are (x Q) (Qᵀ Xᵀy / (λ + alpha)): exact for any penalty, and cheap where
voxels are few.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .design import Design, in_chunks, make_design
from .kept import Kept
from .linear_algebra import matmul

Array = NDArray[Any]


def held_out_statistics(
    design: Design,
    picture_of_trial: Array,
    folds: list[tuple[Array, Array]],
    alphas: Array,
    intercept: bool,
    targets: Array,
    shown: Callable[[Array], torch.Tensor],
    statistics: Callable[[torch.Tensor, torch.Tensor], Array],
    dtype: torch.dtype,
    kept: Kept,
    progress: Callable[[float], None],
) -> Array:
    """Compute statistics of every target's held-out residuals at every penalty.

    Parameters
    ----------
    statistics : from targets by picture, (n_pictures, n), and residuals, (n_trials, n) float32, to (4, n)
    dtype : float64 where penalties are next to nothing beside the largest eigenvalue, else float32

    Other parameters are those of `cross_validate`.

    Returns
    -------
    statistics : array of shape (n_alphas, 4, n_targets), float64
    """
    device = design.voxels.device
    fitted = [_Fold(design, picture_of_trial, fold, intercept, dtype) for fold in folds]
    trial_pictures, chunks = torch.as_tensor(picture_of_trial, device=device), in_chunks(targets)

    def of_chunk(chunk: Array) -> Array:
        values = shown(chunk)
        by_trial = values.to(dtype)[trial_pictures]
        products = matmul(design.by_picture.to(dtype).T, values.to(dtype))
        coordinates = [fold.coordinates(products, by_trial) for fold in fitted]
        residuals, own = torch.empty_like(by_trial), []
        for alpha in alphas:
            for fold, of_fold in zip(fitted, coordinates, strict=True):
                residuals[fold.held_out] = by_trial[fold.held_out] - fold.predict(of_fold, alpha)
            own.append(statistics(values, residuals.float()))
        return np.stack(own)

    found = []
    for number, chunk in enumerate(chunks):
        found.append(kept.array(f"statistics-{number:04d}", lambda chunk=chunk: of_chunk(chunk)))
        progress((number + 1) / len(chunks))
    return np.concatenate(found, axis=2)


class _Fold:
    """A fold's training trials, decomposed, and its held-out trials along the eigenvectors.

    Tensors: `training` and `held_out` are trials' numbers; `eigenvalues` has the shape (n, 1) and `eigenvectors`
    (n_voxels, n); `mean` (n_voxels,) is the training trials', `voxels` (n_held_out, n_voxels) the held-out ones', and
    `new` (n_held_out, n) those about the mean along the eigenvectors.
    """

    def __init__(
        self,
        design: Design,
        picture_of_trial: Array,
        fold: tuple[Array, Array],
        intercept: bool,
        dtype: torch.dtype,
    ) -> None:
        device = design.voxels.device
        self.training, self.held_out = (torch.as_tensor(trials, device=device) for trials in fold)
        self.intercept, voxels = intercept, design.voxels[self.training]
        own = make_design(voxels, picture_of_trial[fold[0]], len(design.by_picture), intercept=intercept)
        eigenvalues, eigenvectors = torch.linalg.eigh(own.gram)
        self.eigenvalues = eigenvalues.clamp(min=0).to(dtype)[:, None]
        self.eigenvectors = own.in_voxels(eigenvectors).to(dtype)
        self.mean = intercept * voxels.mean(dim=0, dtype=torch.float64).to(dtype)
        self.voxels = design.voxels[self.held_out].to(dtype)
        self.new = matmul(self.voxels - self.mean, self.eigenvectors)

    def coordinates(self, products: torch.Tensor, by_trial: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return Qᵀ Xᵀy over the training trials, (n, n_targets), and the mean that predictions are about.

        Parameters
        ----------
        products : tensor of shape (n_voxels, n_targets)
            Xᵀy over all trials.
        by_trial : tensor of shape (n_trials, n_targets)
        """
        total = by_trial[self.training].sum(dim=0)
        products = products - matmul(self.voxels.T, by_trial[self.held_out]) - torch.outer(self.mean, total)
        return matmul(self.eigenvectors.T, products), total / len(self.training) * self.intercept

    def predict(self, coordinates: tuple[torch.Tensor, torch.Tensor], alpha: float) -> torch.Tensor:
        """Return predictions for the held-out trials, (n_held_out, n_targets)."""
        products, mean = coordinates
        return matmul(self.new, products / (self.eigenvalues + alpha)) + mean
