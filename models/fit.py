"""Fitting: single trials of one subject in, compiled decoder weights out."""

import msgspec
import numpy as np

from .fit_profiles import PROFILES, FitProfile, FitSettings
from .ridge.fit_maps import FitProgress, fit_maps
from .ridge.training_trials import TrainingTrials
from .weights.roi import mask_sha256
from .weights.weights import Weights, WeightsCard


def fit_weights(
    trials: TrainingTrials,
    card: WeightsCard,
    settings: FitSettings,
    progress: FitProgress | None = None,
) -> Weights:
    """Fit z and c on single trials and compile the weights.

    Parameters
    ----------
    trials : TrainingTrials
        `voxel_index` is sorted.
    card : WeightsCard
        Describes the trials. Its second block is filled in here.
    settings : FitSettings
    progress : called with "z" or "c" and the finished share of the whole fit, 0–1.

    Raises
    ------
    FitError
        If the trials are too few, not finite, or do not fit the targets.
    """
    fitted = fit_maps(trials, card, settings, progress)
    card = msgspec.structs.replace(
        card,
        **fitted.summary,
        profile=_name_of(settings.profile),
        folds=settings.profile.folds,
        mask_sha256=mask_sha256(trials.voxel_index, card.shape),
    )
    return Weights(
        voxel_index=np.asarray(trials.voxel_index, np.int64),
        voxel_mean=fitted.mean.astype(np.float32),
        voxel_std=fitted.std.astype(np.float32),
        z=fitted.maps.z,
        c=fitted.maps.c,
        prior=fitted.maps.prior,
        card=card,
    )


def _name_of(profile: FitProfile) -> str:
    return next((name for name, known in PROFILES.items() if known == profile), "custom")
