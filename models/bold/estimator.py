"""Estimates each trial's BOLD response at every volume while the run goes on.

A voxel's signal is a sum of trial responses, motion and a drifting baseline. Training runs give the amplitudes a prior.
A Kalman filter (recursive least squares) estimates all of them together, so trials may overlap. The cost of a volume
stays the same throughout a run. With a flat prior and a straight baseline, the estimate at the
last volume equals the estimate of a general linear model of the whole run with one regressor for each trial (least
squares all; Mumford et al. 2012).
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from ...arrays import Array
from ...errors import BraindError
from ..weights.bold_prior import HRF_SHIFTS_S, BoldPrior, without_signal
from .head_motion import HeadMotion
from .hrf import response
from .kalman_filter import N_NUISANCE, N_TRIAL_SLOTS, Prediction, VoxelGroup

FIRST_ESTIMATE_S = 4.0
"""Seconds after onset. Before, the response to 3 s of stimulus is below half of its peak."""
FINAL_ESTIMATE_S = 11.0
"""Seconds after onset. The response is past half of its fall; later volumes change the estimate little."""
RESPONSE_S = 34.0
"""Seconds after onset. The response to 3 s of stimulus is over."""

SPIKE_MM = 0.5
"""A volume with a larger framewise displacement (Power et al. 2012) gets a smaller weight."""
SPIKE_RATIO = 4.0
"""A volume with a larger normalised innovation gets a smaller weight."""
PRIOR_VOLUMES = 20
"""The prior's noise variance weighs as much as this many volumes."""
MIN_BASELINE = 0.1
"""Share of a voxel's first signal. Betas of a voxel that loses its signal are a percentage of this share."""


class StreamingError(BraindError):
    """A volume or event that does not fit the run."""

    code = "streaming"


@dataclass(frozen=True, eq=False)
class Estimate:
    """One trial's response as known at one volume.

    Parameters
    ----------
    betas : array of shape (n_voxels,), float32
        % signal change at the response's peak.
    std : array of shape (n_voxels,), float32
        Posterior standard deviation of the betas.
    since_onset_s : float
    uncertainty : float
        Posterior over prior variance, mean over voxels, 0-1.
    is_final : bool
        `FINAL_ESTIMATE_S` have passed.
    has_signal : array of shape (n_voxels,), bool
        False for a voxel without signal in the run's first volume.
    """

    event_number: int
    betas: Array
    std: Array
    since_onset_s: float
    uncertainty: float
    is_final: bool
    has_signal: Array


@dataclass(frozen=True)
class VolumeFlags:
    """Signs of a bad volume.

    Parameters
    ----------
    displacement_mm : float
        Framewise displacement.
    normalised_innovation : float
        Squared innovation over its variance, mean over voxels; about 1 for a usual volume.
    weight : float
        Weight in the filter's update, 0-1.
    """

    displacement_mm: float = 0.0
    normalised_innovation: float = 1.0
    weight: float = 1.0

    @property
    def is_spike(self) -> bool:
        """Return whether the volume's weight is reduced."""
        return self.weight < 1


class _Trial(NamedTuple):
    number: int
    onset_s: float
    duration_s: float


class CausalEstimator:
    """Turns a run's onsets and volumes into trial responses, volume by volume.

    The same events and volumes in the same order give the same bits. A missing volume moves time on and changes no
    estimate.

    Parameters
    ----------
    tr_s : float
    prior : BoldPrior

    Raises
    ------
    StreamingError
        If the TR is not above 0.
    """

    def __init__(self, tr_s: float, prior: BoldPrior) -> None:
        if not tr_s > 0:
            raise StreamingError(f"TR of {tr_s} s; give the repetition time in seconds")
        self.tr_s, self.prior = tr_s, prior
        self.flags = VolumeFlags()
        self.likelihood_terms = np.zeros((2, len(prior.hrf_of_voxel)), np.float32)
        """The last volume's squared innovation over its variance, and the log of this variance, for each voxel."""
        # voxels of one HRF lie side by side, so that each group is one product
        self._order = np.argsort(prior.hrf_of_voxel, kind="stable")
        self._inverse_order = np.argsort(self._order, kind="stable")
        self._amplitude_mean = prior.amplitude_mean[self._order].astype(np.float32)
        self._events: dict[int, _Trial] = {}
        self._announced: list[_Trial] = []
        self._current: list[_Trial] = []
        self._slots: list[_Trial | None] = [None] * N_TRIAL_SLOTS
        self._last_index = -1
        self._n_volumes = 0
        self._first = np.zeros(0, np.float32)
        self._has_signal = np.ones(len(self._order), bool)
        self._motion = HeadMotion()
        # products of a few rows: sharing them out among threads costs more than doing them, a hundredfold under load
        self._blas = ThreadpoolController()
        self._noise_variance = prior.noise_std[self._order].astype(np.float32) ** 2
        bounds = np.searchsorted(prior.hrf_of_voxel[self._order], range(len(HRF_SHIFTS_S) + 1)).tolist()
        self._groups = [
            VoxelGroup.initial(slice(begin, end), shift_s, prior)
            for begin, end, shift_s in zip(bounds[:-1], bounds[1:], HRF_SHIFTS_S, strict=True)
            if end > begin
        ]

    def add_event(self, event_number: int, onset_s: float, duration_s: float = 3.0) -> None:
        """Announce a trial, `onset_s` seconds after the run's first volume. A repeated announcement changes nothing.

        Raises
        ------
        StreamingError
            If the onset or the duration is not finite, or the duration is below 0.
        """
        if not (np.isfinite(onset_s) and 0 <= duration_s < np.inf):
            raise StreamingError(f"event {event_number}: onset {onset_s} s, duration {duration_s} s; give seconds")
        if event_number not in self._events:
            self._events[event_number] = trial = _Trial(event_number, onset_s, duration_s)
            self._announced.append(trial)

    def add_volume(self, index: int, voxels: Array, motion: Array | None = None) -> None:
        """Update all estimates with the next volume.

        Parameters
        ----------
        index : int
            The volume's number in the run, above the last volume's number. Numbers may be skipped.
        voxels : array of shape (n_voxels,), float32
            Raw BOLD signal, any unit.
        motion : array of shape (6,), float, optional
            Translations in mm, then rotations in rad.

        Raises
        ------
        StreamingError
            If the index does not rise or the number of voxels changes.
        """
        if index <= self._last_index:
            raise StreamingError(f"volume {index} after volume {self._last_index}; volumes must come in order")
        if voxels.shape != self._order.shape:
            raise StreamingError(f"volume {index}: {len(voxels)} voxels, but the prior is of {len(self._order)}")
        if not self._n_volumes:
            self._has_signal = ~without_signal(voxels)
        voxels = voxels[self._order]
        if not self._n_volumes:
            self._first = np.zeros(len(voxels), np.float32)
        # a voxel that had no signal so far has no reference, and counts as unchanged
        self._first = np.where((self._first <= 0) & (voxels > 0), voxels, self._first).astype(np.float32)
        passed_s = (index - self._last_index) * self.tr_s if self._n_volumes else 0.0
        self._current = [trial for trial in self._current if not self._since_s(trial) >= FINAL_ESTIMATE_S]
        self._last_index = index
        self._n_volumes += 1
        now_s = index * self.tr_s
        self._start_trials(now_s - min(HRF_SHIFTS_S))
        has_signal = self._first > 0
        signal = 100 * (np.divide(voxels, self._first, out=np.ones_like(self._first), where=has_signal) - 1)
        position, displacement_mm = self._motion.add_volume(motion)
        with self._blas.limit(limits=1, user_api="blas"):
            predictions = []
            for group in self._groups:
                group.advance(passed_s, self.prior)
                predictions.append(group.predict(self._regressors(now_s - group.shift_s, position)))
            self._update(signal, predictions, displacement_mm)

    def _update(self, signal: Array, predictions: list[Prediction], displacement_mm: float) -> None:
        innovations = [
            signal[group.voxels] - prediction.signal
            for group, prediction in zip(self._groups, predictions, strict=True)
        ]
        normalised = self._normalised_innovation(innovations, predictions)
        # a bad volume's noise variance, in units of a usual volume's
        noise = max(normalised / SPIKE_RATIO, (displacement_mm / SPIKE_MM) ** 2, 1.0)
        self.flags = VolumeFlags(displacement_mm, normalised, 1 / noise)
        for group, innovation, prediction in zip(self._groups, innovations, predictions, strict=True):
            innovation_variance = prediction.variance + noise
            group.update(prediction, innovation, innovation_variance)
            noise_variance = self._noise_variance[group.voxels]
            share = 1 / (PRIOR_VOLUMES + self._n_volumes)
            noise_variance += share * (innovation**2 / innovation_variance - noise_variance)
            own = self._order[group.voxels]
            self.likelihood_terms[0, own] = innovation**2 / innovation_variance
            self.likelihood_terms[1, own] = np.log(innovation_variance)

    def current_estimates(self) -> list[Estimate]:
        """Return the last volume's estimates: provisional from `FIRST_ESTIMATE_S` after onset, and once final."""
        risen = [trial for trial in self._current if self._since_s(trial) >= FIRST_ESTIMATE_S]
        return [estimate for trial in risen if (estimate := self.estimate(trial.number))]

    def finish(self) -> list[Estimate]:
        """Return the estimates that are provisional when the run ends, as final."""
        return [replace(estimate, is_final=True) for estimate in self.current_estimates() if not estimate.is_final]

    def estimate(self, event_number: int) -> Estimate | None:
        """Return a trial's estimate; None before the trial has a slot and after its slot went to a newer trial."""
        for slot, trial in enumerate(self._slots):
            if trial and trial.number == event_number:
                return self._estimate(slot)
        return None

    def _since_s(self, trial: _Trial) -> float:
        return self._last_index * self.tr_s - trial.onset_s

    def _estimate(self, slot: int) -> Estimate:
        trial, row = self._slots[slot], N_NUISANCE + slot
        assert trial is not None
        betas, std = np.empty((2, len(self._order)), np.float32)
        total_variance = 0.0
        for group in self._groups:
            # betas are a percentage of the mean signal, coefficients a percentage of the run's first volume
            baseline = np.maximum(1 + group.coefficients[0] / 100, MIN_BASELINE)
            betas[group.voxels] = group.coefficients[row] / baseline
            variance = max(float(group.covariance[row, row]), 0.0)
            std[group.voxels] = np.sqrt(variance * self._noise_variance[group.voxels])
            total_variance += variance * group.coefficients.shape[1]
        since_onset_s = self._since_s(trial)
        is_final = since_onset_s >= FINAL_ESTIMATE_S
        uncertainty = total_variance / (len(self._order) * self.prior.amplitude_variance)
        back = self._inverse_order
        return Estimate(trial.number, betas[back], std[back], since_onset_s, uncertainty, is_final, self._has_signal)

    def _start_trials(self, now_s: float) -> None:
        """Give every trial that has begun a free slot, or else the slot of the oldest trial."""
        begun = sorted((trial for trial in self._announced if trial.onset_s <= now_s), key=_onset)
        for trial in begun:
            self._announced.remove(trial)
            free = [slot for slot, taken in enumerate(self._slots) if taken is None]
            slot = free[0] if free else min(range(N_TRIAL_SLOTS), key=lambda slot: _onset(self._slots[slot]))
            self._slots[slot] = trial
            # If a trial is announced after its response has passed, its volumes were already attributed elsewhere.
            if self._since_s(trial) < FINAL_ESTIMATE_S:
                self._current.append(trial)
            for group in self._groups:
                group.start_trial(slot, self._amplitude_mean[group.voxels], self.prior.amplitude_variance)

    def _regressors(self, hrf_s: float, position: Array) -> Array:
        """Return a volume's regressors, (n_coefficients,) float64, at the volume's time minus the HRF's shift."""
        regressors = np.zeros(N_NUISANCE + N_TRIAL_SLOTS)
        regressors[0], regressors[2:N_NUISANCE] = 1, position
        for slot, trial in enumerate(self._slots):
            if trial and hrf_s - trial.onset_s < RESPONSE_S:
                regressors[N_NUISANCE + slot] = response(np.array(hrf_s - trial.onset_s), trial.duration_s)
        return regressors

    def _normalised_innovation(self, innovations: list[Array], predictions: list[Prediction]) -> float:
        """Return the squared innovation over its variance, mean over voxels; 1 at the first volume."""
        if self._n_volumes == 1:
            return 1.0
        squares = sum(
            float((innovation**2 / self._noise_variance[group.voxels]).sum()) / (prediction.variance + 1)
            for group, innovation, prediction in zip(self._groups, innovations, predictions, strict=True)
        )
        return squares / len(self._order)


def _onset(trial: _Trial | None) -> tuple[float, int]:
    assert trial is not None
    return trial.onset_s, trial.number
