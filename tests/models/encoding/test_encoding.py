"""Encoding models: scores, their null, intervals and labels."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from braind.models.encoding import voxel_models as encoding
from braind.models.encoding.voxel_models import (
    EncodingError,
    best_layer,
    bootstrap_counts,
    interval,
    is_significant,
    p_values,
    reduce_features,
    score_voxels,
)


@pytest.fixture(scope="module")
def brain():
    """300 pictures; voxels 0–39 answer to the first features, 40–79 to the second ones, 80–119 to nothing."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(300, 8)), rng.normal(size=(300, 6))
    signal = np.concatenate(
        [first @ rng.normal(size=(8, 40)), second @ rng.normal(size=(6, 40)), np.zeros((300, 40))], 1
    )
    responses = (signal + 2 * rng.normal(size=signal.shape) + 1).astype(np.float32)
    responses[:, 119] = 3
    return first, second, responses, np.arange(300) % 3 > 0


def scores_of(features, brain):
    _, _, responses, is_training = brain
    rois = {name: np.isin(np.arange(120), voxels) for name, voxels in
            (("first", range(40)), ("second", range(40, 80)), ("none", range(80, 120)))}  # fmt: skip
    reduced = [reduce_features(part, is_training, 50) for part in features]
    return score_voxels(np.concatenate(reduced, axis=1), responses, is_training, rois, bootstrap_counts(100, 200, 1))


def test_features_predict_the_voxels_that_answer_to_them_and_no_others(brain):
    r = scores_of([brain[0]], brain).correlation
    significant = is_significant(r, 100)
    assert r[:40].mean() > 0.6
    assert significant[:40].mean() > 0.9
    assert significant[40:].mean() < 0.1
    assert r[119] == 0  # a voxel that never varies


def test_blocks_of_voxels_change_nothing(brain, monkeypatch):
    whole = scores_of([brain[0]], brain)
    monkeypatch.setattr(encoding, "VOXELS_AT_ONCE", 17)
    blocks = scores_of([brain[0]], brain)
    assert blocks.correlation == pytest.approx(whole.correlation, abs=1e-5)
    assert blocks.drawn_correlation == pytest.approx(whole.drawn_correlation, abs=1e-5)
    assert blocks.drawn_explained == pytest.approx(whole.drawn_explained, abs=1e-5)


def test_each_kind_of_feature_has_unique_variance_where_voxels_answer_to_it_alone(brain):
    first, second = scores_of([brain[0]], brain), scores_of([brain[1]], brain)
    both = scores_of([brain[0], brain[1]], brain)
    unique_of_second = both.explained - first.explained
    assert unique_of_second[40:80].mean() > 0.3
    assert abs(unique_of_second[:40].mean()) < 0.05
    assert (both.explained - second.explained)[:40].mean() > 0.3


def test_intervals_hold_the_mean_and_are_those_of_resampled_pictures(brain):
    scores = scores_of([brain[0]], brain)
    cell = interval(scores.correlation[:40].mean(), scores.drawn_correlation[0])
    low, high = cell["ci95"]
    assert low < cell["mean"] < high
    counts = bootstrap_counts(100, 200, 1)
    assert (counts.sum(axis=1) == 100).all()
    # a draw, done the long way: its pictures written out one after another
    first, _, responses, is_training = brain
    drawn = np.repeat(np.flatnonzero(~is_training), counts[7].astype(int))
    rows = np.concatenate([np.flatnonzero(is_training), drawn])
    held_out = np.arange(len(rows)) >= is_training.sum()
    reduced = reduce_features(first, is_training, 50)[rows]
    again = score_voxels(
        reduced, responses[rows], ~held_out, {"first": np.arange(120) < 40}, np.ones((1, 100), np.float32)
    )
    assert again.correlation[:40].mean() == pytest.approx(scores.drawn_correlation[0, 7], abs=1e-5)
    assert again.explained[:40].mean() == pytest.approx(scores.drawn_explained[0, 7], abs=1e-4)


def test_p_is_the_share_of_independent_gaussians_that_correlate_more():
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(2, 40000, 30))
    null = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(first[:4000], second[:4000], strict=True)])
    for r in (0.0, 0.2, 0.35):
        assert p_values(np.array([r]), 30)[0] == pytest.approx((null > r).mean(), abs=0.025)
    assert ttest_1samp(p_values(null, 30), 0.5).pvalue > 0.001
    assert is_significant(null, 30).mean() < 0.01
    assert p_values(np.array([1.0, -1.0]), 30) == pytest.approx([0, 1], abs=1e-6)


def test_the_best_layer_is_named_only_where_it_predicts():
    correlations = np.array([[0.5, 0.1, 0.0], [0.3, 0.6, 0.01]])
    assert best_layer(correlations, 100).tolist() == [1, 2, 0]


def test_reduced_features_are_principal_components_of_the_training_pictures_scaled_alike(brain):
    first, _, _, is_training = brain
    reduced = reduce_features(first, is_training, 5)
    assert reduced.shape == (300, 5)
    assert reduced[is_training].mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert reduced[is_training].var(axis=0).mean() == pytest.approx(1, rel=0.02)
    covariance = np.cov(reduced[is_training].T)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-3
    assert reduce_features(first[:8], np.arange(8) < 6, 50).shape == (8, 5)


def test_pictures_that_no_model_can_be_fitted_on_are_refused(brain):
    first, _, responses, is_training = brain
    with pytest.raises(EncodingError, match="too few"):
        score_voxels(first, responses, np.arange(300) < 4, {}, np.ones((1, 296), np.float32))
    with pytest.raises(EncodingError, match="held-out"):
        score_voxels(first, responses, np.ones(300, bool), {}, np.ones((1, 0), np.float32))
    with pytest.raises(EncodingError, match="same"):
        reduce_features(np.ones((300, 4)), is_training, 3)
