"""Metrics on cases whose answer is known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from braind.models.demo.scenes import draw_scene, render
from braind.models.scores.metrics import (
    among_best,
    bootstrap_ci,
    identified_among_decoded,
    identified_among_seen,
    mean_by_picture,
    permutation_p,
    pixcorr,
    random_signs,
    row_correlation,
    ssim,
    ssim_detail,
    two_way,
)
from braind.models.scores.noise_ceiling import correlation_ceiling, repeat_correlation, voxel_ceilings
from braind.models.scores.protocols import measured_pixels


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (6, 24, 24, 3), dtype=np.uint8)


def test_a_picture_is_itself(pictures):
    assert pixcorr(pictures, pictures) == pytest.approx(1)
    assert ssim(pictures, pictures) == pytest.approx(1)
    assert two_way(pictures, pictures) == pytest.approx(1)


def test_a_negative_correlates_with_minus_one(pictures):
    assert pixcorr(pictures, 255 - pictures) == pytest.approx(-1)


def test_ssim_of_detail_tells_smooth_pictures_apart_where_ssim_does_not():
    rng = np.random.default_rng(7)
    seen = measured_pixels(np.stack([render(draw_scene(rng)) for _ in range(8)]))
    other, blurred = np.roll(seen, 1, axis=0), np.stack([gaussian_filter(one, (8, 8, 0)) for one in seen])
    assert ssim(seen, other).mean() > 0.75
    assert ssim_detail(seen, other).mean() < 0.4
    assert ssim_detail(seen, blurred).mean() > ssim_detail(seen, other).mean() + 0.1
    assert ssim_detail(seen, seen) == pytest.approx(1)


def test_a_picture_without_detail_has_no_ssim_of_detail(pictures):
    flat = np.full_like(pictures, 93)
    assert np.isnan(ssim_detail(flat, pictures)).all()
    assert np.isfinite(ssim_detail(pictures, flat)).all()


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


def test_rivals_can_be_chosen_and_none_gives_no_score():
    correlation = np.array([[0.5, 0.9, 0.1], [0.2, 0.3, 0.4]])
    rivals = np.array([[True, False, True], [False, True, False]])
    identified = identified_among_seen(correlation, np.array([0, 1]), rivals)
    assert identified[0] == 1
    assert np.isnan(identified[1])


def test_other_decodes_of_the_same_picture_are_no_rivals():
    # decodes 0 and 1 are of picture 0, decode 2 of picture 1
    correlation = np.array([[0.1, 0.6], [0.9, 0.0], [0.5, 0.3]])
    assert identified_among_decoded(correlation, np.array([0, 0, 1])).tolist() == [0, 1, 0.5]


def test_equal_scores_are_found_as_often_as_their_orders_find_them():
    score = np.array([[3.0, 1, 1, 1], [0, 0, 0, 0], [0, 9, 9, 9]])
    rivals = np.array([[False, True, True, True]] * 3)
    assert among_best(score, score[:, 0], rivals, 1).tolist() == [1, 0.25, 0]
    assert among_best(score, score[:, 0], rivals, 3).tolist() == [1, 0.75, 0]
    assert among_best(score, score[:, 0], rivals, 4).tolist() == [1, 1, 1]


def test_permutations_tell_a_difference_from_noise():
    signs = random_signs(2000, 40, seed=0)
    rng = np.random.default_rng(5)
    noise = rng.normal(size=40)
    assert permutation_p(noise + 2, signs) == 1 / 2001
    assert permutation_p(np.zeros(40), signs) == 1
    p = [permutation_p(rng.normal(size=40), signs) for _ in range(300)]
    assert np.mean(np.array(p) < 0.1) == pytest.approx(0.1, abs=0.06)


def test_noise_ceilings_are_those_of_the_noise_that_was_put_in():
    rng = np.random.default_rng(6)
    signal = rng.normal(size=(400, 50))
    picture_of_trial = np.repeat(np.arange(400), 3)
    trials = signal[picture_of_trial] + 2 * rng.normal(size=(1200, 50))
    for n in (1, 3):
        assert voxel_ceilings(trials, picture_of_trial, n).mean() == pytest.approx(1 / (1 + 4 / n), abs=0.03)
    rows = trials - trials.mean(1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    repeats = repeat_correlation(rows, picture_of_trial, 400)
    assert repeats[0] == pytest.approx(np.corrcoef(rows[:3])[[0, 0, 1], [1, 2, 2]].mean())
    assert repeats.mean() == pytest.approx(0.2, abs=0.02)
    # what the best decoder, the signal itself, would reach
    for n, decoded in ((1, trials), (3, trials.reshape(400, 3, 50).mean(1).repeat(3, axis=0))):
        reached = row_correlation(decoded, signal[picture_of_trial]).mean()
        assert reached == pytest.approx(correlation_ceiling(repeats.mean(), n), abs=0.03)
    assert correlation_ceiling(-0.1, 3) == 0
    assert np.isnan(voxel_ceilings(trials[::3], picture_of_trial[::3], 1)).all()
