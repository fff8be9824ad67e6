"""Encoding models: every voxel's response to a picture, predicted linearly from features of the picture.

One row a picture: responses are means over a picture's trials. Ridge regression, a penalty per voxel chosen by
cross-validation on training pictures; scores on held-out pictures (Takagi & Nishimoto 2023, §3.4).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BraindError
from ..ridge.design import make_design
from ..ridge.fit import fit_targets
from ..ridge.folds import picture_folds
from ..ridge.problem import RidgeProblem

Array = NDArray[Any]

ALPHAS = tuple(float(alpha) for alpha in np.logspace(2, 6, 9))
VOXELS_AT_ONCE = 8192  # 10,000 pictures' responses of so many voxels are 0.3 GB, and 2 GB with the fit's copies
FALSE_DISCOVERY_RATE = 0.05


class EncodingError(BraindError):
    """Pictures or responses that no encoding model can be fitted on."""

    code = "encoding"


@dataclass(frozen=True, eq=False)
class VoxelScores:
    """How well a model predicts held-out pictures' responses.

    Parameters
    ----------
    correlation, explained : arrays of shape (n_voxels,), float32
        Pearson r, and R² (below 0 where the prediction is worse than the mean); 0 for a voxel that never varies.
    drawn_correlation, drawn_explained : arrays of shape (n_rois, n_draws), float64
        Means over each ROI's voxels in bootstrap draws of the held-out pictures, the same draws for every model.
    """

    correlation: Array
    explained: Array
    drawn_correlation: Array
    drawn_explained: Array


def reduce_features(features: Array, is_training: Array, n_components: int) -> Array:
    """Return features' principal components, found on training pictures.

    Parameters
    ----------
    features : array of shape (n_pictures, n_dimensions), float
    is_training : array of shape (n_pictures,), bool
    n_components : int
        At most; fewer where there are fewer dimensions or training pictures.

    Returns
    -------
    components : array of shape (n_pictures, n_components), float32
        Centred, and all divided by one number, so that a component's variance is 1 on average: penalties then mean the
        same for every kind of feature, and large components stay larger than small ones.
    """
    # scikit-learn: 1 s to import
    from sklearn.decomposition import PCA

    training = np.asarray(features[is_training], np.float32)
    if not np.ptp(training, axis=0).any():
        raise EncodingError("the features of all training pictures are the same; take more pictures")
    n_kept = min(n_components, training.shape[1], len(training) - 1)
    # the smaller side is decomposed
    solver = "covariance_eigh" if training.shape[1] <= len(training) else "full"
    analysis = PCA(n_kept, svd_solver=solver).fit(training)
    scale = float(np.sqrt(analysis.explained_variance_.mean()))
    return (analysis.transform(np.asarray(features, np.float32)) / scale).astype(np.float32)


def bootstrap_counts(n_pictures: int, n_draws: int, seed: int) -> Array:
    """Draw pictures with replacement: how often each is in each draw, (n_draws, n_pictures) float32."""
    drawn = np.random.default_rng(seed).integers(0, n_pictures, (n_draws, n_pictures))
    return np.stack([np.bincount(draw, minlength=n_pictures) for draw in drawn]).astype(np.float32)


def score_voxels(
    features: Array,
    responses: Array,
    is_training: Array,
    rois: Mapping[str, Array],
    counts: Array,
    *,
    n_folds: int = 5,
    progress: Callable[[int, int], None] | None = None,
) -> VoxelScores:
    """Fit every voxel on the training pictures and score it on the others.

    Parameters
    ----------
    features : array of shape (n_pictures, n_features), float32
        From `reduce_features`, of one kind or of several side by side.
    responses : array of shape (n_pictures, n_voxels), float32
        Means over each picture's trials; may lie on disk, a block of voxels is read at a time.
    is_training : array of shape (n_pictures,), bool
    rois : ROI → mask of shape (n_voxels,), bool
    counts : array of shape (n_draws, n_held_out), float32
        From `bootstrap_counts`.
    progress : called with voxels done and in all.
    """
    _check(features, responses, is_training, n_folds)
    n_voxels, training = responses.shape[1], features[is_training]
    rows = np.arange(len(training))
    folds = picture_folds(rows, n_folds, grouped=True)
    problem = RidgeProblem(make_design(training, rows, len(rows)), folds, ALPHAS)
    correlation, explained = np.zeros(n_voxels, np.float32), np.zeros(n_voxels, np.float32)
    masks = np.array([*rois.values()], np.float32).reshape(len(rois), n_voxels)
    drawn = np.zeros((2, len(rois), len(counts)))
    for start in range(0, n_voxels, VOXELS_AT_ONCE):
        block = slice(start, min(start + VOXELS_AT_ONCE, n_voxels))
        shown = np.asarray(responses[:, block][is_training])
        fit = fit_targets(problem, shown)
        predicted = features[~is_training] @ fit.coefficients + fit.targets.value_at_mean.astype(np.float32)
        seen = np.asarray(responses[:, block][~is_training])
        correlation[block], explained[block] = (score[0] for score in _scores(seen, predicted, _once(len(seen))))
        inside = masks[:, block].any(axis=0)
        if inside.any():
            of_draws = _scores(seen[:, inside], predicted[:, inside], counts)
            drawn += np.stack([masks[:, block][:, inside] @ score.T for score in of_draws])
        if progress is not None:
            progress(block.stop, n_voxels)
    n_inside = np.maximum(masks.sum(axis=1, keepdims=True), 1)
    return VoxelScores(correlation, explained, drawn[0] / n_inside, drawn[1] / n_inside)


def _once(n_pictures: int) -> Array:
    return np.ones((1, n_pictures), np.float32)


def _scores(seen: Array, predicted: Array, counts: Array) -> tuple[Array, Array]:
    """Return r and R² of draws of pictures, (n_draws, n_voxels) each; 0 where the response or prediction is constant.

    `seen` and `predicted` have the shape (n_pictures, n_voxels), `counts` (n_draws, n_pictures).
    """
    n = counts.sum(axis=1, keepdims=True)
    error = counts @ (seen - predicted) ** 2
    # each about its own mean, so that float32 sums of squares lose nothing: strongly shrunken predictions hardly vary
    seen, predicted = seen - seen.mean(axis=0), predicted - predicted.mean(axis=0)
    seen_sum, predicted_sum = counts @ seen, counts @ predicted
    seen_square, predicted_square = counts @ seen**2, counts @ predicted**2
    total = np.maximum(seen_square - seen_sum**2 / n, 0)
    spread = np.sqrt(total * np.maximum(predicted_square - predicted_sum**2 / n, 0))
    covariance = counts @ (seen * predicted) - seen_sum * predicted_sum / n
    tiny = np.finfo(np.float32).tiny
    r = np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > tiny)
    return np.clip(r, -1, 1), np.divide(total - error, total, out=np.zeros_like(total), where=total > tiny)


def p_values(correlation: Array, n_pictures: int) -> Array:
    """Return one-sided p of correlations, their null being those of two independent Gaussian vectors.

    Exact, by Student's t of n − 2 degrees of freedom, instead of simulated.
    """
    from scipy.stats import t

    clipped = np.clip(np.asarray(correlation, np.float64), -1 + 1e-12, 1 - 1e-12)
    return t.sf(clipped * np.sqrt((n_pictures - 2) / (1 - clipped**2)), n_pictures - 2)


def is_significant(correlation: Array, n_pictures: int) -> Array:
    """Say which voxels are predicted, with a false discovery rate of 0.05 among all of them: (n_voxels,) bool."""
    from scipy.stats import false_discovery_control

    return false_discovery_control(p_values(correlation, n_pictures)) <= FALSE_DISCOVERY_RATE


def best_layer(correlations: Array, n_pictures: int) -> Array:
    """Label voxels with the layer that predicts them best.

    Parameters
    ----------
    correlations : array of shape (n_layers, n_voxels), float

    Returns
    -------
    label : array of shape (n_voxels,), int16
        1 for the first layer; 0 where the best one predicts nothing significant.
    """
    best = correlations.argmax(axis=0)
    return np.where(is_significant(correlations.max(axis=0), n_pictures), best + 1, 0).astype(np.int16)


def interval(mean: float, draws: Array) -> dict[str, Any]:
    """Return a mean with its percentile interval over bootstrap draws, JSON-ready."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"mean": float(mean), "ci95": [float(low), float(high)]}


def _check(features: Array, responses: Array, is_training: Array, n_folds: int) -> None:
    if not len(features) == len(responses) == len(is_training):
        raise EncodingError(f"{len(features)} pictures' features, {len(responses)} pictures' responses; give as many")
    n_training, n_held_out = int(is_training.sum()), int((~is_training).sum())
    if n_training < 2 * n_folds:
        raise EncodingError(f"{n_training} training pictures are too few for {n_folds} folds; take more sessions")
    if n_held_out < 3:
        raise EncodingError(f"{n_held_out} held-out pictures; at least 3 are needed: take more sessions")
