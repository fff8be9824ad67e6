"""Metrics on cases whose answer is known."""

import numpy as np
import pytest

from braind.models.metrics import bootstrap_ci, mean_by_picture, pixcorr, row_correlation, ssim, two_way


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (6, 24, 24, 3), dtype=np.uint8)


def test_a_picture_is_itself(pictures):
    assert pixcorr(pictures, pictures) == pytest.approx(1)
    assert ssim(pictures, pictures) == pytest.approx(1)
    assert two_way(pictures, pictures) == pytest.approx(1)


def test_a_negative_correlates_with_minus_one(pictures):
    assert pixcorr(pictures, 255 - pictures) == pytest.approx(-1)


def test_a_flat_picture_correlates_with_nothing(pictures):
    flat = np.full_like(pictures, 93)
    assert (pixcorr(pictures, flat) == 0).all()
    assert (row_correlation(np.full((2, 7), 0.1), np.arange(14.0).reshape(2, 7)) == 0).all()


def test_decodes_that_know_nothing_are_identified_at_chance():
    rng = np.random.default_rng(1)
    true = rng.normal(size=(300, 40))
    assert two_way(true, rng.normal(size=(300, 40))).mean() == pytest.approx(0.5, abs=0.05)
    one_for_all = np.repeat(rng.normal(size=(1, 40)), 300, axis=0)
    assert two_way(true, one_for_all).mean() == pytest.approx(0.5)
    assert (two_way(true, np.ones((300, 40))) == 0.5).all()


def test_a_decode_like_another_picture_is_identified_wrongly():
    true = np.random.default_rng(2).normal(size=(5, 30))
    assert two_way(true, np.roll(true, 1, axis=0)).max() < 1
    assert two_way(true, np.roll(true, 1, axis=0), np.roll(np.arange(5), 1)) == pytest.approx(1)


def test_several_decodes_of_a_picture_are_averaged_first():
    averaged = mean_by_picture(np.array([1.0, 0.0, 1.0, 0.5]), np.array([0, 0, 2, 2]), 4)
    assert averaged[[0, 2]] == pytest.approx([0.5, 0.75])
    assert np.isnan(averaged[[1, 3]]).all()


def test_the_bootstrap_interval_is_that_of_the_means_spread():
    scores = np.random.default_rng(3).normal(0.7, 0.1, 400)
    low, high = bootstrap_ci(scores, seed=0)
    half = 1.96 * scores.std() / 20
    assert (low, high) == pytest.approx((scores.mean() - half, scores.mean() + half), abs=0.002)
    assert bootstrap_ci(scores, seed=0) == (low, high)
    assert bootstrap_ci(scores, seed=1) != (low, high)
    assert bootstrap_ci(np.full(9, 0.25), seed=0) == (0.25, 0.25)
