"""The haemodynamic response to a stimulus, in closed form."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc

from ..errors import BraindError

Array = NDArray[Any]

# SPM's canonical haemodynamic response: gamma densities of shape 6 and 16, the second a sixth of the first.
PEAK_SHAPE, UNDERSHOOT_SHAPE, UNDERSHOOT_SHARE = 6.0, 16.0, 1 / 6


class StreamingError(BraindError):
    """A volume or event that does not fit the run."""

    code = "streaming"


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


@cache
def _peak(duration_s: float) -> float:
    return float(_integrated(np.arange(0, 12 + duration_s, 0.1), duration_s).max())


def _integrated(since_onset_s: Array, duration_s: float) -> Array:
    """Convolve the canonical response with a stimulus of constant strength, in closed form."""

    def until(time_s: Array) -> Array:
        time_s = np.maximum(time_s, 0)
        return gammainc(PEAK_SHAPE, time_s) - UNDERSHOOT_SHARE * gammainc(UNDERSHOOT_SHAPE, time_s)

    return until(since_onset_s) - until(since_onset_s - duration_s)
