"""The design matrix of a ridge regression: z-scored voxels of single trials, and how they are solved at a penalty."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .linear_algebra import cholesky, gram, matmul

Array = NDArray[Any]

# Penalties below this share of the mean eigenvalue need float64: the largest eigenvalue is a thousand times the mean.
FLOAT64_BELOW = 1e-2


@dataclass(frozen=True, eq=False)
class Design:
    """The trials' z-scored voxels, centred for a fit with an intercept.

    Where voxels outnumber trials, the voxels' coordinates in the space that the trials span take their place.

    Parameters
    ----------
    voxels : tensor of shape (n_trials, n), float32
    by_picture : tensor of shape (n_pictures, n), float32
        `voxels` summed over each picture's trials.
    gram : tensor of shape (n, n), float64
        voxelsᵀ voxels.
    directions : tensor of shape (n_voxels, n), float64, or None
        Orthonormal columns that the coordinates are along. They leave out directions that no trial spans.
    picture_of_trial : array of shape (n_trials,), int
        The picture that each trial showed.
    intercept : bool
        Whether predictions include the targets' mean.
    """

    voxels: torch.Tensor
    by_picture: torch.Tensor
    gram: torch.Tensor
    directions: torch.Tensor | None
    picture_of_trial: Array
    intercept: bool

    @property
    def device(self) -> torch.device:
        """Return the device that computes."""
        return self.voxels.device

    def factor(self, penalty: float, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return the lower Cholesky factor of gram + penalty, (n, n).

        Parameters
        ----------
        penalty : float
        dtype : torch.dtype, optional
            Without it, float32 where that is precise enough, else float64.
        """
        if dtype is None:
            mean_eigenvalue = float(self.gram.trace()) / len(self.gram)
            dtype = torch.float64 if penalty < FLOAT64_BELOW * mean_eigenvalue else torch.float32
        penalised = self.gram.to(dtype, copy=True)
        penalised.diagonal().add_(penalty)
        return cholesky(penalised)

    def in_voxels(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return coefficients of `voxels` as coefficients of the z-scored voxels, (n_voxels, n_targets) float64."""
        return coefficients if self.directions is None else matmul(self.directions, coefficients)


def make_design(
    z_scored: Array | torch.Tensor,
    picture_of_trial: Array,
    n_pictures: int,
    *,
    intercept: bool = True,
    device: str = "cpu",
) -> Design:
    """Make the design of trials.

    Parameters
    ----------
    z_scored : array or tensor of shape (n_trials, n_voxels), float32
        From `standardise`.
    picture_of_trial : array of shape (n_trials,), int
    n_pictures : int
        More than the largest number in `picture_of_trial`.
    intercept : bool
        Centre the voxels, so that the targets' mean is predicted too.
    device : str
        torch's name of the device that computes.
    """
    voxels, directions = torch.as_tensor(z_scored, device=device).double(), None
    if intercept:
        voxels -= voxels.mean(dim=0)
    if voxels.shape[0] < voxels.shape[1]:
        eigenvalues, eigenvectors = torch.linalg.eigh(gram(voxels.T))
        # The eigenvalue of a direction that no trial spans is rounding and must not divide.
        spanned = eigenvalues > eigenvalues[-1] * len(eigenvalues) * torch.finfo(torch.float64).eps
        singular_values = eigenvalues[spanned].sqrt()
        directions = matmul(voxels.T, eigenvectors[:, spanned]) / singular_values
        voxels = eigenvectors[:, spanned] * singular_values
    products, voxels = gram(voxels), voxels.float()
    by_picture = torch.zeros(n_pictures, voxels.shape[1], device=voxels.device)
    by_picture.index_add_(0, torch.as_tensor(picture_of_trial, device=voxels.device), voxels)
    return Design(voxels, by_picture, products, directions, picture_of_trial, intercept)


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
