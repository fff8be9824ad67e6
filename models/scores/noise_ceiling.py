"""Noise ceilings from repeats: how well a perfect decoder's targets, or a perfect model's voxels, could be met."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def repeat_correlation(unit_predictions: Array, picture_of_trial: Array, n_pictures: int) -> Array:
    """Correlate what is decoded from different trials of a picture, averaged over their pairs.

    Parameters
    ----------
    unit_predictions : array of shape (n_trials, n_targets), float
        Centred rows of length 1.
    picture_of_trial : array of shape (n_trials,), int

    Returns
    -------
    correlation : array of shape (n_pictures,), float64
        NaN for a picture with less than two trials.
    """
    sums = np.zeros((n_pictures, unit_predictions.shape[1]))
    np.add.at(sums, picture_of_trial, unit_predictions)
    lengths = np.bincount(picture_of_trial, np.einsum("ij,ij->i", unit_predictions, unit_predictions), n_pictures)
    n_trials = np.bincount(picture_of_trial, minlength=n_pictures)
    n_pairs = n_trials * (n_trials - 1.0)
    among_pairs = np.einsum("ij,ij->i", sums, sums) - lengths
    return np.divide(among_pairs, n_pairs, out=np.full(n_pictures, np.nan), where=n_pairs > 0)


def correlation_ceiling(reliability: float, n_repeats: float) -> float:
    """Return the correlation with its target that a decode's own unreliability leaves possible.

    Trials of a picture share nothing but the picture, so a decode correlates with any fixed target at most as the root
    of how its repeats correlate with each other; averaging makes them more reliable (Spearman 1910, Brown 1910).
    """
    reliability = max(reliability, 0.0)
    return float(np.sqrt(n_repeats * reliability / (1 + (n_repeats - 1) * reliability)))


def voxel_ceilings(voxels: Array, picture_of_trial: Array, n_repeats: float) -> Array:
    """Return the share of each voxel's variance that its picture explains at most, after averaging `n_repeats`.

    Noise is what differs between trials of a picture, signal what is left of the total variance (Allen et al. 2022).

    Parameters
    ----------
    voxels : array of shape (n_trials, n_voxels), float
    picture_of_trial : array of shape (n_trials,), int

    Returns
    -------
    ceiling : array of shape (n_voxels,), float64
        0–1; NaN where no picture was repeated.
    """
    pictures, position, n_trials = np.unique(picture_of_trial, return_inverse=True, return_counts=True)
    means = np.zeros((len(pictures), voxels.shape[1]))
    np.add.at(means, position, voxels)
    means /= n_trials[:, None]
    degrees = int((n_trials - 1).sum())
    if degrees == 0:
        return np.full(voxels.shape[1], np.nan)
    noise = ((voxels - means[position]) ** 2).sum(axis=0, dtype=np.float64) / degrees
    signal = np.maximum(voxels.var(axis=0, dtype=np.float64) - noise, 0)
    return signal / np.maximum(signal + noise / n_repeats, np.finfo(float).tiny)
