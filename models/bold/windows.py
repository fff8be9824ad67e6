"""Windows of a run's last volumes, normalised causally: the lagged ridge's input.

A window needs no HRF and no trial estimates. Dynadiff (Careil et al. 2025) gives its network the same six volumes.
Dynadiff normalises a whole run at once; here each volume is normalised by the volumes up to itself.
"""

import numpy as np

from ...arrays import Array
from .estimator import FINAL_AFTER_END_S, FIRST_ESTIMATE_S, StreamingError
from .finished_run import FinishedRun

FINAL_WINDOW_S = 3.0 + FINAL_AFTER_END_S
"""Seconds after onset at which the last window of a 3 s trial ends."""
N_VOLUMES = 6
"""Volumes in a window: 8 s at NSD's TR, as Dynadiff's."""
N_TOGETHER = 2
"""Neighbouring volumes that are averaged: a window has half as many columns, a fit takes an eighth of the time."""
N_LAGS = N_VOLUMES // N_TOGETHER
MEMORY_S = 50.0
"""A volume this long ago has a weight of 1/e. The mean follows the drift, and less and less the responses."""
PRIOR_VOLUMES = 40
"""The training runs' variance weighs as much as this many volumes; the run's own variance grows to a weight of 38."""


class CausalNormaliser:
    """Z-scores a run's volumes by an exponentially weighted mean and variance of the volumes so far.

    The same volumes in the same order give the same bits. A missing volume only moves time on.

    Parameters
    ----------
    tr_s : float
    signal_std : array of shape (n_voxels,), float32
        Standard deviation in training runs, from `signal_std_of`.
    """

    def __init__(self, tr_s: float, signal_std: Array) -> None:
        self.tr_s = tr_s
        self._first = self._mean = np.zeros(0, np.float32)
        self._prior_variance = signal_std.astype(np.float32) ** 2
        self._squares = np.zeros_like(self._prior_variance)
        self._weight = np.float32(0)
        self._last_index = -1

    def add_volume(self, index: int, voxels: Array) -> Array:
        """Return a volume's z-scores, (n_voxels,) float32.

        Parameters
        ----------
        index : int
            The volume's number in the run, above the last volume's number. Numbers may be skipped.
        voxels : array of shape (n_voxels,), float32
            Raw BOLD signal, any unit.

        Raises
        ------
        StreamingError
            If the index does not rise or the number of voxels changes.
        """
        if index <= self._last_index:
            raise StreamingError(f"volume {index} after volume {self._last_index}; volumes must come in order")
        if voxels.shape != self._squares.shape:
            raise StreamingError(
                f"volume {index}: {len(voxels)} voxels, but the standard deviation is of {len(self._squares)}"
            )
        if not self._first.size:
            self._first, self._mean = _reference(voxels), np.zeros(len(voxels), np.float32)
        decay = np.float32(np.exp(-(index - self._last_index) * self.tr_s / MEMORY_S))
        self._last_index = index
        self._weight = decay * self._weight + 1
        signal = (100 * (voxels / self._first - 1)).astype(np.float32)
        innovation = signal - self._mean
        self._mean += innovation / self._weight
        deviation = signal - self._mean
        self._squares = decay * self._squares + innovation * deviation
        variance = (PRIOR_VOLUMES * self._prior_variance + self._squares) / (PRIOR_VOLUMES + self._weight)
        return deviation / np.sqrt(variance)


def signal_std_of(runs: list[FinishedRun]) -> Array:
    """Return each voxel's standard deviation within runs, (n_voxels,) float32, in % of a run's first volume."""
    variances = [(100 * run.volumes / _reference(run.volumes[0])).var(axis=0, dtype=np.float64) for run in runs]
    signal_std = np.sqrt(np.mean(variances, axis=0)).astype(np.float32)
    # a constant voxel must not cause a division by 0
    return np.where(signal_std > 0, signal_std, 1).astype(np.float32)


def normalised(run: FinishedRun, signal_std: Array) -> Array:
    """Normalise a run causally: (n_volumes, n_voxels) float32 by number in the run.

    Rows before the first volume are 0. A missing volume repeats the volume before.
    """
    normaliser = CausalNormaliser(run.tr_s, signal_std)
    volumes = np.zeros((_numbers(run)[-1] + 1, len(signal_std)), np.float32)
    before, held = 0, np.zeros(len(signal_std), np.float32)
    for number, voxels in zip(_numbers(run), run.volumes, strict=True):
        volumes[before:number] = held
        volumes[number] = held = normaliser.add_volume(number, voxels)
        before = number + 1
    return volumes


def last_volumes(run: FinishedRun, delay_s: float) -> dict[int, int]:
    """Return the number of each trial's first volume that is at least `delay_s` after onset, by event.

    A trial's final volume may be the run's last volume, as with a trial's final estimate.
    """
    numbers = np.array(_numbers(run))
    last = {}
    for event, onset_s in enumerate(run.onsets_s):
        since_s = numbers * run.tr_s - onset_s
        late = np.flatnonzero(since_s >= delay_s)
        if late.size:
            last[event] = int(numbers[late[0]])
        elif delay_s == FINAL_WINDOW_S and since_s[-1] >= FIRST_ESTIMATE_S:
            last[event] = int(numbers[-1])
    return last


def windows(volumes: Array, last: list[int]) -> Array:
    """Return the windows that end with the volumes `last`, oldest lag first: (n_trials, N_LAGS * n_voxels) float32.

    Parameters
    ----------
    volumes : array of shape (n_volumes, n_voxels), float32
        From `normalised`.
    """
    before = np.zeros((N_VOLUMES - 1, volumes.shape[1]), np.float32)
    padded = np.concatenate([before, volumes])
    found = np.stack([padded[number : number + N_VOLUMES] for number in last])
    return found.reshape(len(last), N_LAGS, N_TOGETHER, -1).mean(axis=2).reshape(len(last), -1)


def window_positions(positions: Array, n_voxels: int) -> Array:
    """Return the columns of a window that hold the voxels at `positions`: (N_LAGS * n_positions,) int64."""
    return (np.arange(N_LAGS)[:, None] * n_voxels + positions).reshape(-1)


def _numbers(run: FinishedRun) -> list[int]:
    return list(range(len(run.volumes))) if run.index is None else [int(number) for number in run.index]


def _reference(first: Array) -> Array:
    """Return the reference of % signal change: a run's first volume, 1 where the signal is not positive."""
    return np.where(first > 0, first, 1).astype(np.float32)
