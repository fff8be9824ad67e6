"""How the ridge regression is done: the profiles."""

from dataclasses import dataclass

import numpy as np

from ..errors import BraindError


class FitError(BraindError):
    """Trials that no decoder can be fitted on."""

    code = "fit"


@dataclass(frozen=True)
class FitProfile:
    """How the ridge regression is done.

    Parameters
    ----------
    alphas : tuple of float
        Penalties to choose from, per target; on the sum of squared errors over trials, voxels z-scored.
    folds : int
    grouped : bool
        Keep repeats of a picture in one fold.
    intercept : bool
        Predict the targets' mean too.
    restore_scale : bool
        Give predictions their targets' spread again: a factor per channel of z and per token of c.
    z_share : float
        Side of the pictures that z encodes, as a share of the model's own.
    prior : bool
        Decode c as expected from the training pictures (`models/prior.py`), not as the ridge predicts it.
    """

    alphas: tuple[float, ...]
    folds: int
    grouped: bool
    intercept: bool
    restore_scale: bool
    prior: bool
    z_share: float


PROFILES = {
    "live": FitProfile(
        alphas=tuple(float(alpha) for alpha in np.logspace(1, 6, 11)),
        folds=5,
        grouped=True,
        intercept=True,
        restore_scale=True,
        prior=True,
        z_share=1.0,
    ),
    # Takagi & Nishimoto's released code: himalaya's RidgeCV with its defaults (unshuffled KFold, which splits repeats;
    # no intercept on targets that are not centred) and penalties so small that it is ordinary least squares.
    "takagi": FitProfile(
        alphas=(1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0),
        folds=5,
        grouped=False,
        intercept=False,
        restore_scale=False,
        prior=False,
        z_share=320 / 512,  # 320 of Stable Diffusion's 512 px
    ),
}


def profile_named(name: str) -> FitProfile:
    """Return one of `PROFILES` (`FitError` if there is none of that name)."""
    if name not in PROFILES:
        raise FitError(f"no fit profile named {name!r}; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]
