"""Held-out trials, and an evaluation's rows: single trials, averaged repeats, running averages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...arrays import Array
from ...errors import BraindError
from ..weights.low_rank import LowRankMap
from ..weights.weights import Weights


class EvaluateError(BraindError):
    """Held-out trials cannot be scored."""

    code = "evaluate"


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out trials and their pictures.

    Parameters
    ----------
    voxels : array of shape (n_trials, n_voxels), float32
        % signal change of single trials in order of time; voxels in the order of the weights' voxel index.
    picture_of_trial : array of shape (n_trials,), int
        Row of the arrays below.
    pictures : array of shape (n_pictures, px, px, 3), uint8
    nsd_ids : array of shape (n_pictures,), int
        0-based 73k ids of the pictures.
    z : array of shape (n_pictures, *latent_shape), float
    c : array of shape (n_pictures, *text_shape), float
    kinds : sequence of n_pictures str, optional
        The object in each picture.
    is_novel : array of shape (n_pictures,), bool, optional
        Pictures of kinds that training lacks; their scores are reported separately.
    """

    voxels: Array
    picture_of_trial: Array
    pictures: Array
    nsd_ids: Array
    z: Array
    c: Array
    kinds: Sequence[str] = ()
    is_novel: Array | None = None

    def __post_init__(self) -> None:
        n_pictures = len(self.pictures)
        if n_pictures < 2:
            raise EvaluateError(f"{n_pictures} held-out pictures; identification needs at least 2")
        for name in ("nsd_ids", "z", "c", "kinds"):
            n = len(getattr(self, name))
            if n != n_pictures and (name != "kinds" or n):
                raise EvaluateError(f"{n} {name} for {n_pictures} held-out pictures")
        if len(self.voxels) != len(self.picture_of_trial) or not len(self.voxels):
            raise EvaluateError(f"{len(self.voxels)} rows of voxels for {len(self.picture_of_trial)} trials")
        if self.picture_of_trial.min() < 0 or self.picture_of_trial.max() >= n_pictures:
            raise EvaluateError(f"a trial shows picture {self.picture_of_trial.max()}, of {n_pictures} held-out ones")


@dataclass(frozen=True, eq=False)
class Training:
    """The training data that the controls use.

    Parameters
    ----------
    voxels : array of shape (n_training_pictures, n_voxels), float32
        Each picture's mean response, % signal change.
    nsd_ids : array of shape (n_training_pictures,), int
        0-based 73k ids of the pictures.
    random_c : array of shape (n_pictures, *text_shape), float
        Text embeddings of random training pictures, one for each held-out picture.
    """

    voxels: Array
    nsd_ids: Array
    random_c: Array


class TrialDecoder(Protocol):
    """Decodes trials into z and c: weights, or the lagged ridge of one delay."""

    @property
    def z(self) -> LowRankMap: ...
    @property
    def c(self) -> LowRankMap: ...
    @property
    def fingerprint(self) -> str: ...
    def predict(self, voxels: Array) -> tuple[Array, Array]: ...


@dataclass(frozen=True, eq=False)
class Row:
    """Responses (n, n_voxels) float32 to decode, their decoder, and the picture of each response."""

    weights: TrialDecoder
    voxels: Array
    picture_of_row: Array


DistinctRows = tuple[list[tuple[TrialDecoder, Array, int]], dict[str, Array]]
"""Distinct responses (decoder, voxels, picture), and the positions of each row's responses among them."""


def rows_of(weights: Weights, held_out: HeldOut, max_trials_per_picture: int | None = None) -> dict[str, Row]:
    """Return the rows that single trials give: `single`, `averaged` and `running`."""
    trials = first_trials(held_out.picture_of_trial, max_trials_per_picture)
    voxels, picture_of_trial = held_out.voxels[trials], held_out.picture_of_trial[trials]
    return {
        "single": Row(weights, voxels, picture_of_trial),
        "averaged": Row(weights, *average_repeats(voxels, picture_of_trial)),
        "running": Row(weights, running_averages(voxels, picture_of_trial), picture_of_trial),
    }


def first_trials(picture_of_trial: Array, max_trials_per_picture: int | None) -> Array:
    """Return the positions of each picture's first trials, in the trials' order."""
    if max_trials_per_picture is None:
        return np.arange(len(picture_of_trial))
    return np.flatnonzero(repeat_of_trial(picture_of_trial) < max_trials_per_picture)


def repeat_of_trial(picture_of_trial: Array) -> Array:
    """Return the number of earlier trials with the same picture: (n_trials,) int."""
    order = np.argsort(picture_of_trial, kind="stable")
    _, first, n_trials = np.unique(picture_of_trial[order], return_index=True, return_counts=True)
    repeat = np.empty(len(order), np.int64)
    repeat[order] = np.arange(len(order)) - np.repeat(first, n_trials)
    return repeat


def average_repeats(voxels: Array, picture_of_trial: Array) -> tuple[Array, Array]:
    """Average each picture's trials; return (n_seen_pictures, n_voxels) float32 and the pictures."""
    pictures, position, n_trials = np.unique(picture_of_trial, return_inverse=True, return_counts=True)
    summed = np.zeros((len(pictures), voxels.shape[1]))
    np.add.at(summed, position, voxels)
    return (summed / n_trials[:, None]).astype(np.float32), pictures


def running_averages(voxels: Array, picture_of_trial: Array) -> Array:
    """Average each trial with the earlier trials of its picture: (n_trials, n_voxels) float32."""
    sums: dict[int, tuple[Array, int]] = {}
    averages = np.empty(voxels.shape, np.float32)
    for trial, picture in enumerate(picture_of_trial.tolist()):
        earlier, n_earlier = sums.get(picture, (np.zeros(voxels.shape[1]), 0))
        sums[picture] = earlier + voxels[trial], n_earlier + 1
        averages[trial] = sums[picture][0] / (n_earlier + 1)
    return averages


def distinct_rows(rows: dict[str, Row]) -> DistinctRows:
    """Return every distinct response (weights, voxels, picture), and each row's positions among them.

    Rows share responses: a picture's first running average is its first single trial, and its last is its average.
    """
    positions: dict[tuple[str, int, bytes], int] = {}
    responses: list[tuple[TrialDecoder, Array, int]] = []
    places = {}
    for name, row in rows.items():
        place = np.empty(len(row.voxels), np.int64)
        for n, (voxels, picture) in enumerate(zip(row.voxels, row.picture_of_row.tolist(), strict=True)):
            key = (row.weights.fingerprint, picture, voxels.tobytes())
            if key not in positions:
                positions[key] = len(responses)
                responses.append((row.weights, voxels, picture))
            place[n] = positions[key]
        places[name] = place
    return responses, places
