"""The ridge that turns trials' columns into z and c, compiled: the mathematics of every fit."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from .design import make_design
from .fit_profiles import FitError, FitProfile
from .kept import Kept, content_fingerprint, release
from .low_rank import LowRankMap, low_rank_map, reduce_rank
from .picture_maps import PictureMaps
from .prior import picture_prior, principal_components
from .ridge import RidgeFit, fit_targets, picture_folds, standardise
from .weights_card import WeightsCard

Array = NDArray[Any]
Progress = Callable[[str, float], None]  # what is being fitted, the share of the whole fit that is done, 0–1

# Decodable targets are shrunk to half or a third; a larger factor only blows up noise.
LARGEST_RESTORED_SCALE = 4.0

# Of the time a fit takes, about.
SHARE_OF_Z = 0.25
SHARE_OF_DESIGN = 0.1


class FittedMaps(NamedTuple):
    """What a fit makes: maps, the columns' mean and std over trials, (n_columns,) float64, and lines of the card."""

    maps: PictureMaps
    mean: Array
    std: Array
    summary: dict[str, Any]


def fit_maps(
    columns: Array,
    z_positions: Array,
    c_positions: Array,
    picture_of_trial: Array,
    z: Array,
    c: Array,
    card: WeightsCard,
    profile: FitProfile,
    max_discarded_variance: float = 0.005,
    progress: Progress | None = None,
    work: Path | None = None,
    device: str = "cpu",
) -> FittedMaps:
    """Fit z and c on trials' columns, whatever they are; parameters as `fit_weights` has them.

    Parameters
    ----------
    columns : array of shape (n_trials, n_columns), float32
    z_positions, c_positions : arrays of int64
        Columns that z and c are decoded from.

    Raises
    ------
    FitError
        If the trials are too few, not finite, or do not fit the targets.
    """
    _check_trials(columns, picture_of_trial, z, c, card, profile)
    shown, picture_of_trial = np.unique(picture_of_trial, return_inverse=True)
    folds = picture_folds(picture_of_trial, profile.folds, profile.grouped)
    z_scored, mean, std = standardise(columns)

    kept = Kept()
    if work is not None:
        arrays = [columns, picture_of_trial, z_positions, c_positions, z, c]
        kept = Kept(work / content_fingerprint(arrays, (__version__, profile, max_discarded_variance, card)))

    maps, fits, discarded, prior = {}, {}, {}, None
    for target, positions, features in (("z", z_positions, z), ("c", c_positions, c)):
        targets = features.reshape(len(features), -1)
        targets = targets if len(shown) == len(targets) else targets[shown]
        own, report = kept.part(target), partial(_tell, progress, target)
        trials = np.ascontiguousarray(z_scored[:, positions])
        report(0.0)
        design = make_design(trials, picture_of_trial, len(shown), intercept=profile.intercept, device=device)
        fit = partial(
            fit_targets, design, picture_of_trial=picture_of_trial, alphas=profile.alphas, folds=folds,
            intercept=profile.intercept,
        )  # fmt: skip
        report(SHARE_OF_DESIGN)
        ridge = fits[target] = fit(
            targets, kept=own, progress=lambda share, report=report: report(SHARE_OF_DESIGN + 0.6 * share)
        )
        # z's channels and c's tokens: the first axis of both.
        n_targets = targets.shape[1]
        pools = np.arange(n_targets) // int(np.prod(features.shape[2:]))
        scale = restored_scale(ridge, pools) if profile.restore_scale else np.ones(n_targets)
        mean_std = mean[positions], std[positions]
        maps[target], discarded[target] = _compile(ridge, scale, positions, *mean_std, max_discarded_variance)
        report(0.95)
        if target == "c" and profile.prior:
            captions = principal_components(targets)
            # few and orthogonal: fitted beside c, from the same design
            prior = picture_prior(fit(captions.scores), captions, positions, *mean_std)
        report(1.0)
        release(features)
    kept.drop()
    summary = {
        "n_trials": len(columns),
        "n_pictures": len(shown),
        "alphas_z": _alpha_summary(fits["z"]),
        "alphas_c": _alpha_summary(fits["c"]),
        "rank_z": maps["z"].rank,
        "rank_c": maps["c"].rank,
        "discarded_z": discarded["z"],
        "discarded_c": discarded["c"],
        "scores": {**_scores("z", fits["z"]), **_scores("c", fits["c"])},
    }
    return FittedMaps(PictureMaps(maps["z"], maps["c"], prior), mean, std, summary)


def restored_scale(ridge: RidgeFit, pools: Array) -> Array:
    """Return the factor per target that gives predictions of unseen trials their targets' spread again.

    Ridge shrinks the predictions of single trials to about half, and a latent diffusion model reads their scale. The
    factors come from cross-validated predictions: those of training trials are spread wider.

    Parameters
    ----------
    ridge : RidgeFit
    pools : array of shape (n_targets,), int
        Targets of one number share a factor.

    Returns
    -------
    scale : array of shape (n_targets,), float64
        At most `LARGEST_RESTORED_SCALE`; 1 for pools of constant targets.
    """
    varying = np.isfinite(ridge.alphas)
    n_pools = int(pools.max()) + 1
    target_variance = np.bincount(pools[varying], ridge.target_std[varying] ** 2, n_pools)
    held_out_variance = np.bincount(pools[varying], ridge.held_out_std[varying] ** 2, n_pools)
    scale = np.sqrt(target_variance / np.maximum(held_out_variance, np.finfo(float).tiny))
    return np.where(target_variance > 0, np.minimum(scale, LARGEST_RESTORED_SCALE), 1)[pools]


SCORE_WORDS = {
    "correlation": "correlation of predictions with targets",
    "explained_variance": "explained variance (R²)",
    "std_ratio": "spread of predictions over targets', before it is restored",
}


def _tell(progress: Progress | None, target: str, share: float) -> None:
    """Report the share of the whole fit: c, of higher cortex, has more voxels and targets than z."""
    if progress is not None:
        progress(target, SHARE_OF_Z * share if target == "z" else SHARE_OF_Z + (1 - SHARE_OF_Z) * share)


def _check_trials(
    voxels: Array, picture_of_trial: Array, z: Array, c: Array, card: WeightsCard, profile: FitProfile
) -> None:
    if voxels.ndim != 2 or len(voxels) != len(picture_of_trial):
        raise FitError(f"voxels of shape {voxels.shape} for {len(picture_of_trial)} trials; one row a trial is needed")
    for name, features, shape in (("z", z, card.latent_shape), ("c", c, card.text_shape)):
        if features.shape[1:] != tuple(shape):
            raise FitError(f"{name} of shape {features.shape[1:]}, but the card says {tuple(shape)}; encode again")
        if len(features) <= picture_of_trial.max() or picture_of_trial.min() < 0:
            raise FitError(f"{name} of {len(features)} pictures, but trials show picture {picture_of_trial.max()}")
        if not all(np.isfinite(features[row : row + 256]).all() for row in range(0, len(features), 256)):
            raise FitError(f"{name} of some pictures is not finite; encode them again")
    n_pictures = len(np.unique(picture_of_trial))
    if n_pictures < 2 * profile.folds:
        raise FitError(f"{n_pictures} pictures are too few for {profile.folds} folds; take more sessions")
    n_bad = int((~np.isfinite(voxels)).any(axis=0).sum())
    if n_bad:
        raise FitError(f"{n_bad} of {voxels.shape[1]} voxels are NaN or infinite in some trial; leave them out")


def _compile(
    ridge: RidgeFit,
    scale: Array,
    positions: Array,
    voxel_mean: Array,
    voxel_std: Array,
    max_discarded_variance: float,
) -> tuple[LowRankMap, float]:
    left, right, discarded = reduce_rank(ridge, scale, max_discarded_variance)
    compiled = low_rank_map(
        positions,
        left / voxel_std[:, None],
        right,
        voxel_mean,
        value_at_mean=ridge.value_at_mean,
        target_mean=ridge.target_mean,
        target_std=ridge.target_std,
        cv_correlation=ridge.held_out_correlation,
    )
    return compiled, discarded


def _alpha_summary(ridge: RidgeFit) -> tuple[float, float, float]:
    alphas = ridge.alphas[np.isfinite(ridge.alphas)]
    if not alphas.size:
        return 0.0, 0.0, 0.0
    return float(alphas.min()), float(np.median(alphas)), float(alphas.max())


def _scores(name: str, ridge: RidgeFit) -> dict[str, float]:
    varying = np.isfinite(ridge.alphas)
    if not varying.any():
        return {f"{name}_{score}": 0.0 for score in SCORE_WORDS}
    explained = 1 - ridge.held_out_mse[varying] / ridge.target_std[varying] ** 2
    return {
        f"{name}_correlation": float(ridge.held_out_correlation[varying].mean()),
        f"{name}_explained_variance": float(explained.mean()),
        f"{name}_std_ratio": float((ridge.held_out_std[varying] / ridge.target_std[varying]).mean()),
    }
