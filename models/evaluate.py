"""Evaluation: how well a subject's held-out pictures come back, beside controls that know nothing of them.

Every score is averaged over a picture's trials first, then over pictures; intervals are bootstrapped over pictures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import BraindError
from .low_rank import CONSTANT_BELOW, LowRankMap
from .metrics import bootstrap_ci, mean_by_picture, pixcorr, row_correlation, ssim, two_way
from .weights import Weights

Array = NDArray[Any]
Mode = Literal["z", "c", "zc"]
Reconstruct = Callable[[Array, Array, Mode], Array]
Embed = Callable[[Array], Array]
NameObjects = Callable[[Array], list[str]]
Progress = Callable[[str, int, int], None]  # what is being made, pictures done, pictures in all

N_MODES = 3


class EvaluateError(BraindError):
    """Held-out trials that cannot be scored."""

    code = "evaluate"


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out trials and what was seen in them.

    Parameters
    ----------
    voxels : array of shape (n_trials, n_voxels), float32
        % signal change of single trials, in the order of the weights' voxel index.
    picture_of_trial : array of shape (n_trials,), int
        Row of the arrays below.
    pictures : array of shape (n_pictures, px, px, 3), uint8
    z : array of shape (n_pictures, *latent_shape), float
    c : array of shape (n_pictures, *text_shape), float
    kinds : sequence of n_pictures str
        The object in each picture, as `name_objects` would name it; empty names where that is not known, and then
        naming is not scored.
    is_novel : array of shape (n_pictures,), bool, optional
        Pictures of kinds that never occur in training: decoded too, but scored apart.
    """

    voxels: Array
    picture_of_trial: Array
    pictures: Array
    z: Array
    c: Array
    kinds: Sequence[str]
    is_novel: Array | None = None


def evaluate(
    weights: Weights,
    held_out: HeldOut,
    reconstruct: Reconstruct,
    embed: Embed,
    name_objects: NameObjects,
    *,
    random_c: Array | None = None,
    seed: int = 42,
    n_bootstrap: int = 2000,
    max_trials_per_picture: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Decode held-out trials and score them.

    Parameters
    ----------
    weights : Weights
    held_out : HeldOut
    reconstruct : z (*latent_shape), c (*text_shape), mode → picture (px, px, 3) uint8
    embed : pictures (n, px, px, 3) uint8 → (n, d) float; correlations of its rows identify pictures
    name_objects : pictures (n, px, px, 3) uint8 → n names, of the kinds in `held_out`
    random_c : array of shape (n_pictures, *text_shape), optional
        Text embeddings of random captions; without them, the held-out pictures' own, each given to another picture.
    max_trials_per_picture : int, optional
        Decode only the first trials of each picture; all by default.
    progress : called after every picture made.

    Returns
    -------
    scores : dict, JSON-ready
        `single` and `averaged` (repeats averaged before decoding) hold scores for the modes `z`, `c` and `zc`, and
        `z_correlation` and `c_correlation` of the predictions; `controls` holds scores for `shuffled` (each decode
        against another picture), `mean_prediction` and `text_only_random_caption`; `seen` those of the pictures
        themselves, the judge's ceiling; `novel_kinds` holds `single` and `averaged` for pictures of kinds that training
        lacks, which the others leave out; counts. A score is a `mean` and its `ci95`, fractions.

    Raises
    ------
    EvaluateError
        If the held-out arrays do not fit each other.
    """
    _check(held_out)
    n_pictures = len(held_out.pictures)
    trials = first_trials(held_out.picture_of_trial, max_trials_per_picture)
    single = held_out.voxels[trials], held_out.picture_of_trial[trials]
    averaged = average_repeats(held_out.voxels, held_out.picture_of_trial)
    n_decodes = N_MODES * (len(single[0]) + len(averaged[0])) + 1 + n_pictures
    judge = _Judge(held_out, embed, name_objects, embed(held_out.pictures))
    studio = _Studio(reconstruct, progress, n_decodes)

    # 1. every trial, and every picture's mean trial, in every mode
    single_scores, single_zc = _score_decoding("single", weights, *single, judge, studio)
    averaged_scores, _ = _score_decoding("averaged", weights, *averaged, judge, studio)
    # 2. what comes out when the decoder knows nothing of the picture
    another = _derangement(n_pictures, seed)
    controls = {
        "shuffled": judge.scores(single_zc, another[single[1]]),
        "mean_prediction": _score_mean_prediction(weights, judge, studio),
        "text_only_random_caption": _score_captions(
            held_out.c[another] if random_c is None else random_c, weights, judge, studio
        ),
    }
    # the judge's own ceiling: the seen pictures scored as if they were decodes
    seen = judge.scores(held_out.pictures, np.arange(n_pictures))
    # 3. means and intervals over pictures
    decoding = {"single": single_scores, "averaged": averaged_scores}
    is_novel = np.zeros(n_pictures, bool) if held_out.is_novel is None else np.asarray(held_out.is_novel, bool)
    answer = _summarise({**decoding, "controls": controls, "seen": seen}, ~is_novel, seed, n_bootstrap)
    if is_novel.any():
        answer["novel_kinds"] = _summarise(decoding, is_novel, seed, n_bootstrap)
        answer["novel_kinds"]["n_pictures"] = int(is_novel.sum())
    answer["n_pictures"] = int((~is_novel).sum())
    answer["n_trials"] = int((~is_novel)[single[1]].sum())
    answer["n_bootstrap"] = n_bootstrap
    return answer


def first_trials(picture_of_trial: Array, max_trials_per_picture: int | None) -> Array:
    """Return the positions of each picture's first trials, in the trials' order."""
    if max_trials_per_picture is None:
        return np.arange(len(picture_of_trial))
    order = np.argsort(picture_of_trial, kind="stable")
    _, first, n_trials = np.unique(picture_of_trial[order], return_index=True, return_counts=True)
    repeat = np.arange(len(order)) - np.repeat(first, n_trials)
    return np.sort(order[repeat < max_trials_per_picture])


def average_repeats(voxels: Array, picture_of_trial: Array) -> tuple[Array, Array]:
    """Average each picture's trials: (n_seen_pictures, n_voxels) float32, and which pictures they are."""
    pictures, position, n_trials = np.unique(picture_of_trial, return_inverse=True, return_counts=True)
    summed = np.zeros((len(pictures), voxels.shape[1]))
    np.add.at(summed, position, voxels)
    return (summed / n_trials[:, None]).astype(np.float32), pictures


@dataclass(frozen=True, eq=False)
class _Judge:
    """Scores decoded pictures against the held-out ones."""

    held_out: HeldOut
    embed: Embed
    name_objects: NameObjects
    embeddings: Array

    def scores(self, decoded: Array, picture_of_decoded: Array) -> dict[str, Array]:
        """Return each score per picture, (n_pictures,) float64, NaN where nothing was decoded."""
        seen = self.held_out.pictures[picture_of_decoded]
        scores = {
            "clip_two_way": two_way(self.embeddings, self.embed(decoded), picture_of_decoded),
            "pixcorr": pixcorr(seen, decoded),
            "ssim": ssim(seen, decoded),
        }
        if any(self.held_out.kinds):
            named = np.array(self.name_objects(decoded)) == np.array(self.held_out.kinds)[picture_of_decoded]
            scores["object_named"] = named.astype(np.float64)
        return {name: self.by_picture(score, picture_of_decoded) for name, score in scores.items()}

    def by_picture(self, scores: Array, picture_of_score: Array) -> Array:
        return mean_by_picture(scores, picture_of_score, len(self.held_out.pictures))


class _Studio:
    """Makes pictures, one by one, and tells how far it is."""

    def __init__(self, reconstruct: Reconstruct, progress: Progress | None, n_decodes: int) -> None:
        self.reconstruct, self.progress, self.n_decodes, self.n_done = reconstruct, progress, n_decodes, 0

    def make(self, name: str, z: Array, c: Array, mode: Mode) -> Array:
        """Return pictures, (n, px, px, 3) uint8, of n z's and c's."""
        pictures = []
        for one_z, one_c in zip(z, c, strict=True):
            pictures.append(self.reconstruct(one_z, one_c, mode))
            self.n_done += 1
            if self.progress is not None:
                self.progress(name, self.n_done, self.n_decodes)
        return np.stack(pictures)


def _score_decoding(
    name: str, weights: Weights, voxels: Array, picture_of_row: Array, judge: _Judge, studio: _Studio
) -> tuple[dict[str, Any], Array]:
    """Return scores per picture, by mode, and the pictures of mode zc."""
    z, c = weights.predict(voxels)
    z_correlation = target_correlation(weights.z, judge.held_out.z[picture_of_row], z)
    c_correlation = target_correlation(weights.c, judge.held_out.c[picture_of_row], c)
    scores: dict[str, Any] = {
        "z_correlation": judge.by_picture(z_correlation, picture_of_row),
        "c_correlation": judge.by_picture(c_correlation, picture_of_row),
    }
    for mode in ("z", "c"):
        scores[mode] = judge.scores(studio.make(f"{name} {mode}", z, c, mode), picture_of_row)
    both = studio.make(f"{name} zc", z, c, "zc")
    scores["zc"] = judge.scores(both, picture_of_row)
    return scores, both


def target_correlation(part: LowRankMap, true: Array, predicted: Array) -> Array:
    """Correlate predicted with true z (or c) over targets, each standardised by the training pictures' moments.

    Not standardised, any two text embeddings correlate at about 0.9. Constant targets are left out.

    Parameters
    ----------
    true, predicted : arrays of shape (n, ...), float

    Returns
    -------
    correlation : array of shape (n,), float64
    """
    varying = part.target_std > CONSTANT_BELOW * part.target_std.max()
    mean, std = part.target_mean[varying], part.target_std[varying]
    true = (true.reshape(len(true), -1)[:, varying] - mean) / std
    predicted = (predicted.reshape(len(predicted), -1)[:, varying] - mean) / std
    return row_correlation(true, predicted)


def _score_mean_prediction(weights: Weights, judge: _Judge, studio: _Studio) -> dict[str, Array]:
    """Score the one picture that the training trials' mean decodes to, against every held-out picture."""
    z, c = weights.predict(weights.voxel_mean[None])
    picture_of_decoded = np.arange(len(judge.held_out.pictures))
    decoded = studio.make("mean prediction", z, c, "zc")
    return judge.scores(np.repeat(decoded, len(picture_of_decoded), axis=0), picture_of_decoded)


def _score_captions(c: Array, weights: Weights, judge: _Judge, studio: _Studio) -> dict[str, Array]:
    # mode c starts from noise and reads no z
    z = np.zeros((len(c), *weights.card.latent_shape), np.float32)
    decoded = studio.make("random captions", z, c, "c")
    return judge.scores(decoded, np.arange(len(c)))


def _summarise(scores: dict[str, Any], scored: Array, seed: int, n_bootstrap: int) -> dict[str, Any]:
    """Replace every array of scores per picture by the mean over the `scored` pictures and its interval."""
    summary: dict[str, Any] = {}
    for name, value in scores.items():
        if isinstance(value, dict):
            summary[name] = _summarise(value, scored, seed, n_bootstrap)
            continue
        kept = value[scored & np.isfinite(value)]
        if not kept.size:
            raise EvaluateError(f"no picture to score for {name}; hold out more trials")
        summary[name] = {"mean": float(kept.mean()), "ci95": list(bootstrap_ci(kept, seed, n_bootstrap))}
    return summary


def _derangement(n: int, seed: int) -> Array:
    """Give every picture another one, at random."""
    order = np.random.default_rng(seed).permutation(n)
    another = np.empty(n, np.int64)
    another[order] = np.roll(order, 1)
    return another


def _check(held_out: HeldOut) -> None:
    n_pictures = len(held_out.pictures)
    if n_pictures < 2:
        raise EvaluateError(f"{n_pictures} held-out pictures; identification needs at least 2")
    for name in ("z", "c", "kinds"):
        if len(getattr(held_out, name)) != n_pictures:
            raise EvaluateError(f"{len(getattr(held_out, name))} {name} for {n_pictures} held-out pictures")
    if len(held_out.voxels) != len(held_out.picture_of_trial) or not len(held_out.voxels):
        raise EvaluateError(f"{len(held_out.voxels)} rows of voxels for {len(held_out.picture_of_trial)} trials")
    if held_out.picture_of_trial.min() < 0 or held_out.picture_of_trial.max() >= n_pictures:
        raise EvaluateError(f"a trial shows picture {held_out.picture_of_trial.max()}, of {n_pictures} held-out ones")
