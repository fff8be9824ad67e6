"""Metrics of decoded pictures: pixel correlation, SSIM, identification, retrieval; bootstrap and permutation tests.

Definitions follow Takagi's, Brain-Diffuser's and MindEye's evaluation code. The protocol sets the size of the pictures
(`models/scores/protocols.py`). All functions take and return arrays.
"""

from typing import Any, Literal

import numpy as np

from ...arrays import Array

SsimWindow = Literal["square", "column"]
SSIM_SETTINGS = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
SSIM_C2 = 0.03**2  # the constant that steadies SSIM where two windows hardly vary


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
    return np.einsum("ij,ij->i", unit_rows(first), unit_rows(second))


def pixcorr(seen: Array, decoded: Array) -> Array:
    """Return PixCorr of each decode: the correlation of its RGB values with the seen picture's.

    Parameters
    ----------
    seen, decoded : arrays of shape (n, px, px, 3), uint8, or float

    Returns
    -------
    pixcorr : array of shape (n,), float64
    """
    # one by one: 982 pictures of 512 px would take 6 GB in float64
    pairs = zip(seen, decoded, strict=True)
    return np.array([row_correlation(one_seen[None], one_decoded[None])[0] for one_seen, one_decoded in pairs])


def ssim(seen: Array, decoded: Array, window: SsimWindow = "square") -> Array:
    """Return the structural similarity of each picture, in grey, with a Gaussian window of sigma 1.5.

    Parameters
    ----------
    seen, decoded : arrays of shape (n, px, px, 3), uint8, or float in [0, 1]
    window : `square`, or `column`: one pixel wide, which gives the mean of the SSIM of each column

    Returns
    -------
    ssim : array of shape (n,), float64
    """
    # scikit-image takes 0.3 s to import; only evaluations need it
    from skimage.color import rgb2gray
    from skimage.metrics import structural_similarity

    channel_axis = None if window == "square" else -1
    return np.array(
        [
            structural_similarity(rgb2gray(one_seen), rgb2gray(one_decoded), channel_axis=channel_axis, **SSIM_SETTINGS)
            for one_seen, one_decoded in zip(seen, decoded, strict=True)
        ]
    )


def ssim_detail(seen: Array, decoded: Array) -> Array:
    """Return the structural similarity of each picture where the seen picture varies.

    Where two windows vary less than SSIM's constant C2, SSIM is near 1 whatever they show. Only windows are averaged
    whose variance in the seen picture is C2 or more.

    Parameters
    ----------
    seen, decoded : arrays of shape (n, px, px, 3), uint8, or float in [0, 1]

    Returns
    -------
    ssim : array of shape (n,), float64
        NaN for a seen picture without such a window.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.color import rgb2gray
    from skimage.metrics import structural_similarity

    scores = []
    for one_seen, one_decoded in zip(seen, decoded, strict=True):
        grey = rgb2gray(one_seen)
        sigma: float = SSIM_SETTINGS["sigma"]
        varies = gaussian_filter(grey**2, sigma) - gaussian_filter(grey, sigma) ** 2 >= SSIM_C2
        result: Any = structural_similarity(grey, rgb2gray(one_decoded), full=True, **SSIM_SETTINGS)
        scores.append(result[1][varies].mean() if varies.any() else np.nan)
    return np.array(scores)


def correlations(features_true: Array, features_decoded: Array) -> Array:
    """Correlate the features of every decoded picture with the features of every seen picture.

    Parameters
    ----------
    features_true : array of shape (n_pictures, ...), float
    features_decoded : array of shape (n_decoded, ...), float

    Returns
    -------
    correlations : array of shape (n_decoded, n_pictures), float64
        0 where features do not vary.
    """
    return unit_rows(features_decoded) @ unit_rows(features_true).T


def two_way(features_true: Array, features_decoded: Array, picture_of_decoded: Array | None = None) -> Array:
    """Two-way identification of decoded pictures by the correlation of features.

    Parameters
    ----------
    features_true : array of shape (n_pictures, n_features), float
        Features of the seen pictures, at least 2.
    features_decoded : array of shape (n_decoded, n_features), float
    picture_of_decoded : array of shape (n_decoded,), int, optional
        Row of `features_true` of each decode's own picture; by default the same row.

    Returns
    -------
    identified : array of shape (n_decoded,), float64
        As in `identified_among_seen`.
    """
    if picture_of_decoded is None:
        picture_of_decoded = np.arange(len(features_true))
    return identified_among_seen(correlations(features_true, features_decoded), picture_of_decoded)


def identified_among_seen(correlation: Array, picture_of_decoded: Array, rivals: Array | None = None) -> Array:
    """Return the share of other *seen* pictures that are less similar to a decode than its own picture.

    This is Brain-Diffuser's and MindEye's two-way identification.

    Parameters
    ----------
    correlation : array of shape (n_decoded, n_pictures), float
        Correlation of decoded with seen pictures.
    picture_of_decoded : array of shape (n_decoded,), int
    rivals : array of shape (n_decoded, n_pictures), bool, optional
        Rivals of each decode's own picture; all other seen pictures by default.

    Returns
    -------
    identified : array of shape (n_decoded,), float64
        Chance is 0.5; an equal correlation counts half; NaN without rivals.
    """
    rows = np.arange(len(correlation))
    rivals = np.ones(correlation.shape, bool) if rivals is None else rivals.copy()
    rivals[rows, picture_of_decoded] = False
    return _share_below(correlation, correlation[rows, picture_of_decoded], rivals)


def identified_among_decoded(correlation: Array, picture_of_decoded: Array) -> Array:
    """Return the share of other *decodes* that are less similar to a seen picture than its own decode.

    This is Takagi & Nishimoto's identification. Decodes of the same picture are no rivals.

    Parameters
    ----------
    correlation : array of shape (n_decoded, n_pictures), float
        Of decoded with seen pictures, averaged over the samples of each decode.
    picture_of_decoded : array of shape (n_decoded,), int

    Returns
    -------
    identified : array of shape (n_decoded,), float64
        Chance is 0.5; an equal correlation counts half; NaN without rivals.
    """
    with_picture_of = correlation[:, picture_of_decoded].T
    # with_picture_of[i, j]: correlation of decode i's picture with decode j
    rivals = picture_of_decoded[:, None] != picture_of_decoded[None]
    return _share_below(with_picture_of, np.diagonal(with_picture_of), rivals)


def among_best(score: Array, own: Array, rivals: Array, k: int) -> Array:
    """Return whether each row's own score is among the `k` best of itself and its rivals.

    Parameters
    ----------
    score : array of shape (n, n_candidates), float
    own : array of shape (n,), float
    rivals : array of shape (n, n_candidates), bool
    k : int

    Returns
    -------
    found : array of shape (n,), float64
        0 or 1; between them for ties: the share of the ties' orders with the own score among the best.
    """
    n_above = ((score > own[:, None]) & rivals).sum(axis=1)
    n_equal = ((score == own[:, None]) & rivals).sum(axis=1)
    return np.clip((k - n_above) / (n_equal + 1), 0, 1)


def mean_by_picture(scores: Array, picture_of_score: Array, n_pictures: int) -> Array:
    """Average each picture's scores: (n_pictures,) float64, NaN for a picture without scores."""
    n_scores = np.bincount(picture_of_score, minlength=n_pictures)
    sums = np.bincount(picture_of_score, scores, n_pictures)
    return np.divide(sums, n_scores, out=np.full(n_pictures, np.nan), where=n_scores > 0)


def bootstrap_ci(scores: Array, seed: int, n_bootstrap: int = 2000, level: float = 0.95) -> tuple[float, float]:
    """Return a percentile bootstrap interval of the mean over pictures.

    Parameters
    ----------
    scores : array of shape (n_pictures,), float
        One score per picture: trials of a picture are not independent, so average them first.
    seed : int
    level : float
        Coverage of the interval, 0–1.
    """
    drawn = np.random.default_rng(seed).integers(0, len(scores), (n_bootstrap, len(scores)))
    means = np.asarray(scores, np.float64)[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def permutation_p(differences: Array, signs: Array) -> float:
    """Return the two-sided p of the mean of paired differences, by a sign-flip permutation test.

    Parameters
    ----------
    differences : array of shape (n_pictures,), float
        One difference per picture.
    signs : array of shape (n_permutations, n_pictures), float
        From `random_signs`.
    """
    observed = abs(differences.sum())
    # sums that are equal up to rounding count as at least as large
    n_as_large = int((np.abs(signs @ differences) >= observed * (1 - 1e-9)).sum())
    return (n_as_large + 1) / (len(signs) + 1)


def random_signs(n_permutations: int, n_pictures: int, seed: int) -> Array:
    """Draw signs to flip differences with: (n_permutations, n_pictures) float64, -1 or 1."""
    return np.random.default_rng(seed).integers(0, 2, (n_permutations, n_pictures)) * 2.0 - 1


def unit_rows(rows: Array) -> Array:
    """Flatten, centre each row and scale it to length 1; a row without variation becomes zero."""
    rows = rows.reshape(len(rows), -1).astype(np.float64)
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    varies = length > 1e-12 * np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(varies, centred / np.where(varies, length, 1), 0)


def _share_below(score: Array, own: Array, rivals: Array) -> Array:
    """Return the share of each row's rivals that score below its own score. Ties count half; NaN without rivals."""
    below = (score < own[:, None]) + 0.5 * (score == own[:, None])
    n_rivals = rivals.sum(axis=1)
    return np.divide((below * rivals).sum(axis=1), n_rivals, out=np.full(len(score), np.nan), where=n_rivals > 0)
