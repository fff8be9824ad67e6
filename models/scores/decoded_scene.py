"""Separates a decoded demo picture into its background and its object.

The seen scene is not used, so an object that was decoded in the wrong place is found there. The background is fitted to
the border of the picture, which an object hardly covers.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from ...arrays import Array
from ..demo.scenes import PICTURE_PX

BORDER_PX = 4
GRID = [(0.3 + 0.05 * n, softness) for n in range(11) for softness in (0.05, 0.1, 0.25)]  # horizon, softness
NOISE = 10.0  # levels of 255; border pixels that differ much more are taken for the object's
OBJECT_DIFFERENCE = 24.0  # levels of 255, Euclidean over RGB
SMALLEST_PART = 0.15  # of the largest part's area
N_REWEIGHTED = 6


class DecodedScene(NamedTuple):
    """A decoded picture in parts.

    Parameters
    ----------
    background : array of shape (px, px, 3), float64, 0–255
    colours : array of shape (2, 3), float64
        Colours above and below the horizon.
    is_object : array of shape (px, px), bool
        All False if no object is found.
    """

    background: Array
    colours: Array
    is_object: Array


def separate(picture: Array) -> DecodedScene:
    """Separate a picture, (128, 128, 3) uint8, into background and object."""
    background, colours = _fit_background(picture)
    difference = ndimage.gaussian_filter(np.linalg.norm(picture - background, axis=-1), 0.7)
    is_object = ndimage.binary_fill_holes(ndimage.binary_opening(difference > OBJECT_DIFFERENCE))
    parts: Any = ndimage.label(is_object)
    part_of_pixel, n_parts = parts
    if n_parts:
        area = np.bincount(part_of_pixel.ravel())[1:]
        is_object = np.isin(part_of_pixel, 1 + np.flatnonzero(area >= SMALLEST_PART * area.max()))
    return DecodedScene(background, colours, np.asarray(is_object))


def _fit_background(picture: Array) -> tuple[Array, Array]:
    """Fit two colours with a soft horizon and side light by iteratively reweighted least squares with Cauchy weights.

    The fit is repeated for every horizon and softness of a grid; the fit with the least loss is kept.
    """
    border, designs = _border_designs()
    # Side light is weak: its coefficients are shrunk, which also keeps the equations solvable.
    shrinkage = np.diag([1e-6, 1e-6, 1e-3, 1e-3]) * len(border[0])
    values = picture[border].astype(np.float64)
    weights = np.ones(designs.shape[:2])
    coefficients, distance = np.zeros(0), np.zeros(0)
    for _ in range(N_REWEIGHTED):
        weighted = designs.transpose(0, 2, 1) * weights[:, None]
        coefficients = np.linalg.solve(weighted @ designs + shrinkage, weighted @ values)
        distance = np.linalg.norm(values - designs @ coefficients, axis=-1) / NOISE
        weights = 1 / (1 + distance**2)
    best = int(np.log1p(distance**2).sum(axis=1).argmin())
    background = _design(GRID[best]) @ coefficients[best]
    # The grid is coarse: each row is shifted by its residual at the left and right border.
    residual = np.delete(picture - background, np.s_[BORDER_PX:-BORDER_PX], axis=1)
    weight = 1 / (1 + (np.linalg.norm(residual, axis=-1, keepdims=True) / NOISE) ** 2)
    background += ((residual * weight).sum(axis=1) / weight.sum(axis=1))[:, None]
    return np.clip(background, 0, 255), coefficients[best, :2]


@cache
def _design(horizon_and_softness: tuple[float, float]) -> Array:
    """Return the design of every pixel: (px, px, 4) float64, for the colours above and below and their side light."""
    horizon, softness = horizon_and_softness
    centre = (np.arange(PICTURE_PX) + 0.5) / PICTURE_PX
    row, column = np.meshgrid(centre, centre, indexing="ij")
    below = 1 / (1 + np.exp(-(row - horizon) / softness * 4))
    side = (column - 0.5) * 2
    return np.stack([1 - below, below, side * (1 - below), side * below], axis=-1)


@cache
def _border_designs() -> tuple[tuple[Array, Array], Array]:
    """Return every fifth border pixel, (rows, columns), and its design at each point of the grid (n_grid, n, 4)."""
    is_border = np.ones((PICTURE_PX, PICTURE_PX), bool)
    is_border[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = False
    rows, columns = (positions[::5] for positions in np.nonzero(is_border))
    return (rows, columns), np.stack([_design(point)[rows, columns] for point in GRID])
