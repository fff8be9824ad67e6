"""How alike decoded and seen pictures are: pixel correlation, SSIM, two-way identification, bootstrap intervals.

Definitions follow Brain-Diffuser's and MindEye's evaluation code, at the pictures' own size.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def row_correlation(first: Array, second: Array) -> Array:
    """Correlate each row of one array with the same row of another.

    Parameters
    ----------
    first, second : arrays of shape (n, ...), real
        Axes after the first are flattened.

    Returns
    -------
    correlation : array of shape (n,), float64
        0 where a row does not vary.
    """
    return np.einsum("ij,ij->i", _unit_rows(first), _unit_rows(second))


def pixcorr(seen: Array, decoded: Array) -> Array:
    """Return PixCorr of each picture: the correlation of its RGB values with the seen one's.

    Parameters
    ----------
    seen, decoded : arrays of shape (n, px, px, 3), uint8

    Returns
    -------
    pixcorr : array of shape (n,), float64
    """
    # One by one: 982 pictures of 512 px would take 6 GB as float64.
    pairs = zip(seen, decoded, strict=True)
    return np.array([row_correlation(one_seen[None], one_decoded[None])[0] for one_seen, one_decoded in pairs])


def ssim(seen: Array, decoded: Array) -> Array:
    """Return the structural similarity of each picture, in grey, with a Gaussian window of sigma 1.5.

    Parameters
    ----------
    seen, decoded : arrays of shape (n, px, px, 3), uint8

    Returns
    -------
    ssim : array of shape (n,), float64
    """
    # scikit-image: 0.3 s, only an evaluation pays
    from skimage.color import rgb2gray
    from skimage.metrics import structural_similarity

    return np.array(
        [
            structural_similarity(
                rgb2gray(one_seen),
                rgb2gray(one_decoded),
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=1.0,
                channel_axis=None,
            )
            for one_seen, one_decoded in zip(seen, decoded, strict=True)
        ]
    )


def two_way(features_true: Array, features_decoded: Array, picture_of_decoded: Array | None = None) -> Array:
    """Identify decoded pictures among pairs: the seen one and another seen one.

    Parameters
    ----------
    features_true : array of shape (n_pictures, n_features), float
        Of the seen pictures, at least 2.
    features_decoded : array of shape (n_decoded, n_features), float
    picture_of_decoded : array of shape (n_decoded,), int, optional
        Row of `features_true` that each was decoded from; without it, row for row.

    Returns
    -------
    identified : array of shape (n_decoded,), float64
        Share of the other seen pictures that correlate less with the decoded one than its own does; chance is 0.5.
        An equal correlation counts half.
    """
    if picture_of_decoded is None:
        picture_of_decoded = np.arange(len(features_true))
    correlation = _unit_rows(features_true) @ _unit_rows(features_decoded).T
    # correlation.shape = (n_pictures, n_decoded)
    own = correlation[picture_of_decoded, np.arange(len(features_decoded))]
    n_below = (correlation < own).sum(axis=0)
    n_equal = (correlation == own).sum(axis=0) - 1
    return (n_below + n_equal / 2) / (len(correlation) - 1)


def mean_by_picture(scores: Array, picture_of_score: Array, n_pictures: int) -> Array:
    """Average each picture's scores: (n_pictures,) float64, NaN for a picture without any."""
    n_scores = np.bincount(picture_of_score, minlength=n_pictures)
    sums = np.bincount(picture_of_score, scores, n_pictures)
    return np.divide(sums, n_scores, out=np.full(n_pictures, np.nan), where=n_scores > 0)


def bootstrap_ci(scores: Array, seed: int, n_bootstrap: int = 2000, level: float = 0.95) -> tuple[float, float]:
    """Return a percentile bootstrap interval of the mean over pictures.

    Parameters
    ----------
    scores : array of shape (n_pictures,), float
        One score a picture: trials of a picture are not independent, so they are averaged first.
    seed : int
    level : float
        Share of the interval, 0–1.
    """
    drawn = np.random.default_rng(seed).integers(0, len(scores), (n_bootstrap, len(scores)))
    means = np.asarray(scores, np.float64)[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _unit_rows(rows: Array) -> Array:
    """Flatten, centre each row and scale it to length 1; a row without variation becomes zero."""
    rows = rows.reshape(len(rows), -1).astype(np.float64)
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    varies = length > 1e-12 * np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(varies, centred / np.where(varies, length, 1), 0)
