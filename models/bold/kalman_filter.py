"""A Kalman filter over a run's baseline, slope, motion and trial amplitudes.

The state is a local linear trend (Harvey 1989) plus constant regression coefficients. Voxels that share an HRF share
the covariance, because their regressors are equal; only the coefficients differ. So one update is a vector product for
the covariance and a rank-one update for the coefficients. Its cost does not depend on the volumes before.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import get_blas_funcs

from ...arrays import Array
from ..weights.bold_prior import BoldPrior
from .head_motion import N_MOTION

N_NUISANCE = 2 + N_MOTION
"""Coefficients of every run: the baseline in %, its slope in % a second, and one for each motion parameter."""
N_TRIAL_SLOTS = 64
"""Trials in the state at one time. A run of NSD has at most 63; a longer run drops its oldest trials."""
BASELINE_VARIANCE = 1e4
"""Variance before the first volume: the baseline is unknown."""

# matrix + alpha · outer product, in place
_add_outer: Any = get_blas_funcs("ger", dtype=np.float32)


class Prediction(NamedTuple):
    """The next volume's predicted signal for one group of voxels.

    `signal` (n_own,) is in % signal change; `cross_covariance` (n_coefficients,) is the state's covariance with the
    prediction; `variance` is the prediction's variance in units of a volume's noise variance.
    """

    signal: Array
    cross_covariance: Array
    variance: float


class VoxelGroup(NamedTuple):
    """The filter's state for voxels with one HRF.

    Coefficients are baseline, slope, motion, then one amplitude for each trial slot. `coefficients` (n_coefficients,
    n_own) float32 are in % signal change; `covariance` (n_coefficients, n_coefficients) float64 is in units of a
    volume's noise variance.
    """

    voxels: slice
    shift_s: float
    coefficients: Array
    covariance: Array

    @classmethod
    def initial(cls, voxels: slice, shift_s: float, prior: BoldPrior) -> "VoxelGroup":
        """Return the state before a run's first volume."""
        variance = np.zeros(N_NUISANCE + N_TRIAL_SLOTS)
        variance[0], variance[1] = BASELINE_VARIANCE, prior.first_slope_variance
        variance[2:N_NUISANCE] = prior.motion_variance
        coefficients = np.zeros((len(variance), voxels.stop - voxels.start), np.float32)
        return cls(voxels, shift_s, coefficients, np.diag(variance))

    def start_trial(self, slot: int, amplitude_mean: Array, amplitude_variance: float) -> None:
        """Put a new trial's prior into a slot; the covariance with all other coefficients becomes 0."""
        row = N_NUISANCE + slot
        self.coefficients[row] = amplitude_mean
        self.covariance[row] = self.covariance[:, row] = 0
        self.covariance[row, row] = amplitude_variance

    def advance(self, passed_s: float, prior: BoldPrior) -> None:
        """Move the state on in time: the baseline follows its slope, and both take a random step."""
        self.coefficients[0] += np.float32(passed_s) * self.coefficients[1]
        covariance = self.covariance
        covariance[0] += passed_s * covariance[1]
        covariance[:, 0] += passed_s * covariance[:, 1]
        covariance[0, 0] += prior.drift_variance * passed_s + prior.slope_variance * passed_s**3 / 3
        covariance[0, 1] += prior.slope_variance * passed_s**2 / 2
        covariance[1, 0] = covariance[0, 1]
        covariance[1, 1] += prior.slope_variance * passed_s

    def predict(self, regressors: Array) -> Prediction:
        """Predict a volume from its regressors, (n_coefficients,) float64."""
        used = np.flatnonzero(regressors)
        cross_covariance = self.covariance[:, used] @ regressors[used]
        signal = regressors[used].astype(np.float32) @ self.coefficients[used]
        return Prediction(signal, cross_covariance, float(regressors[used] @ cross_covariance[used]))

    def update(self, prediction: Prediction, innovation: Array, innovation_variance: float) -> None:
        """Correct the state by the innovation, (n_own,) float32: the observed minus the predicted signal."""
        gain = prediction.cross_covariance / innovation_variance
        # in place: a rank-one update of the transposed, which BLAS takes without a copy
        _add_outer(1.0, innovation, gain.astype(np.float32), a=self.coefficients.T, overwrite_a=1)
        self.covariance[...] -= np.outer(gain, prediction.cross_covariance)
