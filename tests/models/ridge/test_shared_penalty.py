"""One penalty for a map, or one for each target: what cross-validation chooses, and by which score."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from braind.models.fit import fit_weights
from braind.models.fit_profiles import PROFILES, FitSettings
from braind.models.model_card import model_card
from braind.models.ridge.design import make_design, standardise
from braind.models.ridge.folds import picture_folds
from braind.models.ridge.problem import RidgeProblem
from braind.models.ridge.shared_penalty import shared_penalty

PENALTIES = PROFILES["live"].penalties


def problem_of(voxels, picture_of_trial, *, intercept=True):
    z_scored = standardise(voxels)[0]
    design = make_design(z_scored, picture_of_trial, int(picture_of_trial.max()) + 1, intercept=intercept)
    return z_scored, RidgeProblem(design, picture_folds(picture_of_trial, 5, grouped=True), PENALTIES)


def by_hand(z_scored, problem, targets, *, intercept):
    """Return held-out correlations with one penalty and with one for each target, by nested loops of scikit-learn."""
    y, penalties = targets[problem.design.picture_of_trial].astype(float), problem.falling_penalties
    p, centred = np.empty((len(penalties), *y.shape)), np.empty(y.shape)
    for training, held_out in problem.folds:
        mean = y[training].mean(axis=0) * intercept
        centred[held_out] = y[held_out] - mean
        for position, penalty in enumerate(penalties):
            ridge = Ridge(penalty, fit_intercept=intercept).fit(z_scored[training].astype(float), y[training])
            p[position, held_out] = ridge.predict(z_scored[held_out].astype(float)) - mean

    def correlation(predicted, true):
        return (predicted * true).sum(axis=-2) / np.sqrt((predicted**2).sum(axis=-2) * (true**2).sum(axis=-2))

    shared, own = np.empty_like(y), np.empty_like(y)
    for _, held_out in problem.folds:
        others = np.setdiff1d(np.arange(len(y)), held_out)
        shared[held_out] = p[correlation(p[:, others], centred[others]).mean(axis=1).argmax(), held_out]
        best = ((p[:, others] - centred[others]) ** 2).sum(axis=1).argmin(axis=0)
        own[held_out] = p[best[None], held_out[:, None], np.arange(y.shape[1])]
    penalty = penalties[correlation(p, centred).mean(axis=1).argmax()]
    return penalty, correlation(shared, centred).mean(), correlation(own, centred).mean()


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("n_pictures", "n_voxels"), [(120, 40), (20, 90)], ids=["many trials", "few trials"])
def test_the_scores_are_of_folds_whose_own_errors_chose_no_penalty(simulate, n_pictures, n_voxels, intercept):
    trials = simulate(n_pictures=n_pictures)
    targets = trials.z.reshape(n_pictures, -1)
    z_scored, problem = problem_of(trials.voxels[:, :n_voxels], trials.picture_of_trial, intercept=intercept)
    found = shared_penalty(problem, targets)
    penalty, one, own = by_hand(z_scored, problem, targets, intercept=intercept)
    assert found.penalty == penalty
    assert (found.correlation, found.correlation_per_target) == pytest.approx((one, own), abs=1e-3)


def of_two_kinds(n_trials, seed=0):
    """Simulate clear targets on faint directions of the voxels, and faint targets on clear directions.

    The former want a small penalty, the latter a large one.
    """
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n_trials, 40))
    directions = np.linalg.qr(rng.normal(size=(60, 40)))[0].T
    voxels = factors * np.repeat([10, 0.3], [4, 36]) @ directions + 0.03 * rng.normal(size=(n_trials, 60))
    clear = factors[:, 4:] @ rng.normal(size=(36, 40))
    faint = factors[:, :4] @ rng.normal(size=(4, 40)) + 12 * rng.normal(size=(n_trials, 40))
    return voxels.astype(np.float32), np.hstack([clear, faint]).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_targets_that_differ_get_their_own_penalties_once_there_are_trials_to_tell(seed):
    is_better = {}
    for n_trials in (30, 1000):
        voxels, targets = of_two_kinds(n_trials, seed)
        is_better[n_trials] = shared_penalty(problem_of(voxels, np.arange(n_trials))[1], targets).is_better
    assert is_better == {30: True, 1000: False}


def test_a_target_that_never_varies_is_left_out(simulate):
    trials = simulate(n_pictures=40)
    _, problem = problem_of(trials.voxels, trials.picture_of_trial)
    c = trials.c.reshape(40, -1)  # the first token is constant
    assert shared_penalty(problem, c) == pytest.approx(shared_penalty(problem, c[:, 5:]), abs=1e-6)
    assert shared_penalty(problem, c[:, :5]) is None


def test_the_card_says_whether_a_map_has_one_penalty(simulate, blank_card):
    trials = simulate(n_pictures=20, n_repeats=1)
    live = PROFILES["live"]
    card = {way: fit_weights(trials, blank_card, FitSettings(replace(live, penalty_for=way)))
            for way in ("map", "target")}  # fmt: skip
    assert card["map"].card.alphas_z[0] == card["map"].card.alphas_z[2]
    assert "| penalties | the same for all targets: " in model_card(card["map"])
    assert "| penalties | one for each target: " in model_card(card["target"])


def test_an_interrupted_choice_is_not_computed_again(simulate, blank_card, tmp_path, monkeypatch):
    """A fit that goes on finds the sums of the held-out trials."""
    trials = simulate(n_pictures=40)

    def interrupt(target, share):
        if target == "c":
            raise KeyboardInterrupt

    settings = FitSettings(work=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit_weights(trials, blank_card, settings, progress=interrupt)
    calls = []
    sums = "braind.models.ridge.shared_penalty._sums"
    from braind.models.ridge.shared_penalty import _sums

    monkeypatch.setattr(sums, lambda *arguments: calls.append(1) or _sums(*arguments))
    fit_weights(trials, blank_card, settings)
    assert len(calls) == 1  # of c, and not of z
