"""Fitting: single trials of one subject in, compiled decoder weights out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..errors import BraindError
from .design import make_design
from .kept import Kept, content_fingerprint, release
from .low_rank import LowRankMap, low_rank_map, reduce_rank
from .prior import picture_prior, principal_components
from .ridge import RidgeFit, fit_targets, picture_folds, standardise
from .roi import mask_sha256
from .weights import Weights, WeightsCard

Array = NDArray[Any]
Progress = Callable[[str, float], None]  # what is being fitted, the share of the whole fit that is done, 0–1

# Decodable targets are shrunk to half or a third; a larger factor only blows up noise.
LARGEST_RESTORED_SCALE = 4.0

# Of the time a fit takes, about.
SHARE_OF_Z = 0.25
SHARE_OF_DESIGN = 0.1


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


def fit_weights(
    voxels: Array,
    z_positions: Array,
    c_positions: Array,
    voxel_index: Array,
    picture_of_trial: Array,
    z: Array,
    c: Array,
    card: WeightsCard,
    profile: FitProfile | str = "live",
    max_discarded_variance: float = 0.005,
    progress: Progress | None = None,
    work: Path | None = None,
    device: str = "cpu",
) -> Weights:
    """Fit z and c on single trials and compile the weights.

    Parameters
    ----------
    voxels : array of shape (n_trials, n_voxels), float32
        % signal change, in the order of `voxel_index`.
    z_positions, c_positions : arrays of shape (n_voxels_z,) and (n_voxels_c,), int64
        Voxels that z and c are decoded from, as positions in `voxel_index`.
    voxel_index : array of shape (n_voxels,), int64
        Sorted, into the C-order flattened volume.
    picture_of_trial : array of shape (n_trials,), int
        Row of `z` and `c` seen in each trial.
    z : array of shape (n_pictures, *latent_shape), float
        Scaled latents.
    c : array of shape (n_pictures, *text_shape), float
    card : WeightsCard
        Its second block is filled in here.
    profile : FitProfile, or the name of one in `PROFILES`
    max_discarded_variance : float
        Share of the predictions' variance that the low rank may lose, 0–1.
    progress : called with "z" or "c" and the share of the whole fit that is done, 0–1.
    work : folder
        Where an interrupted fit of the same trials goes on from; emptied at the end. Without one all is held in memory.
    device : str
        torch's name of what computes.

    Raises
    ------
    FitError
        If the trials are too few, not finite, or do not fit the targets.
    """
    name, profile = _named_profile(profile)
    _check_trials(voxels, picture_of_trial, z, c, card, profile)
    shown, picture_of_trial = np.unique(picture_of_trial, return_inverse=True)
    folds = picture_folds(picture_of_trial, profile.folds, profile.grouped)
    z_scored, voxel_mean, voxel_std = standardise(voxels)

    kept = Kept()
    if work is not None:
        settings = (__version__, name, profile, max_discarded_variance, card)
        arrays = [voxels, picture_of_trial, voxel_index, z_positions, c_positions, z, c]
        kept = Kept(work / content_fingerprint(arrays, settings))

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
        mean_std = voxel_mean[positions], voxel_std[positions]
        maps[target], discarded[target] = _compile(ridge, scale, positions, *mean_std, max_discarded_variance)
        report(0.95)
        if target == "c" and profile.prior:
            captions = principal_components(targets)
            # few and orthogonal: fitted beside c, from the same design
            prior = picture_prior(fit(captions.scores), captions, positions, *mean_std)
        report(1.0)
        release(features)
    kept.drop()

    card = msgspec.structs.replace(
        card,
        profile=name,
        folds=profile.folds,
        n_trials=len(voxels),
        n_pictures=len(shown),
        alphas_z=_alpha_summary(fits["z"]),
        alphas_c=_alpha_summary(fits["c"]),
        rank_z=maps["z"].rank,
        rank_c=maps["c"].rank,
        discarded_z=discarded["z"],
        discarded_c=discarded["c"],
        scores={**_scores("z", fits["z"]), **_scores("c", fits["c"])},
        mask_sha256=mask_sha256(voxel_index, card.shape),
    )
    return Weights(
        voxel_index=np.asarray(voxel_index, np.int64),
        voxel_mean=voxel_mean.astype(np.float32),
        voxel_std=voxel_std.astype(np.float32),
        z=maps["z"],
        c=maps["c"],
        prior=prior,
        card=card,
    )


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


def model_card(weights: Weights) -> str:
    """Describe weights to a person, in Markdown."""
    card = weights.card
    lines = [
        f"# Decoder weights of subject {card.subject}",
        "",
        *(["**Simulated data**: no brain was scanned for these weights.", ""] if card.simulated else []),
        f"- file: schema {card.schema}, fingerprint `{weights.fingerprint}`, braind {card.version or 'unknown'}",
        f"- trained on: {card.n_trials} single trials of {card.n_pictures} pictures, {card.nsd or 'unnamed data'}",
        f"- responses: {card.estimates or 'unnamed'}, sessions {card.sessions or 'unnamed'}, "
        + ("as they are" if card.z_score == "none" else f"z-scored within the session ({card.z_score})"),
        *([f"- for BOLD, fitted on {card.fitted_on}"] if card.kind == "bold" else []),
        *([f"- captions written by {card.captioner}"] if card.captioner else []),
        *([f"- for runs of a TR of {card.tr_s:g} s"] if card.tr_s else []),
        f"- profile: `{card.profile}`, {card.folds} folds, one penalty per target",
        f"- LDM: `{card.ldm}`, z {_times(card.latent_shape)}, c {_times(card.text_shape)}",
        f"- volume: {_times(card.shape)}, {len(weights.voxel_index)} voxels read",
        "",
        "| | z | c |",
        "|---|---|---|",
        f"| ROIs | {', '.join(card.z_rois)} | {', '.join(card.c_rois)} |",
        f"| voxels | {len(weights.z.positions)} | {len(weights.c.positions)} |",
        f"| penalties: smallest, median, largest | {_numbers(card.alphas_z)} | {_numbers(card.alphas_c)} |",
        f"| rank | {card.rank_z} | {card.rank_c} |",
        f"| predicted variance lost to it | {card.discarded_z:.2%} | {card.discarded_c:.2%} |",
    ]
    for score, words in SCORE_WORDS.items():
        lines.append(f"| {words} | {card.scores[f'z_{score}']:.3f} | {card.scores[f'c_{score}']:.3f} |")
    lines += ["", "Scores are cross-validated on single trials, means over the targets that vary.", ""]
    return "\n".join(lines)


SCORE_WORDS = {
    "correlation": "correlation of predictions with targets",
    "explained_variance": "explained variance (R²)",
    "std_ratio": "spread of predictions over targets', before it is restored",
}


def _tell(progress: Progress | None, target: str, share: float) -> None:
    """Report the share of the whole fit: c, of higher cortex, has more voxels and targets than z."""
    if progress is not None:
        progress(target, SHARE_OF_Z * share if target == "z" else SHARE_OF_Z + (1 - SHARE_OF_Z) * share)


def profile_named(name: str) -> FitProfile:
    """Return one of `PROFILES` (`FitError` if there is none of that name)."""
    if name not in PROFILES:
        raise FitError(f"no fit profile named {name!r}; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]


def _named_profile(profile: FitProfile | str) -> tuple[str, FitProfile]:
    if isinstance(profile, FitProfile):
        return next((name for name, known in PROFILES.items() if known == profile), "custom"), profile
    return profile, profile_named(profile)


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


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(str(n) for n in shape)


def _numbers(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:.3g}" for number in numbers)
