"""How the ridge regression is done: profiles of choices, and where a fit computes."""

from dataclasses import dataclass
from pathlib import Path

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
    penalties : tuple of float
        To choose from for each target; on the sum of squared errors over trials, voxels z-scored.
    folds : int
        Of the cross-validation.
    grouped : bool
        Keep repeats of a picture in one fold.
    intercept : bool
        Predict the targets' mean too.
    restore_scale : bool
        Give predictions their targets' standard deviation again: a factor for each channel of z and each token of c.
    prior : bool
        Decode c with the training pictures as the prior (`models/weights/prior.py`), not as the ridge predicts it.
    z_share : float
        Side of the pictures that z encodes, as a share of the model's own.
    """

    penalties: tuple[float, ...]
    folds: int
    grouped: bool
    intercept: bool
    restore_scale: bool
    prior: bool
    z_share: float


PROFILES = {
    "live": FitProfile(
        penalties=tuple(float(penalty) for penalty in np.logspace(1, 6, 11)),
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
        penalties=(1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0),
        folds=5,
        grouped=False,
        intercept=False,
        restore_scale=False,
        prior=False,
        z_share=320 / 512,  # 320 of Stable Diffusion's 512 px
    ),
}


def profile_named(name: str) -> FitProfile:
    """Return the profile of that name (`FitError` if there is none)."""
    if name not in PROFILES:
        raise FitError(f"no fit profile named {name!r}; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]


@dataclass(frozen=True)
class FitSettings:
    """Which choices a fit makes, and where it computes.

    Parameters
    ----------
    profile : FitProfile
    max_discarded_variance : float
        Share of the predictions' variance that the low rank may lose, 0–1.
    device : str
        torch's name of the device that computes.
    work : Path, optional
        Folder in which an interrupted fit of the same trials goes on; emptied at the end. Without it all arrays stay in
        memory.
    """

    profile: FitProfile = PROFILES["live"]
    max_discarded_variance: float = 0.005
    device: str = "cpu"
    work: Path | None = None
