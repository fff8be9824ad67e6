"""Chooses pictures for a report by rule: the best, median and worst decodes by a score."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...arrays import Array
from ..decoding import SubjectDecoder, averaged_labels, trial_labels

if TYPE_CHECKING:
    from ...choices import Mode

Report = Callable[[str, int, int], None]

MOST_IN_CLASS = 4
MODES: "tuple[Mode, ...]" = ("z", "c", "zc")


@dataclass(frozen=True, eq=False)
class Decoded:
    """One held-out picture and its decodes: (px, px, 3) uint8 by `seen`, `z`, `c` and `zc`.

    `trial`: the trial that was decoded, or the number of trials whose mean was decoded.
    """

    nsd_id: int
    trial: str
    caption: str
    is_novel: bool
    score: float
    rank: int
    pictures: dict[str, Array]


@dataclass(frozen=True, eq=False)
class Gallery:
    """The best, median and worst decodes by a score, among `n_pictures`."""

    score: str
    n_pictures: int
    classes: dict[str, list[Decoded]]


def make_galleries(decoder: SubjectDecoder, averaged: bool, report: Report) -> list[Gallery]:
    """Decode every held-out picture in mode zc, and the chosen pictures in all modes.

    One score is PixCorr, as in the protocol mindeye. Simulated data have a second score: the cosine similarity of the
    decoded and the seen picture in the demo's CLIP.

    Parameters
    ----------
    averaged : bool
        Decode the mean of a picture's repeats. By default, decode the picture's first trial.
    """
    from ...models.scores.clip import PictureClip
    from ...models.scores.held_out import average_repeats, first_trials
    from ...models.scores.metrics import pixcorr
    from ...models.scores.protocols import measured_pixels

    picture_ids, picture_of_trial = np.unique(decoder.test_trials.nsd_id, return_inverse=True)
    if averaged:
        voxels, _ = average_repeats(decoder.test_voxels, picture_of_trial)
        labels = [f"mean of {words}" for words in averaged_labels(picture_of_trial)]
    else:
        first = first_trials(picture_of_trial, 1)
        first = first[np.argsort(picture_of_trial[first])]
        voxels, labels = decoder.test_voxels[first], trial_labels(decoder.test_trials.of(first))
    novel = decoder.tree.novel_kind_ids()
    clip = PictureClip() if decoder.tree.is_simulated() else None
    scores: dict[str, list[float]] = {"PixCorr": []} | ({"CLIP similarity": []} if clip else {})

    def picture(position: int, mode: "Mode") -> Array:
        (z,), (c,) = decoder.weights.predict(voxels[position : position + 1])
        return decoder.reconstructor.picture(z, c, mode)

    # The first pass computes only scores: so only the chosen pictures are kept in memory.
    for position, nsd_id in enumerate(picture_ids):
        seen, decoded = decoder.tree.pictures([int(nsd_id)]), picture(position, "zc")[None]
        scores["PixCorr"].append(float(pixcorr(measured_pixels(seen), measured_pixels(decoded))[0]))
        if clip:
            scores["CLIP similarity"].append(float((clip.embed(seen) * clip.embed(decoded)).sum()))
        report("decoding held-out pictures", position + 1, len(picture_ids))

    chosen = {name: choose(np.array(values)) for name, values in scores.items()}
    shown = {position for classes in chosen.values() for places in classes.values() for _, position in places}
    pictures: dict[int, dict[str, Array]] = {}
    for n, position in enumerate(sorted(shown)):
        seen = decoder.tree.pictures([int(picture_ids[position])])[0]
        pictures[position] = {"seen": seen, **{mode: picture(position, mode) for mode in MODES}}
        report("decoding the pictures to show", n + 1, len(shown))

    def decoded_at(position: int, score: float, rank: int) -> Decoded:
        nsd_id = int(picture_ids[position])
        caption = decoder.tree.captions(nsd_id)[0]
        return Decoded(nsd_id, labels[position], caption, nsd_id in novel, score, rank, pictures[position])

    return [
        Gallery(
            name,
            len(picture_ids),
            {
                words: [decoded_at(position, scores[name][position], rank) for rank, position in places]
                for words, places in classes.items()
            },
        )
        for name, classes in chosen.items()
    ]


def choose(scores: Array) -> dict[str, list[tuple[int, int]]]:
    """Return the best, median and worst decodes, at most 4 each: class → (rank from 1, position)."""
    order = np.argsort(-scores, kind="stable")
    n = max(1, min(MOST_IN_CLASS, len(order) // 3))
    middle = (len(order) - n) // 2
    starts = {"best": 0, "median": middle, "worst": len(order) - n}
    return {
        words: [(start + k + 1, int(order[start + k])) for k in range(min(n, len(order)))]
        for words, start in starts.items()
    }
