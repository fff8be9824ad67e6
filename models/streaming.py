"""Streaming BOLD: single-trial responses while a run goes on.

When a trial's response has passed its peak, a general linear model is fitted to all volumes so far: this trial, all
other trials together (least squares separate; Mumford et al. 2012), and slow drifts. Causal: no later volume is used.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc

from ..errors import BraindError

Array = NDArray[Any]

# SPM's canonical haemodynamic response: gamma densities of shape 6 and 16, the second a sixth of the first.
PEAK_SHAPE, UNDERSHOOT_SHAPE, UNDERSHOOT_SHARE = 6.0, 16.0, 1 / 6
# A 3 s stimulus's response peaks at 6.5 s; at 9 s it has begun to fall, which tells it from a drift.
DELAY_S = 9.0
# A response is seen when this many volumes lie where it is above half its peak.
MIN_RESPONSE_VOLUMES = 2
# One more polynomial for every 150 s of a run (AFNI's 3dDeconvolve, -polort A). In a run shorter than 90 s a trend
# cannot be told from the first responses: with it, simulated trials were estimated worse.
DRIFT_S, FIRST_DRIFT_S = 150.0, 90.0
FIRST_CAPACITY = 256  # volumes; NSD's runs have 226
# A trial of which less than this share is left beside the other regressors cannot be estimated.
MIN_SHARE_LEFT = 1e-3


class StreamingError(BraindError):
    """A volume or event that does not fit the run."""

    code = "streaming"


@dataclass(frozen=True, eq=False)
class TrialEstimate:
    """One trial's response: `betas` of shape (n_voxels,), float32, % signal change at the response's peak.

    `volume_index` is the last volume that it was estimated from, `n_volumes` how many there were.
    """

    event_number: int
    betas: Array
    volume_index: int
    n_volumes: int


@dataclass(frozen=True)
class _Event:
    number: int
    onset_s: float
    duration_s: float


class TrialEstimator:
    """Turns a run's volumes and trial onsets into one response estimate per trial.

    The same events and volumes in the same order give the same bits, so a run can be taken up again by feeding what
    the journal holds. Missing volumes are rows that the fit does without.
    """

    def __init__(self, tr_s: float, delay_s: float = DELAY_S) -> None:
        if not tr_s > 0:
            raise StreamingError(f"TR of {tr_s} s; give the repetition time in seconds")
        self.tr_s, self.delay_s = tr_s, delay_s
        self._events: dict[int, _Event] = {}
        self._waiting: list[_Event] = []
        self._indices: list[int] = []
        self._first: Array | None = None
        self._changes = np.empty((0, 0), np.float32)

    @property
    def waiting(self) -> list[int]:
        """Return the events that no estimate was made of yet, in order of onset."""
        return [event.number for event in self._waiting]

    def add_event(self, event_number: int, onset_s: float, duration_s: float = 3.0) -> None:
        """Announce a trial, `onset_s` seconds after the run's first volume; one announced again changes nothing."""
        if not (np.isfinite(onset_s) and duration_s > 0):
            raise StreamingError(f"event {event_number}: onset {onset_s} s, duration {duration_s} s; give seconds")
        if event_number in self._events:
            return
        event = _Event(event_number, onset_s, duration_s)
        self._events[event_number] = event
        self._waiting = sorted([*self._waiting, event], key=lambda waiting: (waiting.onset_s, waiting.number))

    def add_volume(self, index: int, voxels: Array) -> list[TrialEstimate]:
        """Take the next volume, and return the trials that can be estimated now.

        Parameters
        ----------
        index : int
            Of the volume in the run; later than the last one's, but not necessarily the next.
        voxels : array of shape (n_voxels,), float32
            Raw BOLD signal, any unit.

        Raises
        ------
        StreamingError
            If the index does not rise or the number of voxels changes.
        """
        if self._indices and index <= self._indices[-1]:
            raise StreamingError(f"volume {index} after volume {self._indices[-1]}; volumes must come in order")
        if self._first is None:
            self._first = np.array(voxels, np.float32)
            self._changes = np.empty((FIRST_CAPACITY, *voxels.shape), np.float32)
        if voxels.shape != self._first.shape:
            raise StreamingError(f"volume {index}: {voxels.shape} voxels, the run began with {self._first.shape}")
        n_volumes = len(self._indices)
        if n_volumes == len(self._changes):
            self._changes = np.concatenate([self._changes, np.empty_like(self._changes)])
        # Against the first volume, whose thousands would cost float32 its last digits.
        np.subtract(voxels, self._first, out=self._changes[n_volumes], casting="same_kind")
        self._indices.append(index)
        now_s = index * self.tr_s
        return self._estimate(event for event in self._waiting if event.onset_s + self.delay_s <= now_s)

    def finish(self) -> list[TrialEstimate]:
        """Return what can be said of the trials still waiting when the run ends: those whose peak was seen."""
        return self._estimate(iter(self._waiting))

    def _estimate(self, events: Iterable[_Event]) -> list[TrialEstimate]:
        estimates = []
        for event in list(events):
            betas = self._fit(event)
            if betas is not None:
                self._waiting.remove(event)
                estimates.append(TrialEstimate(event.number, betas, self._indices[-1], len(self._indices)))
        return estimates

    def _fit(self, event: _Event) -> Array | None:
        """Return the event's betas, or None while its response cannot be told from the rest."""
        if self._first is None:
            return None
        times_s = np.array(self._indices) * self.tr_s
        trial = response(times_s - event.onset_s, event.duration_s)
        if np.count_nonzero(trial > 0.5) < MIN_RESPONSE_VOLUMES:
            return None
        others = np.zeros_like(trial)
        for other in self._events.values():
            if other is not event:
                others += response(times_s - other.onset_s, other.duration_s)
        left = trial_alone(trial, others, times_s)
        if left @ left < MIN_SHARE_LEFT * (trial @ trial):
            return None
        readout = np.stack([left / (left @ left), np.full(len(left), 1 / len(left))]).astype(np.float32)
        betas, mean_change = readout @ self._changes[: len(left)]
        # betas.shape = mean_change.shape = (n_voxels,), in the signal's unit
        mean_signal = self._first + mean_change
        return np.divide(100 * betas, mean_signal, out=np.zeros_like(betas), where=mean_signal > 0)


def response(since_onset_s: Array, duration_s: float) -> Array:
    """Return the canonical response to a stimulus, 1 at its peak.

    Parameters
    ----------
    since_onset_s : array of shape (n_volumes,), float
        Seconds since the stimulus came on; 0 before it.
    duration_s : float
        How long it stayed.
    """
    return _integrated(since_onset_s, duration_s) / _peak(duration_s)


def drifts(times_s: Array) -> Array:
    """Return what the signal does without any trial: a constant and slow trends, more of them the longer the run.

    Parameters
    ----------
    times_s : array of shape (n_volumes,), float

    Returns
    -------
    drifts : array of shape (n_volumes, n_drifts), float64
        Legendre polynomials.
    """
    run_s = times_s[-1] - times_s[0]
    degree = 0 if run_s < FIRST_DRIFT_S else 1 + int(run_s / DRIFT_S)
    share_of_run = (times_s - times_s[0]) / max(run_s, 1)
    return np.polynomial.legendre.legvander(2 * share_of_run - 1, degree)


def trial_alone(trial: Array, others: Array, times_s: Array) -> Array:
    """Return what is left of a trial's regressor when the other trials' and the drifts are taken out of it.

    All arrays have shape (n_volumes,). Its product with the signal, over its own square, is the trial's beta.
    """
    nuisances = drifts(times_s)
    if others.any():
        nuisances = np.column_stack([nuisances, others])
    explained, *_ = np.linalg.lstsq(nuisances, trial, rcond=None)
    return trial - nuisances @ explained


@cache
def _peak(duration_s: float) -> float:
    return float(_integrated(np.arange(0, 12 + duration_s, 0.1), duration_s).max())


def _integrated(since_onset_s: Array, duration_s: float) -> Array:
    """Convolve the canonical response with a stimulus of constant strength, in closed form."""

    def until(time_s: Array) -> Array:
        time_s = np.maximum(time_s, 0)
        return gammainc(PEAK_SHAPE, time_s) - UNDERSHOOT_SHARE * gammainc(UNDERSHOOT_SHAPE, time_s)

    return until(since_onset_s) - until(since_onset_s - duration_s)
