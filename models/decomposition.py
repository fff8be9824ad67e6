"""Trials' voxels decomposed into orthonormal components, once for all targets, penalties and folds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .kept import Kept

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Decomposition:
    """z-scored voxels, centred for a fit with an intercept, as components · singular_values · directionsᵀ.

    Parameters
    ----------
    directions : tensor of shape (n_voxels, n), float64
    singular_values : tensor of shape (n,), float64
        Rising; directions that no trial spans are left out.
    components : tensor of shape (n_trials, n), float32
        Orthonormal columns.
    summed : tensor of shape (n_pictures, n), float32
        Components summed over each picture's trials.
    """

    directions: torch.Tensor
    singular_values: torch.Tensor
    components: torch.Tensor
    summed: torch.Tensor


def decompose(
    z_scored: Array, picture_of_trial: Array, n_pictures: int, *, intercept: bool = True, device: str = "cpu"
) -> Decomposition:
    """Decompose z-scored voxels through the Gram matrix of their smaller side.

    Parameters
    ----------
    z_scored : array of shape (n_trials, n_voxels), float32
        From `standardise`.
    picture_of_trial : array of shape (n_trials,), int
    intercept : bool
        Centre the voxels.
    """
    voxels = torch.as_tensor(z_scored, device=device).double()
    if intercept:
        voxels -= voxels.mean(dim=0)
    is_wide = voxels.shape[0] < voxels.shape[1]
    eigenvalues, eigenvectors = torch.linalg.eigh(gram(voxels.T if is_wide else voxels))
    # Directions that no trial spans come out as rounding and must not be divided by.
    spanned = eigenvalues > eigenvalues[-1] * len(eigenvalues) * torch.finfo(torch.float64).eps
    singular_values, eigenvectors = eigenvalues[spanned].sqrt(), eigenvectors[:, spanned]
    if is_wide:
        components, directions = eigenvectors, voxels.T @ eigenvectors / singular_values
    else:
        components, directions = voxels @ eigenvectors / singular_values, eigenvectors
    return _decomposition(directions, singular_values, components.float(), picture_of_trial, n_pictures)


def kept_decomposition(
    kept: Kept, compute: Callable[[], Decomposition], picture_of_trial: Array, n_pictures: int, device: str = "cpu"
) -> Decomposition:
    """Return a decomposition that an earlier attempt left, or compute it and leave it for the next."""
    made: list[Decomposition] = []

    def field(name: str) -> torch.Tensor:
        def computed() -> Array:
            if not made:
                made.append(compute())
            return getattr(made[0], name).cpu().numpy()

        return torch.as_tensor(kept.array(name, computed), device=device)

    if kept.folder is None:
        return compute()
    directions, singular_values, components = map(field, ("directions", "singular_values", "components"))
    made.clear()
    return _decomposition(directions, singular_values, components, picture_of_trial, n_pictures)


def shrinkage_of(singular_values: torch.Tensor, alphas: Array) -> torch.Tensor:
    """Return s² / (s² + alpha), (n_components, n_alphas) float64: how much of a component is predicted."""
    squared = singular_values[:, None] ** 2
    return squared / (squared + torch.as_tensor(np.atleast_1d(alphas), device=squared.device))


def gram(columns: torch.Tensor) -> torch.Tensor:
    """Return the inner products of a matrix's columns."""
    if columns.device.type == "cpu":
        array = columns.numpy()
        return torch.from_numpy(array.T @ array)  # numpy sees the symmetry and does half the work
    return columns.T @ columns


def leading_basis(values: torch.Tensor, size: int) -> torch.Tensor:
    """Return orthonormal columns, (n_pictures, size), that nearly span the leading left singular vectors of values."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    start = torch.randn(values.shape[1], size, generator=generator).to(values)
    basis = torch.linalg.qr(values @ start)[0]
    for _ in range(2):
        basis = torch.linalg.qr(values @ (values.T @ basis))[0]
    return basis


def _decomposition(
    directions: torch.Tensor,
    singular_values: torch.Tensor,
    components: torch.Tensor,
    picture_of_trial: Array,
    n_pictures: int,
) -> Decomposition:
    summed = torch.zeros(n_pictures, components.shape[1], device=components.device)
    summed.index_add_(0, torch.as_tensor(picture_of_trial, device=components.device), components)
    return Decomposition(directions, singular_values, components, summed)
