"""The haemodynamic response against SPM's, summed numerically."""

import numpy as np
import pytest
from scipy.signal import fftconvolve

from braind.models.bold.hrf import response

STEP_S = 0.001


def density_of(times_s):
    """SPM's: a gamma density of shape 6 minus a sixth of a gamma density of shape 16."""
    after_s = np.maximum(times_s, 0)
    return after_s**5 * np.exp(-after_s) / 120 - after_s**15 * np.exp(-after_s) / 1307674368000 / 6


def convolved(duration_s, adaptation_rate):
    """Return times of 1 ms until 60 s after a stimulus's end, and its response by the trapezoidal rule, unscaled."""
    times_s = np.arange(0, duration_s + 60, STEP_S)
    neural = np.where(times_s <= duration_s, np.exp(-adaptation_rate * times_s), 0.0)
    neural[[0, round(duration_s / STEP_S)]] /= 2
    hrf = density_of(np.arange(0, 60, STEP_S))
    return times_s, fftconvolve(neural, hrf)[: len(times_s)] * STEP_S


def test_the_response_is_the_canonical_one():
    times_s = np.arange(0, 40, 0.01)
    curve = response(times_s, 3.0)
    assert curve.max() == pytest.approx(1, abs=1e-3)
    assert times_s[curve.argmax()] == pytest.approx(6.5, abs=0.3)
    assert curve.min() == pytest.approx(-0.09, abs=0.03)
    assert (response(np.array([-5.0, 0.0]), 3.0) == 0).all()
    summed = np.convolve(density_of(times_s), np.ones(300))[: len(times_s)]
    assert curve == pytest.approx(summed / summed.max(), abs=0.01)


@pytest.mark.parametrize("adaptation_rate", [0.0, 0.025, 0.07, 0.2, 0.6])
@pytest.mark.parametrize("duration_s", [3.0, 22.5, 600.0, 3600.0])
def test_a_lasting_stimulus_is_a_convolution_with_a_response_that_adapts(duration_s, adaptation_rate):
    times_s, summed = convolved(duration_s, adaptation_rate)
    found = response(times_s[::100], duration_s, adaptation_rate)
    assert np.abs(found - summed[::100] / summed.max()).max() < 2e-3  # the peak is searched in steps of 0.1 s
    scale = found @ summed[::100] / (found @ found)
    assert np.abs(scale * found - summed[::100]).max() < 1e-6


@pytest.mark.parametrize("adaptation_rate", [0.0, 0.07, 0.2, 0.999])
@pytest.mark.parametrize("duration_s", [0.0, 1e-4, 0.001, 3.0, 22.5, 600.0, 3600.0, 86400.0])
def test_a_response_is_finite_at_any_time_and_is_over_in_the_end(duration_s, adaptation_rate):
    times_s = np.array([-1e6, -1.0, 0.0, 1e-9, 1.0, duration_s, duration_s + 8, duration_s + 1e4, 1e7])
    found = response(times_s, duration_s, adaptation_rate)
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 1.001
    assert (found[:3] == 0).all()
    assert np.abs(found[-2:]).max() < 1e-9


def test_a_block_that_adapts_falls_while_it_lasts_and_peaks_at_one():
    times_s = np.arange(0, 60, 0.01)
    constant, adapting = response(times_s, 30.0), response(times_s, 30.0, 0.07)
    assert adapting.max() == pytest.approx(1, abs=1e-3)
    assert times_s[adapting.argmax()] < 10
    assert adapting[3000] < 0.3 < 0.8 < constant[3000]


def test_adaptation_changes_a_brief_stimulus_little():
    times_s = np.arange(0, 40, 0.1)
    for duration_s in (0.0, 1e-4, 0.1, 1.0):
        assert response(times_s, duration_s, 0.1) == pytest.approx(response(times_s, duration_s), abs=0.02)


@pytest.mark.parametrize("duration_s", [0.0, 1e-300, 1e-9, 1e-4])
def test_a_stimulus_without_duration_is_an_impulse(duration_s):
    times_s = np.arange(-2, 40, 0.01)
    density = density_of(times_s)
    assert response(times_s, duration_s) == pytest.approx(density / density.max(), abs=1e-3)
    assert times_s[response(times_s, duration_s).argmax()] == pytest.approx(5, abs=0.1)


def test_a_short_stimulus_is_nearly_an_impulse():
    times_s = np.arange(0, 40, 0.1)
    for duration_s in (0.001, 0.01, 0.1):
        assert response(times_s, duration_s) == pytest.approx(response(times_s - duration_s / 2, 0.0), abs=0.02)
