"""The haemodynamic response against SPM's, summed numerically."""

import numpy as np
import pytest

from braind.models.bold.hrf import response


def test_the_response_is_the_canonical_one():
    times_s = np.arange(0, 40, 0.01)
    curve = response(times_s, 3.0)
    assert curve.max() == pytest.approx(1, abs=1e-3)
    assert times_s[curve.argmax()] == pytest.approx(6.5, abs=0.3)
    assert curve.min() == pytest.approx(-0.09, abs=0.03)
    assert (response(np.array([-5.0, 0.0]), 3.0) == 0).all()
    # SPM's: a gamma density of shape 6 minus a sixth of one of shape 16, summed over the stimulus
    density = times_s**5 * np.exp(-times_s) / 120 - times_s**15 * np.exp(-times_s) / 1307674368000 / 6
    summed = np.convolve(density, np.ones(300))[: len(times_s)]
    assert curve == pytest.approx(summed / summed.max(), abs=0.01)


@pytest.mark.parametrize("duration_s", [0.0, 1e-300, 1e-9])
def test_a_stimulus_without_duration_is_an_impulse(duration_s):
    times_s = np.arange(-2, 40, 0.01)
    density = np.where(times_s > 0, times_s, 0) ** 5 * np.exp(-times_s) / 120
    density -= np.where(times_s > 0, times_s, 0) ** 15 * np.exp(-times_s) / 1307674368000 / 6
    assert response(times_s, duration_s) == pytest.approx(density / density.max(), abs=1e-3)
    assert times_s[response(times_s, duration_s).argmax()] == pytest.approx(5, abs=0.1)


def test_a_short_stimulus_is_nearly_an_impulse():
    times_s = np.arange(0, 40, 0.1)
    for duration_s in (0.001, 0.01, 0.1):
        assert response(times_s, duration_s) == pytest.approx(response(times_s - duration_s / 2, 0.0), abs=0.02)
