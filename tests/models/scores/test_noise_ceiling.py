"""Noise ceilings against slow pairwise computations and the analysis of variance."""

from itertools import combinations

import numpy as np
import pytest

from braind.models.scores.metrics import unit_rows
from braind.models.scores.noise_ceiling import correlation_ceiling, repeat_correlation, voxel_ceilings


def test_repeats_are_correlated_pair_by_pair():
    rng = np.random.default_rng(0)
    picture_of_trial = np.array([0, 2, 0, 1, 0, 2])
    predictions = rng.normal(size=(6, 15))
    found = repeat_correlation(unit_rows(predictions), picture_of_trial, 4)
    for picture in (0, 2):
        trials = np.flatnonzero(picture_of_trial == picture)
        pairs = [np.corrcoef(predictions[a], predictions[b])[0, 1] for a, b in combinations(trials, 2)]
        assert found[picture] == pytest.approx(np.mean(pairs))
    # one trial and none: unknown, not 0
    assert np.isnan(found[[1, 3]]).all()


def test_the_ceiling_is_the_root_of_spearman_and_browns_reliability():
    assert correlation_ceiling(0.25, 1) == pytest.approx(0.5)
    assert correlation_ceiling(0.25, 3) == pytest.approx(np.sqrt(0.75 / 1.5))
    assert correlation_ceiling(1.0, 3) == 1
    assert correlation_ceiling(-0.2, 3) == 0


def test_voxel_ceilings_are_the_signals_share_from_an_analysis_of_variance():
    rng = np.random.default_rng(1)
    picture_of_trial = np.repeat(np.arange(200), 3)
    signal = rng.normal(size=(200, 4)) * [0, 0.5, 1, 2]
    voxels = signal[picture_of_trial] + rng.normal(size=(600, 4))
    true = np.array([0, 0.25, 1, 4])
    assert voxel_ceilings(voxels, picture_of_trial, 1) == pytest.approx(true / (true + 1), abs=0.06)
    assert voxel_ceilings(voxels, picture_of_trial, 3) == pytest.approx(true / (true + 1 / 3), abs=0.1)


def test_without_repeats_a_voxels_ceiling_is_unknown():
    assert np.isnan(voxel_ceilings(np.ones((4, 3)), np.arange(4), 1)).all()


def test_a_constant_voxels_ceiling_is_0():
    voxels = np.column_stack([np.full(6, 5.0), np.arange(6.0)])
    found = voxel_ceilings(voxels, np.array([0, 0, 1, 1, 2, 2]), 1)
    assert found[0] == 0
    assert 0 < found[1] <= 1
