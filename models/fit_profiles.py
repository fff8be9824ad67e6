"""Settings of the ridge regression: named profiles, the device and the working folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import BraindError

PenaltyFor = Literal["target", "map", "better"]


class FitError(BraindError):
    """No decoder can be fitted on the trials."""

    code = "fit"


@dataclass(frozen=True)
class FitProfile:
    """Choices of the ridge regression.

    Parameters
    ----------
    penalties : tuple of float
        Candidates for the penalties, for sums of squared errors over trials and z-scored voxels.
    penalty_for : str
        target: a penalty for each target; map: one for all targets of z, and one for c; better: whichever of both
        predicts held-out trials better (`models/ridge/shared_penalty.py`).
    folds : int
        Folds of the cross-validation.
    grouped : bool
        Keep repeats of a picture in one fold.
    intercept : bool
        Fit an intercept: the targets' mean.
    restore_scale : bool
        Rescale predictions to their targets' standard deviation: one factor per channel of z and per token of c.
    prior : bool
        Fit the training captions as a prior on c too, which the c decoder `expected` reads (`models/weights/prior.py`).
    z_share : float
        Side of the pictures that z encodes, as a share of the model's picture side.
    """

    penalties: tuple[float, ...]
    penalty_for: PenaltyFor
    folds: int
    grouped: bool
    intercept: bool
    restore_scale: bool
    prior: bool
    z_share: float


PROFILES = {
    "live": FitProfile(
        penalties=tuple(float(penalty) for penalty in np.logspace(1, 6, 11)),
        penalty_for="better",
        folds=5,
        grouped=True,
        intercept=True,
        restore_scale=True,
        prior=True,
        z_share=1.0,
    ),
    # Takagi & Nishimoto's released code: himalaya's RidgeCV with its defaults. KFold is unshuffled and splits repeats,
    # targets are neither centred nor given an intercept, and the small penalties make it ordinary least squares.
    "takagi": FitProfile(
        penalties=(1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0),
        penalty_for="target",
        folds=5,
        grouped=False,
        intercept=False,
        restore_scale=False,
        prior=False,
        z_share=320 / 512,  # 320 of Stable Diffusion's 512 px
    ),
}


def profile_named(name: str) -> FitProfile:
    """Return a profile by name. Raises FitError if there is none."""
    if name not in PROFILES:
        raise FitError(f"no fit profile named {name!r}; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]


@dataclass(frozen=True)
class FitSettings:
    """A fit's profile, device and working folder.

    Parameters
    ----------
    profile : FitProfile
    max_discarded_variance : float
        Share of the predictions' variance that the low-rank approximation may lose, 0–1.
    device : str
        torch's name of the device.
    work : Path, optional
        Folder of intermediate results, emptied at the end. An interrupted fit of the same trials resumes from them.
        Without a folder all arrays stay in memory.
    """

    profile: FitProfile = PROFILES["live"]
    max_discarded_variance: float = 0.005
    device: str = "cpu"
    work: Path | None = None
