"""Fitting: single trials of one subject in, compiled decoder weights out."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .fit_maps import SCORE_WORDS, Progress, fit_maps
from .fit_profiles import PROFILES, FitProfile, profile_named
from .roi import mask_sha256
from .weights import Weights, WeightsCard

Array = NDArray[Any]


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
    fitted = fit_maps(
        voxels, z_positions, c_positions, picture_of_trial, z, c, card, profile, max_discarded_variance, progress, work,
        device,
    )  # fmt: skip
    card = msgspec.structs.replace(
        card, **fitted.summary, profile=name, folds=profile.folds, mask_sha256=mask_sha256(voxel_index, card.shape)
    )
    return Weights(
        voxel_index=np.asarray(voxel_index, np.int64),
        voxel_mean=fitted.mean.astype(np.float32),
        voxel_std=fitted.std.astype(np.float32),
        z=fitted.maps.z,
        c=fitted.maps.c,
        prior=fitted.maps.prior,
        card=card,
    )


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


def _named_profile(profile: FitProfile | str) -> tuple[str, FitProfile]:
    if isinstance(profile, FitProfile):
        return next((name for name, known in PROFILES.items() if known == profile), "custom"), profile
    return profile, profile_named(profile)


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(str(n) for n in shape)


def _numbers(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:.3g}" for number in numbers)
