"""Divides an evaluation's decodes and controls into comparisons with the seen pictures, and scores these."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...arrays import Array
from ...choices import Mode
from ..weights.candidates import Candidates
from ..weights.weights import Weights
from .comparison import Comparison, Decodes
from .held_out import HeldOut, Training, TrialDecoder, repeat_of_trial
from .likeness import SEEN_AT_ONCE, Likeness, SimilarityScorer
from .metrics import mean_by_picture
from .targets import nearest_by_decode

Compare = Callable[[Sequence[Comparison], str], Iterator[Likeness]]
"""Comparisons, and words for them → the likeness of each, in order."""
Progress = Callable[[str, int, int], None]  # current work, comparisons done, comparisons in all
Scores = dict[str, Array]  # by measure, per picture: (n_pictures,) float64, NaN where nothing was decoded

MODES: tuple[Mode, ...] = ("z", "c", "zc")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The inputs of one subject's evaluation.

    Parameters
    ----------
    weights : Weights
    held_out : HeldOut
    compare : Compare
        Makes pictures and compares them with the held-out pictures.
    scorer : SimilarityScorer
        Scores the comparisons.
    seed : int
        Seed of the first sample, the shuffled control, the bootstrap and the permutation tests.
    n_bootstrap : int
    n_samples : int
        Pictures of each z and c, each with noise of its own.
    progress : called after every comparison
    """

    weights: Weights
    held_out: HeldOut
    compare: Compare
    scorer: SimilarityScorer
    seed: int = 42
    n_bootstrap: int = 2000
    n_samples: int = 1
    progress: Progress | None = None


@dataclass(frozen=True, eq=False)
class DecodedTrials:
    """The decodes of every distinct response.

    `z` and `c` are predictions; `picture` (n,) are the seen pictures. By mode, `latents` (n, n_pictures) has
    similarities of decoded with seen latents, and `likeness` similarities of decoded with seen pictures.
    """

    decodes: "EvaluationDecodes"
    z: Array
    c: Array
    picture: Array
    latents: dict[Mode, Array]
    likeness: dict[Mode, Likeness]

    def scores_of_row(self, positions: Array) -> dict[str, Any]:
        """Score chosen responses by mode."""
        pictures = self.picture[positions]
        return {
            mode: self.decodes.scores(likeness.of(positions), pictures, self.latents[mode][positions])
            for mode, likeness in self.likeness.items()
        }

    def scores_of_shuffled(self, positions: Array) -> Scores:
        """Score chosen responses in mode zc against other pictures than the seen ones."""
        other = self.decodes.other_picture[self.picture[positions]]
        return self.decodes.scores(self.likeness["zc"].of(positions).shuffled(), other, self.latents["zc"][positions])


class EvaluationDecodes:
    """Divides an evaluation's pictures into comparisons, scores them, and reports progress."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.weights, self.held_out, self.scorer = evaluation.weights, evaluation.held_out, evaluation.scorer
        n = len(self.held_out.pictures)
        self.other_picture = derangement(n, evaluation.seed)
        self._compare = evaluation.compare
        self._seeds = tuple(evaluation.seed + n for n in range(evaluation.n_samples))
        self._progress = evaluation.progress
        self._candidates = Candidates(self.held_out.z, self.held_out.c, np.arange(n), [""] * n)
        self._n_done = self._n_expected = 0

    def expect(self, *numbers: int) -> None:
        """Set the numbers of pictures that will be compared together, for the progress."""
        self._n_expected = sum(-(-n // SEEN_AT_ONCE) for n in numbers)

    def by_picture(self, scores: Array, picture_of_score: Array) -> Array:
        """Average scores by picture: (n_pictures,) float64, NaN without a score."""
        return mean_by_picture(scores, picture_of_score, len(self.held_out.pictures))

    def scores(self, likeness: Likeness, picture_of_decoded: Array, latents: Array | None) -> Scores:
        """Score decodes by picture; without `latents`, (n, n_pictures), retrieval is not scored."""
        scores = self.scorer.scores(likeness, picture_of_decoded)
        if latents is not None:
            repeat = repeat_of_trial(picture_of_decoded)
            scores |= self.scorer.retrieval(latents, picture_of_decoded, repeat)
        return {name: self.by_picture(score, picture_of_decoded) for name, score in scores.items()}

    def decode(self, responses: list[tuple[TrialDecoder, Array, int]], modes: Sequence[Mode]) -> DecodedTrials:
        """Decode responses, each (decoder, voxels, picture), in the modes."""
        # one by one, as the daemon decodes: a matrix product's rounding depends on its number of rows
        predicted = [weights.predict(voxels[None]) for weights, voxels, _ in responses]
        z, c = (np.concatenate(parts) for parts in zip(*predicted, strict=True))
        picture = np.array([picture for _, _, picture in responses])
        likeness: dict[Mode, Likeness] = {mode: self.reconstruct(f"mode {mode}", z, c, mode, picture) for mode in modes}
        return DecodedTrials(self, z, c, picture, {mode: self.latents(z, c, mode) for mode in modes}, likeness)

    def latents(self, z: Array, c: Array, mode: Mode) -> Array:
        """Return the similarity of decoded with seen latents, (n, n_pictures), by the latents that the mode uses."""
        return np.stack([self._candidates.scores(*both, mode) for both in zip(z, c, strict=True)])

    def compare(self, words: str, comparisons: Sequence[Comparison]) -> Likeness:
        """Make comparisons, in order."""
        parts = []
        for part in self._compare(comparisons, words):
            parts.append(part)
            self._n_done += 1
            if self._progress is not None:
                self._progress(words, self._n_done, self._n_expected)
        return Likeness.joined(parts)

    def reconstruct(self, words: str, z: Array, c: Array, mode: Mode, picture: Array) -> Likeness:
        """Reconstruct pictures from n z's and c's, and compare them with the seen pictures."""
        # mode z uses no noise: all its samples are the same
        seeds = self._seeds[:1] if mode == "z" else self._seeds
        comparisons = []
        for chunk in chunks_of(len(z)):
            seen = picture[chunk]
            other = self.other_picture[seen] if mode == "zc" else None
            comparisons.append(Comparison(Decodes(z[chunk], c[chunk], mode, seeds), seen, other))
        return self.compare(words, comparisons)

    def recorded(self, words: str, nsd_ids: Array, picture: Array) -> Likeness:
        """Compare recorded pictures with the seen pictures."""
        return self.compare(words, [Comparison(nsd_ids[chunk], picture[chunk]) for chunk in chunks_of(len(nsd_ids))])

    def mean_prediction(self) -> Scores:
        """Score the decode of the training trials' mean in place of each held-out picture's decode."""
        pictures = np.arange(len(self.held_out.pictures))
        z, c = self.weights.predict(self.weights.voxel_mean[None])
        decodes = Decodes(z, c, "zc", self._seeds)
        comparisons = [Comparison(decodes, pictures[chunk]) for chunk in chunks_of(len(pictures))]
        likeness = self.compare("mean prediction", comparisons)
        # all decodes are the same picture: copying the first row removes rounding differences
        same = {name: np.repeat(values[:1], len(pictures), axis=0) for name, values in likeness.correlation.items()}
        likeness = Likeness(same, likeness.pixels, {}, likeness.caption, likeness.named)
        latents = np.repeat(self.latents(z, c, "zc"), len(pictures), axis=0)
        return self.scores(likeness, pictures, latents)

    def nearest_training(self, training: Training, decoded: DecodedTrials, positions: Array) -> Scores:
        """Score, in place of each decode, the training picture whose trials decode to the most similar z and c."""
        z, c, picture = decoded.z[positions], decoded.c[positions], decoded.picture[positions]
        nearest = nearest_by_decode(self.weights, training.voxels, z, c)
        likeness = self.recorded("nearest training pictures", training.nsd_ids[nearest], picture)
        latents = self.latents(*self.weights.predict(training.voxels[nearest]), "zc")
        return self.scores(likeness, picture, latents)

    def exchanged(self, training: Training, decoded: DecodedTrials, positions: Array) -> dict[str, Scores]:
        """Score averaged trials with z or c replaced: c by random captions' c, z or c by the seen picture's."""
        picture, z, c = decoded.picture[positions], decoded.z[positions], decoded.c[positions]
        seen_z, seen_c, random_c = self.held_out.z[picture], self.held_out.c[picture], training.random_c[picture]
        cases: dict[str, tuple[Array, Array, Mode]] = {
            "random_caption_c": (z, random_c, "c"),
            "random_caption_zc": (z, random_c, "zc"),
            "seen_z_decoded_c": (seen_z, c, "zc"),
            "decoded_z_seen_c": (z, seen_c, "zc"),
        }
        return {
            name: self.scores(
                self.reconstruct(name.replace("_", " "), one_z, one_c, mode, picture),
                picture,
                self.latents(one_z, one_c, mode),
            )
            for name, (one_z, one_c, mode) in cases.items()
        }

    def ceilings(self) -> dict[str, Scores]:
        """Score the seen pictures themselves, and the pictures reconstructed from their own z and c."""
        pictures, z, c = np.arange(len(self.held_out.pictures)), self.held_out.z, self.held_out.c
        itself = self.recorded("seen pictures", self.held_out.nsd_ids, pictures)
        own = self.reconstruct("seen z and c", z, c, "zc", pictures)
        return {
            "seen_pictures": self.scores(itself, pictures, None),
            "seen_z_and_c": self.scores(own, pictures, self.latents(z, c, "zc")),
        }


def chunks_of(n: int) -> list[slice]:
    """Divide n pictures into pieces that are compared together."""
    return [slice(start, start + SEEN_AT_ONCE) for start in range(0, n, SEEN_AT_ONCE)]


def derangement(n: int, seed: int) -> Array:
    """Give every picture a different picture at random: (n,) int64."""
    order = np.random.default_rng(seed).permutation(n)
    other = np.empty(n, np.int64)
    other[order] = np.roll(order, 1)
    return other
