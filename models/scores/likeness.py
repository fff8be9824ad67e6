"""Compares decoded pictures with the seen pictures, and scores the comparison.

A decoded picture is reduced to its features' correlations with every seen picture. Identification, distances and
shuffled controls follow from these correlations, so no decoded picture is kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...arrays import Array
from .metrics import (
    among_best,
    identified_among_decoded,
    identified_among_seen,
    pixcorr,
    ssim,
    ssim_detail,
    unit_rows,
)
from .networks import FeatureExtractor
from .protocols import MINDEYE_PIXELS, Measure, Pixels, measured_pixels
from .scene_judge import SceneJudge

SEEN_AT_ONCE = 16  # pictures
PIXEL_KINDS = ("pixcorr", "ssim", "ssim_detail")


@dataclass(frozen=True, eq=False)
class OwnClip:
    """braind's own CLIP, and the captions of the seen pictures.

    Parameters
    ----------
    embed : pictures (n, px, px, 3) uint8 → (n, d) float
    captions : array of shape (n_pictures, d), float
        Mean embedding of each seen picture's captions.
    """

    embed: Callable[[Array], Array]
    captions: Array


@dataclass(frozen=True, eq=False)
class Likeness:
    """The similarity of n decodes with the seen pictures.

    Parameters
    ----------
    correlation : measure → (n, n_pictures) float64
        Correlation of the measure's features with the features of every seen picture.
    pixels, pixels_of_other : measure → (n,) float64
        Similarity with the decode's own seen picture, and with another seen picture (empty unless requested).
    caption : array of shape (n, n_pictures), float, optional
        Cosine with the captions of every seen picture.
    named : measure → (n,) or (n, 2) str
        What a SceneJudge names in each decode.
    """

    correlation: Mapping[str, Array]
    pixels: Mapping[str, Array]
    pixels_of_other: Mapping[str, Array]
    caption: Array | None = None
    named: Mapping[str, Array] = field(default_factory=dict)

    def of(self, chosen: Array) -> "Likeness":
        """Return the chosen decodes, by mask or index."""
        return self._with_each(lambda values: values[chosen])

    def arrays(self) -> dict[str, Array]:
        """Return all arrays by name, such as `correlation.clip`, for files and other processes."""
        maps = {"correlation": self.correlation, "pixels": self.pixels, "pixels_of_other": self.pixels_of_other,
                "named": self.named}  # fmt: skip
        arrays = {f"{part}.{name}": values for part, of_part in maps.items() for name, values in of_part.items()}
        return arrays if self.caption is None else {**arrays, "caption": self.caption}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Array]) -> "Likeness":
        """Return the likeness whose `arrays` these are."""
        maps: dict[str, dict[str, Array]] = {"correlation": {}, "pixels": {}, "pixels_of_other": {}, "named": {}}
        for name, values in arrays.items():
            part, _, measure = name.partition(".")
            if measure:
                maps[part][measure] = values
        return cls(**maps, caption=arrays.get("caption"))

    def shuffled(self) -> "Likeness":
        """Return the likeness with another seen picture in place of the decode's own."""
        return replace(self, pixels=self.pixels_of_other)

    @classmethod
    def joined(cls, parts: "Sequence[Likeness]") -> "Likeness":
        """Concatenate parts."""
        return _combine(parts, np.concatenate)

    @classmethod
    def averaged(cls, samples: "Sequence[Likeness]") -> "Likeness":
        """Average over samples of the same decodes; take the names from the first sample."""
        return _combine(samples, lambda arrays: arrays[0] if arrays[0].dtype.kind == "U" else np.mean(arrays, axis=0))

    def _with_each(self, change: Callable[[Array], Array]) -> "Likeness":
        return _combine([self], lambda arrays: change(arrays[0]))


class SimilarityScorer:
    """Compares decodes with the held-out pictures.

    Parameters
    ----------
    seen : array of shape (n_pictures, px, px, 3), uint8
    measures : the measures to score; a measure without its features is left out
    extractors : each gives the features of one or more measures
    own : gives the features of the measure clip_two_way
    kinds : the object in each picture, if known
    pixels : the protocol's comparison of pixels
    judge : judges simulated pictures by attribute
    """

    def __init__(
        self,
        seen: Array,
        measures: Sequence[Measure],
        extractors: Sequence[FeatureExtractor] = (),
        own: OwnClip | None = None,
        kinds: Sequence[str] = (),
        *,
        pixels: Pixels = MINDEYE_PIXELS,
        judge: SceneJudge | None = None,
    ) -> None:
        self.n_pictures = len(seen)
        self._own, self._extractors = own, list(extractors)
        self._kinds = np.array(kinds, str) if any(kinds) else None
        self._pixels, self._judge = pixels, judge
        self._pixel_measures = {name: kind for name, _, kind, _ in measures if kind in PIXEL_KINDS}
        chunks = [seen[start : start + SEEN_AT_ONCE] for start in range(0, len(seen), SEEN_AT_ONCE)]
        self._seen_pixels = (
            np.concatenate([measured_pixels(chunk, pixels.resize) for chunk in chunks])
            if self._pixel_measures
            else None
        )
        self._seen_features = _joined([{n: unit_rows(f) for n, f in self._features(chunk).items()} for chunk in chunks])
        self.measures = tuple(measure for measure in measures if self._is_available(measure))

    @property
    def references(self) -> list[Array]:
        """Return what decodes are compared with: the seen pictures' features and pixels, and the captions."""
        pixels = [] if self._seen_pixels is None else [self._seen_pixels]
        captions = [] if self._own is None else [self._own.captions]
        return [*self._seen_features.values(), *pixels, *captions]

    def _is_available(self, measure: Measure) -> bool:
        has_own, has_kinds = self._own is not None, self._kinds is not None
        return {
            "same_kind": has_own and has_kinds,
            "named": self._judge is not None,
            "background_pixcorr": self._judge is not None,
            "caption": has_own,
        }.get(measure.kind, measure.kind in (*PIXEL_KINDS, "forward", "backward") or
              measure.name in self._seen_features)  # fmt: skip

    def compare(self, decoded: Array, picture_of_decoded: Array, other: Array | None = None) -> Likeness:
        """Compare decodes with the seen pictures.

        Parameters
        ----------
        decoded : array of shape (n, px, px, 3), uint8
        picture_of_decoded : array of shape (n,), int
        other : array of shape (n,), int, optional
            Another seen picture for each decode, for the shuffled control of pixel measures.
        """
        features = self._features(decoded)
        decoded_pixels = None if self._seen_pixels is None else measured_pixels(decoded, self._pixels.resize)
        caption = None
        if self._own is not None:
            embeddings = features["clip_two_way"]
            caption = embeddings.astype(np.float64) @ self._own.captions.T.astype(np.float64)
        return Likeness(
            {name: unit_rows(feature) @ self._seen_features[name].T for name, feature in features.items()},
            self._compare_pixels(decoded, decoded_pixels, picture_of_decoded),
            {} if other is None else self._compare_pixels(decoded, decoded_pixels, other),
            caption,
            {} if self._judge is None else self._judge.names(decoded),
        )

    def _compare_pixels(self, decoded: Array, decoded_pixels: Array | None, seen: Array) -> dict[str, Array]:
        pixels: dict[str, Array] = {}
        if self._seen_pixels is not None and decoded_pixels is not None:
            seen_pixels = self._seen_pixels[seen]
            for name, kind in self._pixel_measures.items():
                if kind == "pixcorr":
                    pixels[name] = pixcorr(seen_pixels, decoded_pixels)
                elif kind == "ssim":
                    pixels[name] = ssim(seen_pixels, decoded_pixels, self._pixels.window)
                else:
                    pixels[name] = ssim_detail(seen_pixels, decoded_pixels)
        if self._judge is not None:
            pixels["background_pixcorr"] = self._judge.background_pixcorr(decoded, seen)
        return pixels

    def scores(self, likeness: Likeness, picture_of_decoded: Array) -> dict[str, Array]:
        """Return each decode's scores by picture measure, (n,) float64 each."""
        rows = np.arange(len(picture_of_decoded))
        scores: dict[str, Array] = {}
        for name, _, kind, k in self.measures:
            if kind in (*PIXEL_KINDS, "background_pixcorr"):
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
            elif kind == "named" and self._judge is not None:
                is_right = likeness.named[name] == self._judge.truth[name][picture_of_decoded]
                scores[name] = is_right.reshape(len(rows), -1).mean(axis=1)
            elif kind == "caption" and likeness.caption is not None:
                scores[name] = _found(likeness.caption, picture_of_decoded, k)
        return scores

    def retrieval(self, likeness: Array, picture_of_decoded: Array, repeat: Array) -> dict[str, Array]:
        """Score forward and backward retrieval by latents: (n,) float64 by measure.

        Forward retrieval finds the seen picture of a decode, backward retrieval the decode of a seen picture.

        Parameters
        ----------
        likeness : array of shape (n, n_pictures), float
            Similarity of decoded with seen latents.
        repeat : array of shape (n,), int
            Rivals of a decode are decodes of the same repeat, so no picture occurs twice.
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
        for extract in self._extractors:
            features |= extract(pictures)
        return features


def _found(score: Array, picture_of_decoded: Array, k: int) -> Array:
    """Return 1 for each decode whose own picture is among the k best scores, 0 otherwise; ties count in part."""
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
        each([part.pixels_of_other for part in parts]),
        one([part.caption for part in parts]),
        each([part.named for part in parts]),
    )
