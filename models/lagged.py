"""BOLD without an HRF and without trial estimates: a run's last volumes, normalised causally.

What Dynadiff (Careil et al. 2025) gives a network, for a ridge: six volumes of every voxel. Dynadiff normalises a whole
run at once; here every volume is normalised by what had come of its run by then.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bold_training import BoldRun
from .causal import FINAL_ESTIMATE_S, FIRST_ESTIMATE_S
from .streaming import StreamingError

Array = NDArray[Any]

N_VOLUMES = 6
"""Of a window: 8 s at NSD's TR, as Dynadiff's."""
N_TOGETHER = 2
"""Neighbouring volumes of a window that are averaged: half as many columns, an eighth of the time of a fit."""
N_LAGS = N_VOLUMES // N_TOGETHER
MEMORY_S = 50.0
"""A volume so long ago counts 1/e: the mean follows the drift, and less and less of the responses themselves."""
PRIOR_VOLUMES = 40
"""How many volumes' worth the training runs' spread weighs against the run's own, which weighs 38 in the end."""


class CausalNormaliser:
    """Turns a run's volumes into z-scores by the mean and spread of the volumes so far, older ones counting less.

    The same volumes in the same order give the same bits. A volume that is missing only lets time pass.

    Parameters
    ----------
    tr_s : float
    spread : array of shape (n_voxels,), float32
        Of training runs: `spread_of`.
    """

    def __init__(self, tr_s: float, spread: Array) -> None:
        self.tr_s = tr_s
        self._first = self._mean = np.zeros(0, np.float32)
        self._prior_variance = spread.astype(np.float32) ** 2
        self._squares = np.zeros_like(self._prior_variance)
        self._weight = np.float32(0)
        self._last_index = -1

    def add_volume(self, index: int, voxels: Array) -> Array:
        """Return a volume's z-scores, (n_voxels,) float32.

        Parameters
        ----------
        index : int
            Of the volume in the run; later than the last one's, but not necessarily the next.
        voxels : array of shape (n_voxels,), float32
            Raw BOLD signal, any unit.

        Raises
        ------
        StreamingError
            If the index does not rise or the number of voxels is not the prior's.
        """
        if index <= self._last_index:
            raise StreamingError(f"volume {index} after volume {self._last_index}; volumes must come in order")
        if voxels.shape != self._squares.shape:
            raise StreamingError(f"volume {index}: {len(voxels)} voxels, but the spread is of {len(self._squares)}")
        if not self._first.size:
            self._first, self._mean = _reference(voxels), np.zeros(len(voxels), np.float32)
        kept = np.float32(np.exp(-(index - self._last_index) * self.tr_s / MEMORY_S))
        self._last_index = index
        self._weight = kept * self._weight + 1
        signal = (100 * (voxels / self._first - 1)).astype(np.float32)
        unforeseen = signal - self._mean
        self._mean += unforeseen / self._weight
        deviation = signal - self._mean
        self._squares = kept * self._squares + unforeseen * deviation
        variance = (PRIOR_VOLUMES * self._prior_variance + self._squares) / (PRIOR_VOLUMES + self._weight)
        return deviation / np.sqrt(variance)


def spread_of(runs: list[BoldRun]) -> Array:
    """Return the voxels' standard deviation over a run's volumes, % of its first, over runs: (n_voxels,) float32."""
    variances = [(100 * run.volumes / _reference(run.volumes[0])).var(axis=0, dtype=np.float64) for run in runs]
    spread = np.sqrt(np.mean(variances, axis=0)).astype(np.float32)
    # a voxel that never varies says nothing, and must not be divided by
    return np.where(spread > 0, spread, 1).astype(np.float32)


def normalised(run: BoldRun, spread: Array) -> Array:
    """Normalise a run as a daemon would: (n_volumes, n_voxels) float32 by number in the run.

    0, the mean, before the first volume; a missing one is taken to be as the one before.
    """
    normaliser = CausalNormaliser(run.tr_s, spread)
    volumes = np.zeros((_numbers(run)[-1] + 1, len(spread)), np.float32)
    before, held = 0, np.zeros(len(spread), np.float32)
    for number, voxels in zip(_numbers(run), run.volumes, strict=True):
        volumes[before:number] = held
        volumes[number] = held = normaliser.add_volume(number, voxels)
        before = number + 1
    return volumes


def last_volumes(run: BoldRun, delay_s: float) -> dict[int, int]:
    """Return which volume is each trial's last so many seconds after onset: the first that is so late, by event.

    As a trial's estimates do, its final volume may come at the run's end.
    """
    numbers = np.array(_numbers(run))
    last = {}
    for event, onset_s in enumerate(run.onsets_s):
        since_s = numbers * run.tr_s - onset_s
        late = np.flatnonzero(since_s >= delay_s)
        if late.size:
            last[event] = int(numbers[late[0]])
        elif delay_s == FINAL_ESTIMATE_S and since_s[-1] >= FIRST_ESTIMATE_S:
            last[event] = int(numbers[-1])
    return last


def windows(volumes: Array, last: list[int]) -> Array:
    """Return the windows that end with given volumes, oldest lag first: (n_trials, N_LAGS * n_voxels) float32.

    Parameters
    ----------
    volumes : array of shape (n_volumes, n_voxels), float32
        From `normalised`.
    """
    before = np.zeros((N_VOLUMES - 1, volumes.shape[1]), np.float32)
    padded = np.concatenate([before, volumes])
    found = np.stack([padded[number : number + N_VOLUMES] for number in last])
    return found.reshape(len(last), N_LAGS, N_TOGETHER, -1).mean(axis=2).reshape(len(last), -1)


def lagged(positions: Array, n_voxels: int) -> Array:
    """Return where voxels at `positions` stand in a window, at every lag: (N_LAGS * n_positions,) int64."""
    return (np.arange(N_LAGS)[:, None] * n_voxels + positions).reshape(-1)


def _numbers(run: BoldRun) -> list[int]:
    return list(range(len(run.volumes))) if run.index is None else [int(number) for number in run.index]


def _reference(first: Array) -> Array:
    """Return a run's first volume, as what signal is a percentage of."""
    return np.where(first > 0, first, 1).astype(np.float32)
