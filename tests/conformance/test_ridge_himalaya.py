"""Chosen penalties and coefficients against himalaya's RidgeCV, the solver of the published code."""

import numpy as np
import pytest
from himalaya.ridge import RidgeCV
from ridge_fits import fit_ridge
from sklearn.model_selection import PredefinedSplit

from braind.models.fit_profiles import PROFILES
from braind.models.ridge import penalties, penalty_screening
from braind.models.ridge.design import standardise
from braind.models.ridge.folds import picture_folds


@pytest.fixture(scope="module")
def trials():
    """540 trials of 180 pictures, 300 targets from well to not at all decodable."""
    rng = np.random.default_rng(1)
    properties = rng.normal(size=(180, 12))
    picture_of_trial = rng.permutation(np.repeat(np.arange(180), 3))
    voxels = properties[picture_of_trial] @ rng.normal(size=(12, 80)) * 0.2 + rng.normal(size=(540, 80))
    voxels += rng.normal(size=(540, 4)) @ rng.normal(size=(4, 80))
    targets = properties @ rng.normal(size=(12, 300)) + rng.normal(size=(180, 300)) * np.linspace(0, 20, 300)
    return standardise(voxels.astype(np.float32))[0], targets.astype(np.float32) + 3, picture_of_trial


@pytest.mark.parametrize("few_voxels", [0, 2048])
@pytest.mark.parametrize(("intercept", "basis_size"), [(True, 1024), (False, 1024), (True, 32)])
def test_penalties_agree_on_nearly_all_targets_and_coefficients_where_they_do(
    trials, intercept, basis_size, few_voxels, monkeypatch
):
    monkeypatch.setattr(penalties, "FEW_VOXELS", few_voxels)
    # a small basis, as targets beyond counting are read in
    monkeypatch.setattr(penalty_screening, "BASIS_SIZE", basis_size)
    monkeypatch.setattr(penalty_screening, "SAMPLE_SIZE", 100)
    z_scored, targets, picture_of_trial = trials
    alphas = np.array(PROFILES["live"].penalties, np.float32)
    folds = picture_folds(picture_of_trial, 5, grouped=True)
    fold_of_trial = np.empty(len(z_scored), int)
    for number, (_, held_out) in enumerate(folds):
        fold_of_trial[held_out] = number
    theirs = RidgeCV(alphas=alphas, fit_intercept=intercept, cv=PredefinedSplit(fold_of_trial))
    theirs.fit(z_scored, targets[picture_of_trial])
    fit = fit_ridge(z_scored, targets, picture_of_trial, alphas.tolist(), folds, intercept=intercept)
    same = np.isclose(fit.penalties, theirs.best_alphas_, rtol=1e-4)
    assert np.unique(fit.penalties).size > 3
    assert same.mean() >= 0.99
    difference = np.linalg.norm(fit.coefficients - theirs.coef_, axis=0) / np.linalg.norm(theirs.coef_, axis=0)
    assert difference[same].max() < 1e-4


def test_the_takagi_profile_is_himalayas_default_cross_validation(trials):
    z_scored, targets, picture_of_trial = trials
    profile = PROFILES["takagi"]
    theirs = RidgeCV(alphas=np.array(profile.penalties, np.float32)).fit(z_scored, targets[picture_of_trial])
    folds = picture_folds(picture_of_trial, profile.folds, profile.grouped)
    fit = fit_ridge(z_scored, targets, picture_of_trial, profile.penalties, folds, intercept=profile.intercept)
    predicted = z_scored @ fit.coefficients + fit.targets.value_at_mean
    # among penalties that small all coefficients are least squares', whichever is chosen
    assert predicted == pytest.approx(theirs.predict(z_scored), abs=2e-2)
    assert predicted.mean(axis=0) == pytest.approx(0, abs=1e-4)
