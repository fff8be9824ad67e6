"""The Kalman filter against a batch solution and the local linear trend's own formulas."""

import numpy as np
import pytest

from braind.models.bold.kalman_filter import BASELINE_VARIANCE, N_NUISANCE, N_TRIAL_SLOTS, VoxelGroup
from braind.models.weights.bold_prior import BoldPrior

N_VOXELS = 6
N_COEFFICIENTS = N_NUISANCE + N_TRIAL_SLOTS


def prior(**settings):
    return BoldPrior(
        np.full(N_VOXELS, 2), np.zeros(N_VOXELS, np.float32), np.ones(N_VOXELS, np.float32),
        **{"slope_variance": 0.0, "drift_variance": 0.0, **settings},
    )  # fmt: skip


def group(**settings):
    return VoxelGroup.initial(slice(0, N_VOXELS), 0.0, prior(**settings))


def row(*amplitudes, baseline=1.0):
    regressors = np.zeros(N_COEFFICIENTS)
    regressors[0] = baseline
    regressors[N_NUISANCE : N_NUISANCE + len(amplitudes)] = amplitudes
    return regressors


def test_without_drift_the_filter_gives_bayesian_linear_regression_of_all_volumes():
    rng = np.random.default_rng(0)
    filtered = group()
    for slot in range(3):
        filtered.start_trial(slot, np.full(N_VOXELS, 0.5, np.float32), 2.0)
    precision = np.diag(1 / np.array([BASELINE_VARIANCE, 2.0, 2.0, 2.0]))
    mean = np.array([0.0, 0.5, 0.5, 0.5])[:, None]
    x = np.column_stack([np.ones(40), rng.normal(size=(40, 3))])
    y = rng.normal(size=(40, N_VOXELS)) + 3
    noise = rng.uniform(0.5, 3, 40)
    for regressors, signal, variance in zip(x, y, noise, strict=True):
        prediction = filtered.predict(row(*regressors[1:]))
        filtered.update(prediction, (signal - prediction.signal).astype(np.float32), prediction.variance + variance)
    covariance = np.linalg.inv(precision + (x.T / noise) @ x)
    posterior = covariance @ (precision @ mean + (x.T / noise) @ y)
    used = [0, *range(N_NUISANCE, N_NUISANCE + 3)]
    assert filtered.coefficients[used] == pytest.approx(posterior, abs=1e-3)
    assert filtered.covariance[np.ix_(used, used)] == pytest.approx(covariance, rel=1e-4, abs=1e-6)


def test_a_gap_of_time_is_as_many_short_steps():
    settings = {"slope_variance": 1e-3, "drift_variance": 0.02}
    whole, stepwise = group(**settings), group(**settings)
    for filtered in (whole, stepwise):
        filtered.coefficients[:2] = [[1.0], [0.25]]
    whole.advance(6.0, prior(**settings))
    for _ in range(4):
        stepwise.advance(1.5, prior(**settings))
    assert whole.coefficients[0] == pytest.approx(1 + 6 * 0.25)
    assert stepwise.coefficients == pytest.approx(whole.coefficients)
    assert stepwise.covariance == pytest.approx(whole.covariance, rel=1e-9)


def test_no_time_changes_nothing():
    filtered, before = group(slope_variance=1.0, drift_variance=1.0), group().covariance
    filtered.advance(0.0, prior(slope_variance=1.0, drift_variance=1.0))
    assert np.array_equal(filtered.covariance, before)


def test_a_new_trial_in_a_used_slot_forgets_the_old_trial():
    filtered = group()
    filtered.start_trial(5, np.zeros(N_VOXELS, np.float32), 1.0)
    prediction = filtered.predict(row(0, 0, 0, 0, 0, 1))
    filtered.update(prediction, np.full(N_VOXELS, 4.0, np.float32), prediction.variance + 1)
    assert filtered.covariance[0, N_NUISANCE + 5] != 0
    filtered.start_trial(5, np.full(N_VOXELS, 0.3, np.float32), 2.0)
    assert filtered.coefficients[N_NUISANCE + 5] == pytest.approx(0.3)
    others = np.delete(filtered.covariance[N_NUISANCE + 5], N_NUISANCE + 5)
    assert not others.any()
    assert filtered.covariance[N_NUISANCE + 5, N_NUISANCE + 5] == 2.0


def test_a_noisy_volume_moves_the_state_less():
    usual, noisy = group(), group()
    for filtered, noise in ((usual, 1.0), (noisy, 1e6)):
        prediction = filtered.predict(row())
        filtered.update(prediction, np.ones(N_VOXELS, np.float32), prediction.variance + noise)
    assert usual.coefficients[0] == pytest.approx(1, abs=1e-3)
    assert noisy.coefficients[0] == pytest.approx(BASELINE_VARIANCE / (BASELINE_VARIANCE + 1e6), rel=1e-4)
