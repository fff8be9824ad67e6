"""Compares the grids of volumes: how far apart two affines place the same volume."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Affines pass through float32 headers and text. Rounding moves a corner by some micrometres.
MAX_CORNER_SHIFT_MM = 0.1
"""A larger shift of the farthest corner makes two different grids."""


def corner_shift_mm(shape: tuple[int, ...], affine: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the distance between two placements of a volume at its farthest corner, mm.

    Parameters
    ----------
    shape : (X, Y, Z)
    affine, other : arrays of shape (4, 4)
        Voxel indices to mm. The result is NaN if one of them holds NaN.
    """
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * [*(n - 1 for n in shape), 1]
    return float(np.linalg.norm((corners @ (affine - other).T)[:, :3], axis=1).max())
