"""The ridge: penalties, folds, constant targets and voxels, held-out statistics, reduced rank."""

import numpy as np
import pytest

from braind.models import ridge
from braind.models.low_rank import reduce_rank
from braind.models.ridge import fit_ridge, picture_folds, standardise

ALPHAS = (1.0, 10.0, 100.0, 1000.0, 10000.0)


@pytest.fixture(scope="module")
def z_scored(trials):
    return standardise(trials.voxels)[0]


@pytest.fixture(scope="module")
def targets(trials):
    return trials.c.reshape(len(trials.c), -1)


@pytest.fixture(scope="module")
def folds(trials):
    return picture_folds(trials.picture_of_trial, 5, grouped=True)


def test_grouped_folds_keep_a_pictures_trials_together(trials, folds):
    for training, held_out in folds:
        assert not set(trials.picture_of_trial[training]) & set(trials.picture_of_trial[held_out])


def test_folds_that_are_not_grouped_are_blocks_of_consecutive_trials(trials):
    _, held_out = picture_folds(trials.picture_of_trial, 5, grouped=False)[1]
    assert np.array_equal(held_out, np.arange(90, 180))


def test_a_constant_voxel_becomes_zero():
    voxels = np.column_stack([np.full(20, 0.1), np.arange(20)]).astype(np.float32)
    z_scored, mean, std = standardise(voxels)
    assert (z_scored[:, 0] == 0).all()
    assert std[0] == 1
    assert mean == pytest.approx([0.1, 9.5])
    assert z_scored[:, 1].std() == pytest.approx(1)


def test_a_constant_target_gets_no_weight_and_its_value(z_scored, targets, trials, folds):
    fit = fit_ridge(z_scored, targets, trials.picture_of_trial, ALPHAS, folds)
    assert (fit.coefficients[:, :5] == 0).all()
    assert fit.value_at_mean[:5] == pytest.approx(np.arange(5) - 2)
    assert np.isnan(fit.alphas[:5]).all()
    assert np.isfinite(fit.alphas[5:]).all()


def test_without_an_intercept_predictions_lack_the_targets_mean(z_scored, targets, trials, folds):
    fit = fit_ridge(z_scored, targets, trials.picture_of_trial, ALPHAS, folds, intercept=False)
    assert (fit.value_at_mean == 0).all()
    assert (z_scored @ fit.coefficients).mean(axis=0) == pytest.approx(0, abs=1e-4)


def test_pure_noise_gets_the_largest_penalty_and_signal_a_small_one(z_scored, trials, folds):
    rng = np.random.default_rng(1)
    by_picture = np.zeros((len(trials.z), z_scored.shape[1]))
    np.add.at(by_picture, trials.picture_of_trial, z_scored)
    targets = np.column_stack([rng.normal(size=len(trials.z)), by_picture[:, 0]])
    fit = fit_ridge(z_scored, targets, trials.picture_of_trial, ALPHAS, folds)
    assert fit.alphas[0] == max(ALPHAS)
    assert fit.alphas[1] < max(ALPHAS)


def test_held_out_statistics_are_those_of_fold_by_fold_predictions(z_scored, targets, trials, folds):
    fit = fit_ridge(z_scored, targets, trials.picture_of_trial, [300.0], folds)
    shown = targets[trials.picture_of_trial].astype(np.float64)
    predicted = np.empty_like(shown)
    for training, held_out in folds:
        mean, target_mean = z_scored[training].mean(0), shown[training].mean(0)
        voxels = (z_scored[training] - mean).astype(np.float64)
        solved = np.linalg.solve(
            voxels.T @ voxels + 300 * np.eye(voxels.shape[1]), voxels.T @ (shown[training] - target_mean)
        )
        predicted[held_out] = (z_scored[held_out] - mean) @ solved + target_mean
    correlation = [np.corrcoef(predicted[:, target], shown[:, target])[0, 1] for target in range(5, 20)]
    assert fit.held_out_correlation[5:] == pytest.approx(correlation, abs=1e-5)
    assert fit.held_out_std[5:] == pytest.approx(predicted[:, 5:].std(0), rel=1e-4)
    assert fit.held_out_mse[5:] == pytest.approx(((predicted - shown) ** 2).mean(0)[5:], rel=1e-2)


def test_chunks_of_targets_change_nothing(z_scored, targets, trials, folds, monkeypatch):
    whole = fit_ridge(z_scored, targets, trials.picture_of_trial, ALPHAS, folds)
    monkeypatch.setattr(ridge, "TARGETS_PER_CHUNK", 4)
    steps = []
    chunked = fit_ridge(
        z_scored, targets, trials.picture_of_trial, ALPHAS, folds, progress=lambda *step: steps.append(step)
    )
    assert np.array_equal(chunked.alphas[5:], whole.alphas[5:])
    assert chunked.coefficients == pytest.approx(whole.coefficients, abs=1e-6)
    assert steps[-1] == (9, 9)


def test_more_voxels_than_trials_can_be_fitted_with_tiny_penalties(simulate):
    few = simulate(n_pictures=15, n_repeats=2, n_voxels=90)
    voxels = standardise(few.voxels)[0]
    targets = few.z.reshape(15, -1)
    folds = picture_folds(few.picture_of_trial, 5, grouped=True)
    fit = fit_ridge(voxels, targets, few.picture_of_trial, [1e-6], folds)
    shown = targets[few.picture_of_trial]
    assert voxels @ fit.coefficients + fit.value_at_mean == pytest.approx(shown, abs=0.01)


@pytest.mark.parametrize("n_targets", [15, 200])
def test_reduced_rank_loses_what_it_says_and_no_more(z_scored, n_targets):
    rng = np.random.default_rng(2)
    coefficients = rng.normal(size=(z_scored.shape[1], n_targets)) * rng.uniform(0.01, 1, n_targets)
    gram = z_scored.astype(np.float64).T @ z_scored
    left, right, discarded = reduce_rank(coefficients, gram, 0.05)
    predicted, kept = z_scored @ coefficients, z_scored @ left @ right
    lost = ((predicted - kept) ** 2).sum() / (predicted**2).sum()
    assert discarded <= 0.05
    assert lost == pytest.approx(discarded, rel=1e-3)
    assert left.shape[1] < min(coefficients.shape)
    # one component fewer would lose too much
    best = np.linalg.svd(predicted, compute_uv=False) ** 2
    assert best[left.shape[1] - 1 :].sum() / best.sum() > 0.05


def test_predictions_are_reduced_to_lower_rank_than_coefficients_suggest(z_scored):
    # a direction that the voxels never take costs nothing to drop, however large its coefficients
    eigenvectors = np.linalg.eigh(z_scored.astype(np.float64).T @ z_scored)[1]
    gram = 100.0 * np.outer(eigenvectors[:, -1], eigenvectors[:, -1])
    coefficients = np.outer(eigenvectors[:, -1], [1.0, 0.0]) + 50 * np.outer(eigenvectors[:, 0], [0.0, 1.0])
    left, right, _ = reduce_rank(coefficients, gram, 0.005)
    assert left.shape[1] == 1
    assert np.abs(right[0]) == pytest.approx([1, 0], abs=1e-9)
