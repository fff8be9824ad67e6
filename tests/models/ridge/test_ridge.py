"""The ridge: penalties, folds, constant targets and voxels, held-out statistics, reduced rank."""

from functools import partial

import numpy as np
import pytest
import torch
from ridge_fits import fit_ridge

from braind.models.ridge import penalties, penalty_screening, reduced_rank
from braind.models.ridge import problem as ridge_problem
from braind.models.ridge.checkpoint import Checkpoint
from braind.models.ridge.design import make_design, standardise
from braind.models.ridge.fit import RidgeFit
from braind.models.ridge.folds import picture_folds
from braind.models.ridge.problem import RidgeTargets
from braind.models.ridge.reduced_rank import reduce_rank

PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10000.0)


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
    fit = fit_ridge(z_scored, targets, trials.picture_of_trial, PENALTIES, folds)
    assert (fit.coefficients[:, :5] == 0).all()
    assert fit.targets.value_at_mean[:5] == pytest.approx(np.arange(5) - 2)
    assert np.isnan(fit.penalties[:5]).all()
    assert np.isfinite(fit.penalties[5:]).all()


def test_without_an_intercept_predictions_lack_the_targets_mean(z_scored, targets, trials, folds):
    fit = fit_ridge(z_scored, targets, trials.picture_of_trial, PENALTIES, folds, intercept=False)
    assert (fit.targets.value_at_mean == 0).all()
    assert (z_scored @ fit.coefficients).mean(axis=0) == pytest.approx(0, abs=1e-4)


def test_pure_noise_gets_the_largest_penalty_and_signal_a_small_one(z_scored, trials, folds):
    rng = np.random.default_rng(1)
    by_picture = np.zeros((len(trials.z), z_scored.shape[1]))
    np.add.at(by_picture, trials.picture_of_trial, z_scored)
    targets = np.column_stack([rng.normal(size=len(trials.z)), by_picture[:, 0]])
    fit = fit_ridge(z_scored, targets, trials.picture_of_trial, PENALTIES, folds)
    assert fit.penalties[0] == max(PENALTIES)
    assert fit.penalties[1] < max(PENALTIES)


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
    whole = fit_ridge(z_scored, targets, trials.picture_of_trial, PENALTIES, folds)
    monkeypatch.setattr(ridge_problem, "TARGETS_PER_CHUNK", 4)
    steps = []
    chunked = fit_ridge(
        z_scored, targets, trials.picture_of_trial, PENALTIES, folds, progress=lambda *step: steps.append(step[0])
    )
    assert np.array_equal(chunked.penalties[5:], whole.penalties[5:])
    assert chunked.coefficients == pytest.approx(whole.coefficients, abs=1e-6)
    assert steps == sorted(steps)
    assert steps[-1] == 1


def test_more_voxels_than_trials_can_be_fitted_with_tiny_penalties(simulate):
    few = simulate(n_pictures=15, n_repeats=2, n_voxels=90)
    voxels = standardise(few.voxels)[0]
    targets = few.z.reshape(15, -1)
    folds = picture_folds(few.picture_of_trial, 5, grouped=True)
    fit = fit_ridge(voxels, targets, few.picture_of_trial, [1e-6], folds)
    shown = targets[few.picture_of_trial]
    assert voxels @ fit.coefficients + fit.targets.value_at_mean == pytest.approx(shown, abs=0.01)


def fit_with(coefficients, design, penalty=100.0):
    """A fit that has these coefficients."""
    products = (design.gram.numpy() + penalty * np.eye(len(design.gram))) @ coefficients
    values = np.linalg.lstsq(design.by_picture.double().numpy().T, products)[0].astype(np.float32)
    zeros = np.zeros(coefficients.shape[1])
    targets = RidgeTargets(values, zeros, zeros, zeros, torch.device("cpu"))
    return RidgeFit(design, targets, zeros + penalty, zeros, zeros, zeros)


@pytest.mark.parametrize("n_targets", [15, 200])
def test_reduced_rank_loses_what_it_says_and_no_more(z_scored, trials, n_targets):
    rng = np.random.default_rng(2)
    coefficients = rng.normal(size=(z_scored.shape[1], n_targets)) * rng.uniform(0.01, 1, n_targets)
    design = make_design(z_scored, trials.picture_of_trial, len(trials.z))
    left, right, discarded = reduce_rank(fit_with(coefficients, design), np.ones(n_targets), 0.05)
    predicted, kept = z_scored @ coefficients, z_scored @ left @ right
    lost = ((predicted - kept) ** 2).sum() / (predicted**2).sum()
    assert discarded <= 0.05
    assert lost == pytest.approx(discarded, rel=1e-3)
    assert left.shape[1] < min(coefficients.shape)
    # one component fewer would lose too much
    best = np.linalg.svd(predicted, compute_uv=False) ** 2
    assert best[left.shape[1] - 1 :].sum() / best.sum() > 0.05


def test_a_rank_far_below_the_voxels_is_found_without_decomposing_all_of_them():
    rng = np.random.default_rng(4)
    shape = (1500, 1100)
    voxels = standardise((rng.normal(size=shape) * np.logspace(0, -1, 1100)).astype(np.float32))[0]
    coefficients = rng.normal(size=(1100, 40)) @ (rng.normal(size=(40, 300)) * np.logspace(0, -2, 40)[:, None])
    design = make_design(voxels, np.arange(1500), 1500)
    fit = fit_with(coefficients, design)
    left, right, discarded = reduce_rank(fit, np.ones(300), 0.005)
    predicted = voxels @ fit.coefficients
    best = np.linalg.svd(predicted, compute_uv=False) ** 2
    rank = left.shape[1]
    assert ((predicted - voxels @ left @ right) ** 2).sum() / best.sum() == pytest.approx(discarded, rel=1e-2)
    assert best[rank:].sum() / best.sum() == pytest.approx(discarded, rel=1e-2)
    assert best[rank - 1 :].sum() / best.sum() > 0.005


def test_some_targets_lead_to_the_directions_of_all(monkeypatch):
    monkeypatch.setattr(reduced_rank, "FIRST_READ", 20)
    rng = np.random.default_rng(6)
    voxels = standardise(rng.normal(size=(500, 300)).astype(np.float32))[0]
    coefficients = rng.normal(size=(300, 300)) * np.logspace(0, -2, 300) @ rng.normal(size=(300, 1000))
    fit = fit_with(coefficients, make_design(voxels, np.arange(500), 500))
    left, right, discarded = reduce_rank(fit, np.ones(1000), 0.05)
    predicted = voxels @ coefficients
    best = np.linalg.svd(predicted, compute_uv=False) ** 2
    needed = np.count_nonzero(np.cumsum(best) < 0.95 * best.sum()) + 1
    assert ((predicted - voxels @ left @ right) ** 2).sum() / best.sum() == pytest.approx(discarded, rel=0.1)
    assert discarded <= 0.05
    assert needed <= left.shape[1] <= 1.2 * needed < 300


def test_predictions_are_reduced_to_lower_rank_than_coefficients_suggest(z_scored, trials):
    # a direction that the voxels hardly take costs nothing to drop, however large its coefficients
    design = make_design(z_scored, trials.picture_of_trial, len(trials.z))
    eigenvalues, directions = np.linalg.eigh(design.gram.numpy())
    last, first = directions[:, -1], directions[:, 0]
    small = float(np.sqrt(eigenvalues[0] / eigenvalues[-1]))
    coefficients = np.outer(last, [1.0, 0.0]) + 0.05 / small * np.outer(first, [0.0, 1.0])
    left, right, _ = reduce_rank(fit_with(coefficients, design), np.ones(2), 0.005)
    assert left.shape[1] == 1
    assert np.abs(right[0]) == pytest.approx([1, 0], abs=1e-4)


def many_targets(n_targets=1600):
    """600 trials of 300 pictures in unequal numbers; targets from well to hardly decodable, in no small subspace."""
    rng = np.random.default_rng(5)
    picture_of_trial = np.concatenate([np.arange(300), rng.choice(300, 300)])
    properties = rng.normal(size=(300, 40)) * np.logspace(0, -1, 40)
    voxels = properties[picture_of_trial] @ rng.normal(size=(40, 150)) + 4 * rng.normal(size=(600, 150))
    targets = properties @ rng.normal(size=(40, n_targets)) + rng.normal(size=(300, n_targets)) * np.linspace(
        0, 3, n_targets
    )
    return standardise(voxels.astype(np.float32))[0], targets.astype(np.float32), picture_of_trial


@pytest.mark.parametrize("grouped", [True, False])
def test_many_targets_get_the_penalties_and_statistics_they_get_one_by_one(monkeypatch, grouped):
    voxels, targets, picture_of_trial = many_targets()
    folds = picture_folds(picture_of_trial, 5, grouped)
    alphas = np.logspace(0, 5, 11).tolist()
    monkeypatch.setattr(penalties, "FEW_VOXELS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(penalty_screening, "BASIS_SIZE", 2000)
        exact = fit_ridge(voxels, targets, picture_of_trial, alphas, folds)
    monkeypatch.setattr(penalty_screening, "BASIS_SIZE", 60)
    monkeypatch.setattr(penalty_screening, "SAMPLE_SIZE", 100)
    screened = fit_ridge(voxels, targets, picture_of_trial, alphas, folds)
    assert np.unique(exact.penalties).size >= 3
    assert (screened.penalties == exact.penalties).mean() >= 0.99
    same = screened.penalties == exact.penalties
    assert screened.held_out_mse[same] == pytest.approx(exact.held_out_mse[same], rel=0.25)
    assert screened.held_out_std.mean() == pytest.approx(exact.held_out_std.mean(), rel=0.02)
    assert screened.held_out_correlation.mean() == pytest.approx(exact.held_out_correlation.mean(), abs=0.01)


def test_folds_that_are_decomposed_themselves_give_the_same_residuals(z_scored, targets, trials, folds, monkeypatch):
    for intercept in (True, False):
        fit = partial(fit_ridge, z_scored, targets, trials.picture_of_trial, PENALTIES, folds, intercept=intercept)
        with monkeypatch.context() as patch:
            patch.setattr(penalties, "FEW_VOXELS", 0)
            left_out = fit()
        with monkeypatch.context() as patch:
            patch.setattr(penalties, "REFIT_BELOW", np.inf)
            in_float64 = fit()
        for refitted in (in_float64, fit()):
            assert np.array_equal(left_out.penalties[5:], refitted.penalties[5:])
            assert left_out.held_out_mse == pytest.approx(refitted.held_out_mse, rel=1e-4)
            assert left_out.held_out_correlation == pytest.approx(refitted.held_out_correlation, abs=1e-5)


def test_more_voxels_than_trials_are_solved_for_in_the_trials_span(simulate):
    few = simulate(n_pictures=30, n_repeats=2, n_voxels=90)
    voxels = standardise(few.voxels)[0]
    design = make_design(voxels, few.picture_of_trial, 30)
    assert design.directions is not None
    assert len(design.gram) < 60
    rebuilt = design.voxels.double() @ design.directions.T
    assert rebuilt.numpy() == pytest.approx(voxels - voxels.mean(0), abs=1e-4)


def test_an_interrupted_fit_goes_on_from_what_it_kept(tmp_path, monkeypatch):
    voxels, targets, picture_of_trial = many_targets(1400)
    monkeypatch.setattr(ridge_problem, "TARGETS_PER_CHUNK", 500)
    monkeypatch.setattr(penalties, "FEW_VOXELS", 0)
    monkeypatch.setattr(penalty_screening, "BASIS_SIZE", 60)
    monkeypatch.setattr(penalty_screening, "SAMPLE_SIZE", 100)
    folds = picture_folds(picture_of_trial, 5, grouped=True)
    fit = partial(fit_ridge, voxels, picture_of_trial=picture_of_trial, penalties=PENALTIES, folds=folds)
    path = tmp_path / "targets.npy"
    np.save(path, targets)

    class Interrupted(Exception):
        pass

    def interrupt(share):
        if share > 0.25:
            raise Interrupted

    with pytest.raises(Interrupted):
        fit(targets=np.load(path, mmap_mode="r"), checkpoint=Checkpoint(tmp_path / "work"), progress=interrupt)
    left = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "work").iterdir()}
    assert {"coordinates-0000.npy", "residuals-00.npy"} <= set(left)
    checkpoint = Checkpoint(tmp_path / "work")
    resumed = fit(targets=np.load(path, mmap_mode="r"), checkpoint=checkpoint)
    assert {name: (tmp_path / "work" / name).stat().st_mtime_ns for name in left} == left
    whole = fit(targets=targets)
    assert np.array_equal(resumed.penalties, whole.penalties)
    assert np.array_equal(resumed.coefficients, whole.coefficients)
    checkpoint.drop()
    assert not (tmp_path / "work").exists()
