"""Grids: whether two affines put a volume at the same place."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Affines pass through float32 headers and text. Rounding moves a corner by some micrometres.
MAX_CORNER_SHIFT_MM = 0.1
"""Two affines whose volumes lie farther apart than this, at the farthest corner, are two grids."""


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
