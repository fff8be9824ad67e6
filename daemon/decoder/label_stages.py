"""Turns one trial's voxels into the probabilities of classes. This module uses no journal, no process and no torch.

Weights that decode classes and no pictures load neither a latent diffusion model nor candidates.
"""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ... import __version__
from ...arrays import Array
from ...client.wire import LabelProbability, Provenance, Retrieved, SeenCandidate, Stage
from ...errors import BraindError
from ...models.weights.weights import Weights
from ..journal.records import Pair, Shown

LABELS_MODE = "labels"
NOTHING_MADE = "none"
"""The preset and the engine of a decode without a picture."""


class StagesError(BraindError):
    """The decoded numbers of a volume are not finite."""

    code = "not_finite"


class StageResult(NamedTuple):
    """One stage: the best candidates and the classes for `scores`, a PNG for every other stage.

    `steps_s` holds the monotonic time of each step so far. `is_last`: no further stage of the trial follows. `feedback`
    is the field of `wire.Decode`: the stage `scores` has it if the sender named two candidates. `latents` is
    `latents_sha256` of z and c; the stage `scores` has it. `labels` are the classes of `ranked_classes`. `n_candidates`
    and `seen_candidate` are the fields of `wire.Decode`.
    """

    stage: Stage
    retrieved: tuple[Retrieved, ...]
    png: bytes | None
    steps_s: dict[str, float]
    is_last: bool
    feedback: float | None = None
    latents: str = ""
    labels: tuple[LabelProbability, ...] = ()
    n_candidates: int | None = None
    seen_candidate: SeenCandidate | None = None


def ranked_classes(weights: Weights, voxels: Array) -> tuple[LabelProbability, ...]:
    """Return every class with its probability, the most probable first; an empty tuple if the weights have no classes.

    Classes of equal probability keep the order of the weights. The probabilities equal `LabelMap.probabilities` bit for
    bit.

    Parameters
    ----------
    voxels : array of shape (n_voxels,), float32
        One trial's response, % signal change.

    Raises
    ------
    StagesError
        If a probability is not finite.
    """
    if weights.labels is None:
        return ()
    with np.errstate(over="ignore", invalid="ignore"):
        probabilities = weights.labels.probabilities(voxels)
    if not np.isfinite(probabilities).all():
        raise StagesError(
            "the voxels give probabilities that are not finite; check the units and the scale of the volumes, and the "
            "weights"
        )
    return tuple(
        LabelProbability(label=weights.card.labels[at], probability=float(probabilities[at]))
        for at in np.argsort(-probabilities, kind="stable").tolist()
    )


class LabelStages:
    """Turns voxels into the stage `scores` of weights that decode classes and no pictures.

    It has the methods of `Stages`.
    """

    def __init__(self, weights: Weights, seed: int) -> None:
        self.weights = weights
        self.provenance = Provenance(
            subject=weights.card.subject,
            preset=NOTHING_MADE,
            mode=LABELS_MODE,
            seed=seed,
            engine=NOTHING_MADE,
            weights=weights.fingerprint,
            ldm=weights.card.ldm,
            simulated=weights.card.simulated,
            version=__version__,
        )

    def warm_up(self) -> None:
        """Decode a trial of mean voxels and discard the result, because the first decode is the slowest."""
        ranked_classes(self.weights, self.weights.voxel_mean)

    def run(
        self, voxels: Array, pair: Pair | None = None, shown: Shown | None = None, *, has_pictures: bool = True
    ) -> Iterator[StageResult]:
        """Yield the stage `scores`.

        Parameters
        ----------
        voxels : array of shape (n_voxels,), float32
            One trial's response, % signal change.
        pair, shown : not read, because there are no candidates
        has_pictures : False for a provisional estimate, which has no last stage
        """
        labels = ranked_classes(self.weights, voxels)
        yield StageResult("scores", (), None, {"scores": time.monotonic()}, is_last=has_pictures, labels=labels)

    def keep_warm(self) -> None:
        """Do nothing: no GPU is used."""

    def refine(self, before_call: Callable[[], object]) -> None:
        """Return None: there is no picture to refine."""
