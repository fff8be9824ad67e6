"""Likeness of decoded z and c with true ones and with the training pictures'."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..constant_features import is_varying
from ..weights.low_rank import LowRankMap
from ..weights.weights import Weights
from .metrics import row_correlation, unit_rows

Array = NDArray[Any]


def standardised(part: LowRankMap, targets: Array) -> Array:
    """Return targets as unit rows, (n, n_varying) float64, standardised by the training pictures' moments."""
    varying = is_varying(part.target_std)
    return unit_rows(
        (targets.reshape(len(targets), -1)[:, varying] - part.target_mean[varying]) / part.target_std[varying]
    )


def nearest_by_decode(weights: Weights, training_voxels: Array, z: Array, c: Array, at_once: int = 256) -> Array:
    """Return, for decoded z and c, the training picture whose mean response decodes to the most similar ones.

    Parameters
    ----------
    training_voxels : array of shape (n_training_pictures, n_voxels), float32
    z, c : arrays of shape (n, *latent_shape) and (n, *text_shape), float

    Returns
    -------
    nearest : array of shape (n,), int
        Likeness is the correlation over standardised targets, averaged over z and c.
    """
    own = standardised(weights.z, z), standardised(weights.c, c)
    best, nearest = np.full(len(z), -np.inf), np.zeros(len(z), np.int64)
    for start in range(0, len(training_voxels), at_once):
        training_z, training_c = weights.predict(training_voxels[start : start + at_once])
        likeness = own[0] @ standardised(weights.z, training_z).T + own[1] @ standardised(weights.c, training_c).T
        position = likeness.argmax(axis=1)
        found = likeness[np.arange(len(z)), position]
        nearest = np.where(found > best, start + position, nearest)
        best = np.maximum(found, best)
    return nearest


def target_correlation(part: LowRankMap, true: Array, predicted: Array) -> Array:
    """Correlate predicted with true z (or c) over targets, each standardised by the training pictures' moments.

    Not standardised, any two text embeddings correlate at about 0.9. Constant targets are left out.

    Parameters
    ----------
    true, predicted : arrays of shape (n, ...), float

    Returns
    -------
    correlation : array of shape (n,), float64
    """
    return row_correlation(standardised(part, true), standardised(part, predicted))
