"""SPM's canonical haemodynamic response function (HRF), convolved with a stimulus in closed form.

A stimulus without duration is an impulse, as in SPM, FSL and nilearn.

The HRF is a difference of two gamma densities (SPM's `spm_hrf`; Friston et al. 1998). The neural response to a stimulus
may adapt: it falls exponentially while the stimulus lasts. Without adaptation the neural response is a boxcar.
"""

from functools import lru_cache

import numpy as np
from scipy.special import gammainc, gammaln

from ...arrays import Array

PEAK_SHAPE, UNDERSHOOT_SHAPE, UNDERSHOOT_RATIO = 6.0, 16.0, 1 / 6
"""SPM's defaults: gamma densities of shape 6 and 16 with scale 1 s; the undershoot has a sixth of the peak's weight."""

IMPULSE_S = 0.001
"""A shorter stimulus is an impulse: the difference of two nearly equal cumulative functions would be rounding."""


def response(since_onset_s: Array, duration_s: float, adaptation_rate: float = 0.0) -> Array:
    """Return the response to a stimulus, scaled to 1 at its peak.

    Parameters
    ----------
    since_onset_s : array of float, any shape
        Seconds since stimulus onset. The response is 0 before onset.
    duration_s : float
        Stimulus duration; 0 is an impulse.
    adaptation_rate : float, 1/s
        At least 0 and below 1. The neural response falls by this share a second; 0 is no adaptation.

    Returns
    -------
    response : array of float, same shape
    """
    return _convolved(since_onset_s, duration_s, adaptation_rate) / _peak(duration_s, adaptation_rate)


@lru_cache(maxsize=1024)
def _peak(duration_s: float, adaptation_rate: float) -> float:
    return float(_convolved(np.arange(0, 12 + duration_s, 0.1), duration_s, adaptation_rate).max())


def _convolved(since_onset_s: Array, duration_s: float, adaptation_rate: float) -> Array:
    """Convolve the HRF with a boxcar of `duration_s` that decays: a difference of two cumulative gamma functions."""
    if duration_s < IMPULSE_S:
        return _density(PEAK_SHAPE, since_onset_s) - UNDERSHOOT_RATIO * _density(UNDERSHOOT_SHAPE, since_onset_s)

    def integral(time_s: Array) -> Array:
        # A gamma density times exp(adaptation_rate · time) is a gamma density of another scale and weight.
        scale = 1 - adaptation_rate
        time_s = np.maximum(time_s, 0) * scale
        peak = gammainc(PEAK_SHAPE, time_s) / scale**PEAK_SHAPE
        return peak - UNDERSHOOT_RATIO * gammainc(UNDERSHOOT_SHAPE, time_s) / scale**UNDERSHOOT_SHAPE

    decay = np.exp(-adaptation_rate * np.maximum(since_onset_s, 0))
    return decay * (integral(since_onset_s) - integral(since_onset_s - duration_s))


def _density(shape: float, time_s: Array) -> Array:
    """Return the gamma density of a shape, scale 1 s; 0 before time 0."""
    after_s = np.maximum(time_s, np.finfo(float).tiny)
    return np.exp((shape - 1) * np.log(after_s) - after_s - gammaln(shape))
