"""Causal BOLD: what each trial's response is, said anew at every volume, while the run goes on.

A voxel's signal is a sum of trial responses, motion and a baseline that drifts at random; the amplitudes have a prior
from training runs. Recursive least squares (a Kalman filter) over them costs the same at every volume, knows how sure
it is, and gives on the last volume what a general linear model gives of the whole run. Trials overlap as they like:
they are estimated together.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_blas_funcs
from threadpoolctl import ThreadpoolController

from .bold_prior import HRF_SHIFTS_S, BoldPrior
from .streaming import StreamingError, response

Array = NDArray[Any]

FIRST_ESTIMATE_S = 4.0
"""After onset: before it a response has not begun to rise."""
FINAL_ESTIMATE_S = 11.0
"""After onset: the response has passed its peak and half of its fall. Later volumes change the estimate little."""
KEPT_TRIALS = 64
"""Trials that volumes still change: a run of NSD has at most 63. Older ones are let go, with what is known of them."""
RESPONSE_S = 34.0
"""After it, a response to 3 s of stimulus is over."""

# matrix + alpha · outer product, in place
_add_outer: Any = get_blas_funcs("ger", dtype=np.float32)

N_MOTION = 6
N_FIXED = 2 + N_MOTION
"""Coefficients that every run has: the baseline, its slope, % a second, and motion."""
SPIKE_MM = 0.5
"""Framewise displacement (Power et al. 2012) above which a volume counts less."""
HEAD_RADIUS_MM = 50.0
SPIKE_RATIO = 4.0
"""A volume whose surprise, as a variance over voxels, is so many times the run's usual one counts less."""
PRIOR_VOLUMES = 20
"""How many volumes' worth the prior's noise weighs against the run's own."""
BASELINE_VARIANCE, SLOPE_VARIANCE = 1e4, 1e-5
"""The baseline may lie anywhere; its slope, at first, seldom reaches 0.01 % a second."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """One trial's response as known at one volume.

    Parameters
    ----------
    betas : array of shape (n_voxels,), float32
        % signal change at the response's peak.
    std : array of shape (n_voxels,), float32
        Standard deviation of what is not known of it yet.
    since_onset_s : float
    uncertainty : float
        Share of the responses' variance that is not known yet, mean over voxels, 0-1.
    is_final : bool
        `FINAL_ESTIMATE_S` have passed.
    """

    event_number: int
    betas: Array
    std: Array
    since_onset_s: float
    uncertainty: float
    is_final: bool


@dataclass(frozen=True)
class VolumeFlags:
    """What was odd about a volume.

    `displacement_mm`: framewise displacement; `surprise`: mean square of what was not foreseen, over what is usual;
    `weight`: how much the volume counted, 0-1.
    """

    displacement_mm: float = 0.0
    surprise: float = 1.0
    weight: float = 1.0

    @property
    def is_spike(self) -> bool:
        """Return whether the volume counted less than others."""
        return self.weight < 1


class _Trial(NamedTuple):
    number: int
    onset_s: float
    duration_s: float


class _Class(NamedTuple):
    """Voxels that share an HRF, and with it how well their coefficients are known.

    The coefficients are the baseline, motion, then a slot for each trial. `coefficients`: (n_coefficients, n_own)
    float32, % signal change; `covariance`: (n_coefficients, n_coefficients) float64, in units of a volume's noise
    variance.
    """

    voxels: slice
    shift_s: float
    coefficients: Array
    covariance: Array


class CausalEstimator:
    """Turns a run's volumes and onsets into responses of its trials, at every volume.

    The same events and volumes in the same order give the same bits. A volume that is missing moves time on and
    changes no estimate.

    Parameters
    ----------
    tr_s : float
    prior : BoldPrior
    """

    def __init__(self, tr_s: float, prior: BoldPrior) -> None:
        if not tr_s > 0:
            raise StreamingError(f"TR of {tr_s} s; give the repetition time in seconds")
        self.tr_s, self.prior = tr_s, prior
        self.flags = VolumeFlags()
        self.misses = np.zeros((2, len(prior.hrf_of_voxel)), np.float32)
        """The last volume's squared error over its foreseen variance, and the log of that variance, of each voxel."""
        # voxels of one HRF lie side by side, so that each class is one product
        self._order = np.argsort(prior.hrf_of_voxel, kind="stable")
        self._place = np.argsort(self._order, kind="stable")
        self._amplitude_mean = prior.amplitude_mean[self._order].astype(np.float32)
        self._events: dict[int, _Trial] = {}
        self._to_come: list[_Trial] = []
        self._unfolding: list[_Trial] = []
        self._slots: list[_Trial | None] = [None] * KEPT_TRIALS
        self._last_index = -1
        self._n_volumes = 0
        self._first = np.zeros(0, np.float32)
        self._motion: Array | None = None
        # products of a few rows: sharing them out among threads costs more than doing them, a hundredfold under load
        self._blas = ThreadpoolController()
        self._first_motion = np.zeros(N_MOTION)
        self._noise_variance = prior.noise_std[self._order].astype(np.float32) ** 2
        variance = np.zeros(N_FIXED + KEPT_TRIALS)
        variance[0], variance[1], variance[2:N_FIXED] = BASELINE_VARIANCE, SLOPE_VARIANCE, prior.motion_variance
        bounds = np.searchsorted(prior.hrf_of_voxel[self._order], range(len(HRF_SHIFTS_S) + 1)).tolist()
        self._classes = [
            _Class(slice(begin, end), shift_s, np.zeros((len(variance), end - begin), np.float32), np.diag(variance))
            for begin, end, shift_s in zip(bounds[:-1], bounds[1:], HRF_SHIFTS_S, strict=True)
            if end > begin
        ]

    def add_event(self, event_number: int, onset_s: float, duration_s: float = 3.0) -> None:
        """Announce a trial, `onset_s` seconds after the run's first volume; one announced again changes nothing.

        Raises
        ------
        StreamingError
            If the onset is not finite or the duration not above 0.
        """
        if not (np.isfinite(onset_s) and duration_s > 0):
            raise StreamingError(f"event {event_number}: onset {onset_s} s, duration {duration_s} s; give seconds")
        if event_number not in self._events:
            self._events[event_number] = trial = _Trial(event_number, onset_s, duration_s)
            self._to_come.append(trial)

    def add_volume(self, index: int, voxels: Array, motion: Array | None = None) -> None:
        """Take the next volume.

        Parameters
        ----------
        index : int
            Of the volume in the run; later than the last one's, but not necessarily the next.
        voxels : array of shape (n_voxels,), float32
            Raw BOLD signal, any unit.
        motion : array of shape (6,), float, optional
            Translations, mm, and rotations, rad.

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
            self._first = voxels[self._order].astype(np.float32)
            self._first[self._first <= 0] = 1
        passed_s = (index - self._last_index) * self.tr_s if self._n_volumes else 0.0
        self._unfolding = [trial for trial in self._unfolding if not self._since_s(trial) >= FINAL_ESTIMATE_S]
        self._last_index = index
        self._n_volumes += 1
        now_s = index * self.tr_s
        self._begin_trials(now_s - min(HRF_SHIFTS_S))
        signal = 100 * (voxels[self._order] / self._first - 1)
        moved, displacement_mm = self._move(motion)
        with self._blas.limit(limits=1, user_api="blas"):
            self._learn(signal, now_s, passed_s, moved, displacement_mm)

    def _learn(self, signal: Array, now_s: float, passed_s: float, moved: Array, displacement_mm: float) -> None:
        foreseen = [self._foresee(part, now_s, passed_s, moved) for part in self._classes]
        errors = [signal[part.voxels] - one.signal for part, one in zip(self._classes, foreseen, strict=True)]
        surprise = self._surprise(errors, foreseen)
        unlikely = max(surprise / SPIKE_RATIO, (displacement_mm / SPIKE_MM) ** 2, 1.0)
        self.flags = VolumeFlags(displacement_mm, surprise, 1 / unlikely)
        for part, error, one in zip(self._classes, errors, foreseen, strict=True):
            gain = one.direction / (one.spread + unlikely)
            # in place: a rank-one update of the transposed, which BLAS takes without a copy
            _add_outer(1.0, error, gain.astype(np.float32), a=part.coefficients.T, overwrite_a=1)
            part.covariance[...] -= np.outer(gain, one.direction)
            seen = self._noise_variance[part.voxels]
            share = 1 / (PRIOR_VOLUMES + self._n_volumes)
            seen += share * (error**2 / (one.spread + unlikely) - seen)
            own = self._order[part.voxels]
            self.misses[0, own] = error**2 / (one.spread + unlikely)
            self.misses[1, own] = np.log(one.spread + unlikely)

    def unfolding(self) -> list[Estimate]:
        """Return what the last volume says of trials: from `FIRST_ESTIMATE_S` after onset to the one final estimate."""
        seen = [trial for trial in self._unfolding if self._since_s(trial) >= FIRST_ESTIMATE_S]
        return [estimate for trial in seen if (estimate := self.estimate(trial.number))]

    def finish(self) -> list[Estimate]:
        """Return, as final, what is known of the trials that still unfold when the run ends."""
        return [replace(estimate, is_final=True) for estimate in self.unfolding() if not estimate.is_final]

    def estimate(self, event_number: int) -> Estimate | None:
        """Return what is known of a trial; None before its onset, and once it was let go of."""
        for slot, trial in enumerate(self._slots):
            if trial and trial.number == event_number:
                return self._estimate(slot)
        return None

    def _since_s(self, trial: _Trial) -> float:
        return self._last_index * self.tr_s - trial.onset_s

    def _estimate(self, slot: int) -> Estimate:
        trial, row = self._slots[slot], N_FIXED + slot
        assert trial is not None
        betas, std = np.empty((2, len(self._order)), np.float32)
        unknown = 0.0
        for part in self._classes:
            # of the mean signal, as betas are, not of the run's first volume
            share = 1 + part.coefficients[0] / 100
            betas[part.voxels] = part.coefficients[row] / share
            variance = max(float(part.covariance[row, row]), 0.0)
            std[part.voxels] = np.sqrt(variance * self._noise_variance[part.voxels])
            unknown += variance * part.coefficients.shape[1]
        since_onset_s = self._since_s(trial)
        is_final = since_onset_s >= FINAL_ESTIMATE_S
        uncertainty = unknown / (len(self._order) * self.prior.amplitude_variance)
        return Estimate(trial.number, betas[self._place], std[self._place], since_onset_s, uncertainty, is_final)

    def _begin_trials(self, now_s: float) -> None:
        """Give every trial that has begun a slot: a free one, else that of the oldest trial, which is let go of."""
        begun = sorted((trial for trial in self._to_come if trial.onset_s <= now_s), key=_onset)
        for trial in begun:
            self._to_come.remove(trial)
            free = [slot for slot, kept in enumerate(self._slots) if kept is None]
            slot = free[0] if free else min(range(KEPT_TRIALS), key=lambda slot: _onset(self._slots[slot]))
            self._slots[slot] = trial
            # of one announced later than that, the volumes that tell were read as something else
            if self._since_s(trial) < FINAL_ESTIMATE_S:
                self._unfolding.append(trial)
            row = N_FIXED + slot
            for part in self._classes:
                part.coefficients[row] = self._amplitude_mean[part.voxels]
                part.covariance[row] = part.covariance[:, row] = 0
                part.covariance[row, row] = self.prior.amplitude_variance

    def _move(self, motion: Array | None) -> tuple[Array, float]:
        """Return the position since the first volume, and the framewise displacement in mm."""
        if motion is None:
            return np.zeros(N_MOTION), 0.0
        # a rotation as the way that it moves the cortex
        motion = np.asarray(motion, np.float64) * ([1.0] * 3 + [HEAD_RADIUS_MM] * 3)
        if self._motion is None:
            self._motion = self._first_motion = motion
        displacement_mm = float(np.abs(motion - self._motion).sum())
        self._motion = motion
        return motion - self._first_motion, displacement_mm

    def _foresee(self, part: _Class, now_s: float, passed_s: float, moved: Array) -> "_Foreseen":
        _drift(part, passed_s, self.prior)
        design = np.zeros(len(part.covariance))
        design[0], design[2:N_FIXED] = 1, moved
        for slot, trial in enumerate(self._slots):
            if trial and now_s - part.shift_s - trial.onset_s < RESPONSE_S:
                since_onset_s = np.array(now_s - part.shift_s - trial.onset_s)
                design[N_FIXED + slot] = response(since_onset_s, trial.duration_s)
        used = np.flatnonzero(design)
        direction = part.covariance[:, used] @ design[used]
        signal = design[used].astype(np.float32) @ part.coefficients[used]
        return _Foreseen(signal, direction, float(design[used] @ direction[used]))

    def _surprise(self, errors: list[Array], foreseen: list["_Foreseen"]) -> float:
        """Return the mean square of what was not foreseen, over what was to be expected of it."""
        if self._n_volumes == 1:
            return 1.0
        squares = sum(
            float((error**2 / self._noise_variance[part.voxels]).sum()) / (one.spread + 1)
            for part, error, one in zip(self._classes, errors, foreseen, strict=True)
        )
        return squares / len(self._order)


class _Foreseen(NamedTuple):
    """What a class's next volume should be: `signal` (n_own,), its variance `spread`, and covariance @ design."""

    signal: Array
    direction: Array
    spread: float


def _drift(part: _Class, passed_s: float, prior: BoldPrior) -> None:
    """Let the baseline go on along its slope, and the slope walk at random."""
    part.coefficients[0] += np.float32(passed_s) * part.coefficients[1]
    covariance = part.covariance
    covariance[0] += passed_s * covariance[1]
    covariance[:, 0] += passed_s * covariance[:, 1]
    covariance[0, 0] += prior.drift_variance * passed_s + prior.slope_variance * passed_s**3 / 3
    covariance[0, 1] += prior.slope_variance * passed_s**2 / 2
    covariance[1, 0] = covariance[0, 1]
    covariance[1, 1] += prior.slope_variance * passed_s


def _onset(trial: _Trial | None) -> tuple[float, int]:
    assert trial is not None
    return trial.onset_s, trial.number
