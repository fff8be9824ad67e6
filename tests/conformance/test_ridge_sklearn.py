"""The ridge and its folds against scikit-learn's, on the same trials."""

import numpy as np
import pytest
from ridge_fits import fit_ridge
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.preprocessing import StandardScaler

from braind.models.ridge.design import standardise
from braind.models.ridge.folds import picture_folds
from braind.models.ridge.reduced_rank import reduce_rank


@pytest.fixture(scope="module")
def trials():
    """600 trials of 200 pictures: raw voxels, 30 targets on different scales, which picture each trial showed."""
    rng = np.random.default_rng(0)
    properties = rng.normal(size=(200, 10))
    picture_of_trial = rng.permutation(np.repeat(np.arange(200), 3))
    shared_noise = rng.normal(size=(600, 5)) @ rng.normal(size=(5, 120))
    voxels = (
        properties[picture_of_trial] @ rng.normal(size=(10, 120)) * 0.2 + rng.normal(size=(600, 120)) + shared_noise
    )
    targets = (properties @ rng.normal(size=(10, 30)) + 4) * np.logspace(-2, 1, 30)
    return (voxels * 2 + 1).astype(np.float32), targets.astype(np.float32), picture_of_trial


@pytest.mark.parametrize("alpha", [0.1, 10.0, 1000.0, 1e5])
def test_coefficients_and_intercept_are_sklearns(trials, alpha):
    voxels, targets, picture_of_trial = trials
    z_scored, _, _ = standardise(voxels)
    folds = picture_folds(picture_of_trial, 5, grouped=True)
    fit = fit_ridge(z_scored, targets, picture_of_trial, [alpha], folds)
    scaled = StandardScaler().fit_transform(voxels.astype(np.float64))
    theirs = Ridge(alpha=alpha, solver="cholesky").fit(scaled, targets[picture_of_trial].astype(np.float64))
    error = np.linalg.norm(fit.coefficients - theirs.coef_.T, axis=0) / np.linalg.norm(theirs.coef_.T, axis=0)
    assert error.max() < 1e-4
    assert fit.targets.value_at_mean == pytest.approx(theirs.intercept_, rel=1e-5)


def test_z_scores_are_standard_scalers(trials):
    voxels = np.column_stack([trials[0], np.full(600, 0.1, np.float32)])
    z_scored, mean, std = standardise(voxels)
    scaler = StandardScaler().fit(voxels)
    assert z_scored == pytest.approx(scaler.transform(voxels), abs=1e-4)
    assert mean == pytest.approx(scaler.mean_, rel=1e-5)
    assert std == pytest.approx(scaler.scale_, rel=1e-5)


def test_each_targets_penalty_is_grid_searchs(trials):
    voxels, targets, picture_of_trial = trials
    alphas = [1.0, 10.0, 100.0, 1000.0, 10000.0]
    z_scored, _, _ = standardise(voxels)
    folds = picture_folds(picture_of_trial, 4, grouped=True)
    fit = fit_ridge(z_scored, targets, picture_of_trial, alphas, folds)
    for target in (0, 7, 29):
        search = GridSearchCV(
            Ridge(), {"alpha": alphas}, cv=GroupKFold(4), scoring="neg_mean_squared_error", refit=False
        )
        search.fit(z_scored, targets[picture_of_trial, target], groups=picture_of_trial)
        assert fit.penalties[target] == search.best_params_["alpha"]
        assert fit.held_out_mse[target] == pytest.approx(-search.best_score_, rel=1e-3)


def test_low_rank_loses_at_most_half_a_percent_of_sklearns_explained_variance(trials):
    voxels, targets, picture_of_trial = trials
    z_scored, _, _ = standardise(voxels)
    theirs = Ridge(alpha=100.0).fit(z_scored[:450], targets[picture_of_trial[:450]])
    folds = picture_folds(picture_of_trial[:450], 5, grouped=True)
    fit = fit_ridge(z_scored[:450], targets, picture_of_trial[:450], [100.0], folds)
    left, right, _ = reduce_rank(fit, np.ones(30), 0.005)
    shown = targets[picture_of_trial[450:]]
    full, reduced = z_scored[450:] @ theirs.coef_.T, z_scored[450:] @ left @ right
    total = ((shown - theirs.intercept_) ** 2).sum()
    explained = [1 - ((shown - theirs.intercept_ - predicted) ** 2).sum() / total for predicted in (full, reduced)]
    assert left.shape[1] < 30
    assert explained[0] - explained[1] <= 0.005
