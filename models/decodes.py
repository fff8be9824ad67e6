"""The studio: makes pictures from z and c, of trials and of controls, and has each judged as it is made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .candidates import Candidates
from .held_out import HeldOut, Training, TrialDecoder, repeat_of_trial
from .judge import SEEN_AT_ONCE, Judge, Likeness
from .metrics import mean_by_picture
from .target_likeness import nearest_by_decode
from .weights import Weights

Array = NDArray[Any]
Mode = Literal["z", "c", "zc"]
Reconstruct = Callable[[Array, Array, Mode], Array]
Progress = Callable[[str, int, int], None]  # what is being made, pictures done, pictures in all
Scores = dict[str, Array]  # by measure, per picture: (n_pictures,) float64, NaN where nothing was decoded

MODES: tuple[Mode, ...] = ("z", "c", "zc")


@dataclass(frozen=True, eq=False)
class Decodes:
    """Every different response, decoded: z, c, and by mode the likeness of latents, (n, n_pictures), and pictures."""

    studio: "Studio"
    z: Array
    c: Array
    picture: Array
    latents: dict[Mode, Array]
    likeness: dict[Mode, Likeness]

    def scores_of_row(self, place: Array) -> dict[str, Any]:
        pictures = self.picture[place]
        return {
            mode: self.studio.scores(self.likeness[mode].of(place), pictures, self.latents[mode][place])
            for mode in MODES
        }

    def scores_of_shuffled(self, place: Array) -> Scores:
        """Score mode zc against other pictures."""
        another = self.studio.another[self.picture[place]]
        return self.studio.scores(self.likeness["zc"].of(place).shuffled(), another, self.latents["zc"][place])


class Studio:
    """Makes pictures and has them judged, a few at a time, and tells how far it is."""

    def __init__(
        self,
        weights: Weights,
        held_out: HeldOut,
        judge: Judge,
        reconstructs: Sequence[Reconstruct],
        seed: int,
        progress: Progress | None,
    ) -> None:
        self.weights, self.held_out, self.judge = weights, held_out, judge
        self.another = derangement(len(held_out.pictures), seed)
        self._reconstructs, self._progress = reconstructs, progress
        n = len(held_out.pictures)
        self._candidates = Candidates(held_out.z, held_out.c, np.arange(n), [""] * n)
        self._n_done = self._n_expected = 0

    def expect(self, n_decoded: int, n_averaged: int) -> None:
        """Count the pictures that will be made."""
        n_samples, n = len(self._reconstructs), len(self.held_out.pictures)
        self._n_expected = n_decoded * (1 + 2 * n_samples) + n_samples * (4 * n_averaged + n + 1)

    def by_picture(self, scores: Array, picture_of_score: Array) -> Array:
        return mean_by_picture(scores, picture_of_score, len(self.held_out.pictures))

    def scores(self, likeness: Likeness, picture_of_decoded: Array, latents: Array | None) -> Scores:
        """Score decodes by picture; without `latents`, (n, n_pictures), nothing is retrieved."""
        scores = self.judge.scores(likeness, picture_of_decoded)
        if latents is not None:
            repeat = repeat_of_trial(picture_of_decoded)
            scores |= self.judge.retrieval(latents, picture_of_decoded, repeat)
        return {name: self.by_picture(score, picture_of_decoded) for name, score in scores.items()}

    def decode(self, responses: list[tuple[TrialDecoder, Array, int]]) -> Decodes:
        # one by one, as a daemon does: the sums of a matrix product depend on how many rows it has
        predicted = [weights.predict(voxels[None]) for weights, voxels, _ in responses]
        z, c = (np.concatenate(parts) for parts in zip(*predicted, strict=True))
        picture = np.array([picture for _, _, picture in responses])
        likeness: dict[Mode, Likeness] = {mode: self.make(f"mode {mode}", z, c, mode, picture) for mode in MODES}
        return Decodes(self, z, c, picture, {mode: self.latents(z, c, mode) for mode in MODES}, likeness)

    def latents(self, z: Array, c: Array, mode: Mode) -> Array:
        """Return the likeness of decoded with seen latents, (n, n_pictures), by what the mode reads."""
        return np.stack([self._candidates.scores(*both, mode) for both in zip(z, c, strict=True)])

    def make(self, words: str, z: Array, c: Array, mode: Mode, picture: Array) -> Likeness:
        """Make pictures of n z's and c's and compare them with the seen ones."""
        # mode z reads no noise: all its samples are the same
        reconstructs = self._reconstructs[:1] if mode == "z" else self._reconstructs
        parts = []
        for start in range(0, len(z), SEEN_AT_ONCE):
            chunk = slice(start, start + SEEN_AT_ONCE)
            another = self.another[picture[chunk]] if mode == "zc" else None
            samples = []
            for reconstruct in reconstructs:
                pictures = []
                for one_z, one_c in zip(z[chunk], c[chunk], strict=True):
                    pictures.append(reconstruct(one_z, one_c, mode))
                    self._n_done += 1
                    if self._progress is not None:
                        self._progress(words, self._n_done, self._n_expected)
                samples.append(self.judge.look(np.stack(pictures), picture[chunk], another))
            parts.append(Likeness.averaged(samples))
        return Likeness.joined(parts)

    def mean_prediction(self) -> Scores:
        """Score what the training trials' mean decodes to, as if it were each held-out picture's decode."""
        pictures = np.arange(len(self.held_out.pictures))
        z, c = self.weights.predict(self.weights.voxel_mean[None])
        samples = []
        for reconstruct in self._reconstructs:
            decoded = reconstruct(z[0], c[0], "zc")[None]
            chunks = [pictures[start : start + SEEN_AT_ONCE] for start in range(0, len(pictures), SEEN_AT_ONCE)]
            looks = [self.judge.look(np.repeat(decoded, len(chunk), axis=0), chunk) for chunk in chunks]
            samples.append(Likeness.joined(looks))
            self._n_done += 1
        # every decode is the same to the last digit, so that all are tied
        likeness = Likeness.averaged(samples)
        same = {name: np.repeat(values[:1], len(pictures), axis=0) for name, values in likeness.correlation.items()}
        likeness = Likeness(same, likeness.pixels, {}, likeness.caption, likeness.named)
        latents = np.repeat(self.latents(z, c, "zc"), len(pictures), axis=0)
        return self.scores(likeness, pictures, latents)

    def nearest_training(self, training: Training, decodes: Decodes, place: Array) -> Scores:
        """Score, in place of each decode, the training picture whose trials decode to the most similar z and c."""
        z, c, picture = decodes.z[place], decodes.c[place], decodes.picture[place]
        nearest = nearest_by_decode(self.weights, training.voxels, z, c)
        parts = []
        for start in range(0, len(nearest), SEEN_AT_ONCE):
            chunk = slice(start, start + SEEN_AT_ONCE)
            parts.append(self.judge.look(training.pictures(nearest[chunk]), picture[chunk]))
        latents = self.latents(*self.weights.predict(training.voxels[nearest]), "zc")
        return self.scores(Likeness.joined(parts), picture, latents)

    def exchanged(self, training: Training, decodes: Decodes, place: Array) -> dict[str, Scores]:
        """Score averaged trials with z or c exchanged: c by random captions', either by the seen picture's."""
        picture, z, c = decodes.picture[place], decodes.z[place], decodes.c[place]
        seen_z, seen_c, random_c = self.held_out.z[picture], self.held_out.c[picture], training.random_c[picture]
        cases: dict[str, tuple[Array, Array, Mode]] = {
            "random_caption_c": (z, random_c, "c"),
            "random_caption_zc": (z, random_c, "zc"),
            "seen_z_decoded_c": (seen_z, c, "zc"),
            "decoded_z_seen_c": (z, seen_c, "zc"),
        }
        return {
            name: self.scores(
                self.make(name.replace("_", " "), one_z, one_c, mode, picture),
                picture,
                self.latents(one_z, one_c, mode),
            )
            for name, (one_z, one_c, mode) in cases.items()
        }

    def ceilings(self) -> dict[str, Scores]:
        """Score the seen pictures themselves, and what their own z and c give."""
        pictures, z, c = np.arange(len(self.held_out.pictures)), self.held_out.z, self.held_out.c
        chunks = [pictures[start : start + SEEN_AT_ONCE] for start in range(0, len(pictures), SEEN_AT_ONCE)]
        itself = Likeness.joined([self.judge.look(self.held_out.pictures[chunk], chunk) for chunk in chunks])
        own = self.make("seen z and c", z, c, "zc", pictures)
        return {
            "seen_pictures": self.scores(itself, pictures, None),
            "seen_z_and_c": self.scores(own, pictures, self.latents(z, c, "zc")),
        }


def derangement(n: int, seed: int) -> Array:
    """Give every picture another one, at random."""
    order = np.random.default_rng(seed).permutation(n)
    another = np.empty(n, np.int64)
    another[order] = np.roll(order, 1)
    return another
