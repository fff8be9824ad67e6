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
