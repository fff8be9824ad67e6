"""What all targets of a ridge regression share: the trials' voxels, and how they are solved for at a penalty."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .linear_algebra import cholesky, gram, matmul

Array = NDArray[Any]

TARGETS_PER_CHUNK = 2048
# Penalties below this share of the mean eigenvalue need float64: the largest eigenvalue is a thousand times the mean.
FLOAT64_BELOW = 1e-2


@dataclass(frozen=True, eq=False)
class Design:
    """z-scored voxels, centred for a fit with an intercept, or their coordinates where voxels outnumber trials.

    Parameters
    ----------
    voxels : tensor of shape (n_trials, n), float32
    by_picture : tensor of shape (n_pictures, n), float32
        `voxels` summed over each picture's trials.
    gram : tensor of shape (n, n), float64
        voxelsᵀ voxels.
    directions : tensor of shape (n_voxels, n), float64, or None
        Orthonormal columns that the coordinates are along; directions that no trial spans are left out.
    """

    voxels: torch.Tensor
    by_picture: torch.Tensor
    gram: torch.Tensor
    directions: torch.Tensor | None

    def factor(self, alpha: float, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return the Cholesky factor of gram + alpha, (n, n) lower: float32 where that is enough, if not told."""
        if dtype is None:
            mean_eigenvalue = float(self.gram.trace()) / len(self.gram)
            dtype = torch.float64 if alpha < FLOAT64_BELOW * mean_eigenvalue else torch.float32
        penalised = self.gram.to(dtype, copy=True)
        penalised.diagonal().add_(alpha)
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
    intercept : bool
        Centre the voxels.
    """
    voxels, directions = torch.as_tensor(z_scored, device=device).double(), None
    if intercept:
        voxels -= voxels.mean(dim=0)
    if voxels.shape[0] < voxels.shape[1]:
        eigenvalues, eigenvectors = torch.linalg.eigh(gram(voxels.T))
        # Directions that no trial spans come out as rounding and must not be divided by.
        spanned = eigenvalues > eigenvalues[-1] * len(eigenvalues) * torch.finfo(torch.float64).eps
        singular_values = eigenvalues[spanned].sqrt()
        directions = matmul(voxels.T, eigenvectors[:, spanned]) / singular_values
        voxels = eigenvectors[:, spanned] * singular_values
    products, voxels = gram(voxels), voxels.float()
    by_picture = torch.zeros(n_pictures, voxels.shape[1], device=voxels.device)
    by_picture.index_add_(0, torch.as_tensor(picture_of_trial, device=voxels.device), voxels)
    return Design(voxels, by_picture, products, directions)


def in_chunks(targets: Array) -> list[Array]:
    """Split target numbers into those that are read and solved for at once."""
    return np.split(targets, range(TARGETS_PER_CHUNK, len(targets), TARGETS_PER_CHUNK))


def leading_basis(values: torch.Tensor, size: int) -> torch.Tensor:
    """Return orthonormal columns, (n_pictures, size), that nearly span the leading left singular vectors of values."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    start = torch.randn(values.shape[1], size, generator=generator).to(values)
    basis = torch.linalg.qr(matmul(values, start))[0]
    for _ in range(2):
        basis = torch.linalg.qr(matmul(values, matmul(values.T, basis)))[0]
    return basis
