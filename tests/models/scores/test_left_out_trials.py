"""The score that an operator is told: right for trials that say something, chance for those that do not."""

from dataclasses import replace

import numpy as np
import pytest

from braind.models.fit import fit_weights
from braind.models.fit_profiles import FitSettings
from braind.models.scores.left_out import two_way_left_out


def scored(trials, card, voxels):
    trials = replace(trials, voxels=voxels)
    return two_way_left_out(fit_weights(trials, card, FitSettings()), trials, 5)


def test_trials_that_tell_their_pictures_are_identified(trials, blank_card):
    score = scored(trials, blank_card, trials.voxels)
    assert 0.7 < score.low < score.mean < score.high < 1


@pytest.mark.parametrize("n_pictures", [12, 150])
def test_noise_is_at_chance_however_few_the_pictures(simulate, blank_card, n_pictures):
    means = []
    for seed in range(6):
        few = simulate(n_pictures, 1, seed=seed)
        noise = np.random.default_rng(seed).normal(size=few.voxels.shape).astype(np.float32)
        means.append(scored(few, blank_card, noise).mean)
    assert np.mean(means) == pytest.approx(0.5, abs=0.07)
