"""Fits of z and c, compiled to maps: ridge, restored scale, reduced rank and the prior of every decoder."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ... import __version__
from ...arrays import Array
from ..fit_profiles import FitProfile, FitSettings
from ..weights.card import WeightsCard
from ..weights.low_rank import low_rank_map
from ..weights.maps import PictureMaps
from .checkpoint import Checkpoint
from .design import make_design, standardise
from .fit import RidgeFit, fit_targets
from .folds import picture_folds
from .memory_maps import release
from .picture_prior import picture_prior, principal_components
from .problem import RidgeProblem
from .reduced_rank import reduce_rank
from .shared_penalty import shared_penalty
from .training_trials import TrainingTrials

FitProgress = Callable[[str, float], None]
"""Takes what is being fitted, "z" or "c", and the finished share of the whole fit, 0–1."""

# Ridge shrinks decodable targets to half or a third; a larger factor only amplifies noise.
LARGEST_RESTORED_SCALE = 4.0

# Approximate shares of a fit's time.
SHARE_OF_Z = 0.25
SHARE_OF_DESIGN = 0.1


class FittedMaps(NamedTuple):
    """A fit's result: maps, the columns' mean and std over trials, (n_columns,) float64, and lines of the card."""

    maps: PictureMaps
    mean: Array
    std: Array
    summary: dict[str, Any]


def fit_maps(
    trials: TrainingTrials, card: WeightsCard, settings: FitSettings, progress: FitProgress | None = None
) -> FittedMaps:
    """Fit z and c on the trials' columns, whatever the columns mean.

    Parameters
    ----------
    trials : TrainingTrials
    card : WeightsCard
        Says the shapes of z and c.
    settings : FitSettings
    progress : called with "z" or "c" and the finished share of the whole fit, 0–1.

    Raises
    ------
    FitError
        If the trials are too few, not finite, or do not fit the targets.
    """
    profile = settings.profile
    trials.check(card, profile.folds)
    shown, picture_of_trial = np.unique(trials.picture_of_trial, return_inverse=True)
    folds = picture_folds(picture_of_trial, profile.folds, profile.grouped)
    z_scored, mean, std = standardise(trials.voxels)
    inputs = [trials.voxels, picture_of_trial, trials.z_positions, trials.c_positions, trials.z, trials.c]
    checkpoint = Checkpoint.of_inputs(
        settings.work, inputs, (__version__, profile, settings.max_discarded_variance, card)
    )

    maps, fits, discarded, prior = {}, {}, {}, None
    for target, positions, features in (("z", trials.z_positions, trials.z), ("c", trials.c_positions, trials.c)):
        report = partial(_tell, progress, target)
        report(0.0)
        own = np.ascontiguousarray(z_scored[:, positions])
        design = make_design(own, picture_of_trial, len(shown), intercept=profile.intercept, device=settings.device)
        problem = RidgeProblem(design, folds, profile.penalties)
        report(SHARE_OF_DESIGN)
        targets = features.reshape(len(features), -1)
        targets = targets if len(shown) == len(targets) else targets[shown]
        own_checkpoint = checkpoint.part(target)
        ridge = fits[target] = fit_targets(
            with_chosen_penalties(problem, targets, profile, own_checkpoint),
            targets,
            checkpoint=own_checkpoint,
            progress=lambda share, report=report: report(SHARE_OF_DESIGN + 0.6 * share),
        )
        # z's channels and c's tokens are the first axis of both.
        n_targets = targets.shape[1]
        pools = np.arange(n_targets) // int(np.prod(features.shape[2:]))
        scale = restored_scale(ridge, pools) if profile.restore_scale else np.ones(n_targets)
        left, right, discarded[target] = reduce_rank(ridge, scale, settings.max_discarded_variance)
        maps[target] = low_rank_map(
            positions,
            left / std[positions][:, None],
            right,
            mean[positions],
            ridge.targets.value_at_mean,
            ridge.target_statistics,
        )
        report(0.95)
        if target == "c" and profile.prior:
            # The captions' scores are few and orthogonal: c's design serves them too.
            captions = principal_components(targets)
            scores = fit_targets(problem, captions.scores)
            prior = picture_prior(scores, captions, positions, mean[positions], std[positions])
        report(1.0)
        release(features)
    checkpoint.drop()
    summary = {
        "n_trials": len(trials),
        "n_pictures": len(shown),
        "alphas_z": _penalty_summary(fits["z"]),
        "alphas_c": _penalty_summary(fits["c"]),
        "rank_z": maps["z"].rank,
        "rank_c": maps["c"].rank,
        "discarded_z": discarded["z"],
        "discarded_c": discarded["c"],
        "scores": {**_scores("z", fits["z"]), **_scores("c", fits["c"])},
    }
    return FittedMaps(PictureMaps(maps["z"], maps["c"], prior), mean, std, summary)


def with_chosen_penalties(
    problem: RidgeProblem, targets: Array, profile: FitProfile, checkpoint: Checkpoint | None = None
) -> RidgeProblem:
    """Return the problem with the one penalty that all targets share, or unchanged: a penalty is chosen for each."""
    if profile.penalty_for == "target" or len(problem.penalties) == 1:
        return problem
    shared = shared_penalty(problem, targets, checkpoint)
    if shared is None or (profile.penalty_for == "better" and not shared.is_better):
        return problem
    return replace(problem, penalties=(shared.penalty,))


def restored_scale(ridge: RidgeFit, pools: Array) -> Array:
    """Return a factor per target that gives predictions of unseen trials their targets' standard deviation again.

    Ridge shrinks the predictions of single trials to about half, and a latent diffusion model reads their scale. The
    factors come from cross-validated predictions: predictions of training trials have a larger standard deviation.

    Parameters
    ----------
    ridge : RidgeFit
    pools : array of shape (n_targets,), int
        Targets with one number share a factor.

    Returns
    -------
    scale : array of shape (n_targets,), float64
        At most `LARGEST_RESTORED_SCALE`; 1 for pools of constant targets.
    """
    varying = ridge.varying
    n_pools = int(pools.max()) + 1
    target_variance = np.bincount(pools[varying], ridge.targets.std[varying] ** 2, n_pools)
    held_out_variance = np.bincount(pools[varying], ridge.held_out_std[varying] ** 2, n_pools)
    scale = np.sqrt(target_variance / np.maximum(held_out_variance, np.finfo(float).tiny))
    return np.where(target_variance > 0, np.minimum(scale, LARGEST_RESTORED_SCALE), 1)[pools]


SCORE_WORDS = {
    "correlation": "correlation of predictions with targets",
    "explained_variance": "explained variance (R²)",
    "std_ratio": "spread of predictions over targets', before it is restored",
}


def _tell(progress: FitProgress | None, target: str, share: float) -> None:
    """Report the share of the whole fit: c, of higher cortex, has more voxels and targets than z."""
    if progress is not None:
        progress(target, SHARE_OF_Z * share if target == "z" else SHARE_OF_Z + (1 - SHARE_OF_Z) * share)


def _penalty_summary(ridge: RidgeFit) -> tuple[float, float, float]:
    penalties = ridge.penalties[ridge.varying]
    if not penalties.size:
        return 0.0, 0.0, 0.0
    return float(penalties.min()), float(np.median(penalties)), float(penalties.max())


def _scores(name: str, ridge: RidgeFit) -> dict[str, float]:
    varying, target_std = ridge.varying, ridge.targets.std
    if not varying.size:
        return {f"{name}_{score}": 0.0 for score in SCORE_WORDS}
    explained = 1 - ridge.held_out_mse[varying] / target_std[varying] ** 2
    return {
        f"{name}_correlation": float(ridge.held_out_correlation[varying].mean()),
        f"{name}_explained_variance": float(explained.mean()),
        f"{name}_std_ratio": float((ridge.held_out_std[varying] / target_std[varying]).mean()),
    }
