"""The judge: turns decoded pictures into numbers of likeness with the seen ones, and those into scores.

A decode is reduced at once to its correlations with every seen picture, layer by layer: all identification, distance
and shuffling follows from them, and no picture needs to be kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .judge_networks import Look
from .metrics import among_best, identified_among_decoded, identified_among_seen, pixcorr, ssim, unit_rows
from .protocols import Measure, mindeye_pixels

Array = NDArray[Any]

SEEN_AT_ONCE = 16  # pictures


@dataclass(frozen=True, eq=False)
class OwnClip:
    """braind's own look at pictures: a CLIP, the captions of the seen pictures, and names for objects.

    Parameters
    ----------
    embed : pictures (n, px, px, 3) uint8 → (n, d) float
    captions : array of shape (n_pictures, d), float
        Mean embedding of each seen picture's captions.
    names : embeddings (n, d) → n names, of the kinds of the held-out pictures; without it, naming is not scored
    """

    embed: Callable[[Array], Array]
    captions: Array
    names: Callable[[Array], Sequence[str]] | None = None


@dataclass(frozen=True, eq=False)
class Likeness:
    """How like n decodes are to the seen pictures.

    Parameters
    ----------
    correlation : measure → (n, n_pictures) float64
        Of the features that the measure compares, with every seen picture.
    pixels, pixels_of_another : "pixcorr" or "ssim" → (n,) float64
        With the picture that each was decoded from, and with another one (empty where that was not asked for).
    caption : array of shape (n, n_pictures), float, optional
        Cosine with every seen picture's captions.
    named : array of n str, optional
    """

    correlation: Mapping[str, Array]
    pixels: Mapping[str, Array]
    pixels_of_another: Mapping[str, Array]
    caption: Array | None = None
    named: Array | None = None

    def of(self, chosen: Array) -> "Likeness":
        """Return the chosen decodes, by mask or index."""
        return self._with_each(lambda values: values[chosen])

    def shuffled(self) -> "Likeness":
        """Return the likeness with another picture as if it were the one decoded."""
        return replace(self, pixels=self.pixels_of_another)

    @classmethod
    def joined(cls, parts: "Sequence[Likeness]") -> "Likeness":
        """Return the decodes of all parts, one after another."""
        return _combine(parts, np.concatenate)

    @classmethod
    def averaged(cls, samples: "Sequence[Likeness]") -> "Likeness":
        """Return the mean over samples of the same decodes; the first one's names."""
        return _combine(samples, lambda arrays: arrays[0] if arrays[0].dtype.kind == "U" else np.mean(arrays, axis=0))

    def _with_each(self, change: Callable[[Array], Array]) -> "Likeness":
        return _combine([self], lambda arrays: change(arrays[0]))


class Judge:
    """Has seen the held-out pictures, and compares decodes with them.

    Parameters
    ----------
    seen : array of shape (n_pictures, px, px, 3), uint8
    measures : what is scored; those whose features no look gives are left out
    looks : networks; each gives the features of one or more measures
    own : braind's own CLIP, the features of the measure clip_two_way
    kinds : the object in each picture, if known
    """

    def __init__(
        self,
        seen: Array,
        measures: Sequence[Measure],
        looks: Sequence[Look] = (),
        own: OwnClip | None = None,
        kinds: Sequence[str] = (),
    ) -> None:
        self.n_pictures = len(seen)
        self._own, self._looks = own, list(looks)
        self._kinds = np.array(kinds, str) if any(kinds) else None
        self._pixel_measures = {
            measure.name: pixcorr if measure.kind == "pixcorr" else ssim
            for measure in measures
            if measure.kind in ("pixcorr", "ssim")
        }
        chunks = [seen[start : start + SEEN_AT_ONCE] for start in range(0, len(seen), SEEN_AT_ONCE)]
        self._seen_pixels = (
            np.concatenate([mindeye_pixels(chunk) for chunk in chunks]) if self._pixel_measures else None
        )
        self._seen_features = _joined([{n: unit_rows(f) for n, f in self._features(chunk).items()} for chunk in chunks])
        self.measures = tuple(measure for measure in measures if self._can(measure))

    def _can(self, measure: Measure) -> bool:
        has_own, has_kinds = self._own is not None, self._kinds is not None
        return {
            "same_kind": has_own and has_kinds,
            "named": has_kinds and self._own is not None and self._own.names is not None,
            "caption": has_own,
        }.get(measure.kind, measure.kind in ("pixcorr", "ssim", "forward", "backward") or
              measure.name in self._seen_features)  # fmt: skip

    def look(self, decoded: Array, picture_of_decoded: Array, another: Array | None = None) -> Likeness:
        """Compare decodes with the seen pictures.

        Parameters
        ----------
        decoded : array of shape (n, px, px, 3), uint8
        picture_of_decoded : array of shape (n,), int
        another : array of shape (n,), int, optional
            A second picture to compare each one's pixels with.
        """
        features = self._features(decoded)
        pixels: dict[str, Array] = {}
        pixels_of_another: dict[str, Array] = {}
        if self._seen_pixels is not None:
            decoded_pixels = mindeye_pixels(decoded)
            for name, measured in self._pixel_measures.items():
                pixels[name] = measured(self._seen_pixels[picture_of_decoded], decoded_pixels)
                if another is not None:
                    pixels_of_another[name] = measured(self._seen_pixels[another], decoded_pixels)
        caption = named = None
        if self._own is not None:
            embeddings = features["clip_two_way"]
            caption = embeddings.astype(np.float64) @ self._own.captions.T.astype(np.float64)
            named = np.array(self._own.names(embeddings), str) if self._own.names else None
        return Likeness(
            {name: unit_rows(feature) @ self._seen_features[name].T for name, feature in features.items()},
            pixels,
            pixels_of_another,
            caption,
            named,
        )

    def scores(self, likeness: Likeness, picture_of_decoded: Array) -> dict[str, Array]:
        """Return each decode's scores, (n,) float64, by measure of pictures."""
        rows = np.arange(len(picture_of_decoded))
        scores: dict[str, Array] = {}
        for name, _, kind, k in self.measures:
            if kind in ("pixcorr", "ssim"):
                scores[name] = likeness.pixels[name]
            elif kind == "among_seen":
                scores[name] = identified_among_seen(likeness.correlation[name], picture_of_decoded)
            elif kind == "among_decoded":
                scores[name] = identified_among_decoded(likeness.correlation[name], picture_of_decoded)
            elif kind == "distance":
                scores[name] = 1 - likeness.correlation[name][rows, picture_of_decoded]
            elif kind == "same_kind" and self._kinds is not None:
                rivals = self._kinds[picture_of_decoded][:, None] == self._kinds
                scores[name] = identified_among_seen(likeness.correlation["clip_two_way"], picture_of_decoded, rivals)
            elif kind == "named" and self._kinds is not None:
                scores[name] = (likeness.named == self._kinds[picture_of_decoded]).astype(np.float64)
            elif kind == "caption" and likeness.caption is not None:
                scores[name] = _found(likeness.caption, picture_of_decoded, k)
        return scores

    def retrieval(self, likeness: Array, picture_of_decoded: Array, repeat: Array) -> dict[str, Array]:
        """Return whether each decode finds its picture, and each picture its decode: (n,) float64 by measure.

        Parameters
        ----------
        likeness : array of shape (n, n_pictures), float
            Of decoded with seen latents.
        repeat : array of shape (n,), int
            Decodes of the same repeat are each other's rivals, so that no picture is there twice.
        """
        with_picture_of = likeness[:, picture_of_decoded].T
        rivals = repeat[:, None] == repeat
        np.fill_diagonal(rivals, False)
        scores = {}
        for name, _, kind, k in self.measures:
            if kind == "forward":
                scores[name] = _found(likeness, picture_of_decoded, k)
            elif kind == "backward":
                scores[name] = among_best(with_picture_of, np.diagonal(with_picture_of), rivals, k)
        return scores

    def _features(self, pictures: Array) -> dict[str, Array]:
        features = {} if self._own is None else {"clip_two_way": self._own.embed(pictures)}
        for look in self._looks:
            features |= look(pictures)
        return features


def _found(score: Array, picture_of_decoded: Array, k: int) -> Array:
    """Tell whether each decode's own picture is among the k that score best."""
    rows = np.arange(len(score))
    rivals = np.ones(score.shape, bool)
    rivals[rows, picture_of_decoded] = False
    return among_best(score, score[rows, picture_of_decoded], rivals, k)


def _joined(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _combine(parts: Sequence[Likeness], how: Callable[[list[Array]], Array]) -> Likeness:
    def each(maps: list[Mapping[str, Array]]) -> dict[str, Array]:
        return {name: how([arrays[name] for arrays in maps]) for name in maps[0]}

    def one(arrays: list[Array | None]) -> Array | None:
        there = [array for array in arrays if array is not None]
        return how(there) if there else None

    return Likeness(
        each([part.correlation for part in parts]),
        each([part.pixels for part in parts]),
        each([part.pixels_of_another for part in parts]),
        one([part.caption for part in parts]),
        one([part.named for part in parts]),
    )
