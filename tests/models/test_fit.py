"""Fitting: profiles, restored scale, the compiled map's loss, the card."""

from dataclasses import replace

import numpy as np
import pytest
from ridge_fits import fit_ridge

from braind.models.fit import fit_weights
from braind.models.fit_profiles import PROFILES, FitError, FitProfile, FitSettings, profile_named
from braind.models.model_card import model_card
from braind.models.ridge.design import standardise
from braind.models.ridge.fit_maps import restored_scale
from braind.models.ridge.folds import picture_folds

LIVE = FitSettings()
LINEAR = replace(PROFILES["live"], prior=False)


@pytest.fixture(scope="module")
def weights(trials, blank_card):
    return fit_weights(trials, blank_card, LIVE)


def test_unseen_trials_are_predicted_with_their_targets_spread(simulate, blank_card):
    trials = simulate(n_pictures=400)
    seen = trials.picture_of_trial < 300
    weights = fit_weights(trials.of(seen), blank_card, FitSettings(LINEAR))
    z, c = weights.predict(trials.voxels[~seen])
    true_z, true_c = trials.z[trials.picture_of_trial[~seen]], trials.c[trials.picture_of_trial[~seen]]
    assert np.corrcoef(z.ravel(), true_z.ravel())[0, 1] > 0.6
    for channel in range(2):
        ratio = z[:, channel].std(axis=0).mean() / true_z[:, channel].std(axis=0).mean()
        assert ratio == pytest.approx(1, abs=0.12)
    for token in range(1, 4):
        ratio = c[:, token].std(axis=0).mean() / true_c[:, token].std(axis=0).mean()
        assert ratio == pytest.approx(1, abs=0.12)


def test_without_restoring_predictions_are_shrunk(trials, blank_card):
    linear = fit_weights(trials, blank_card, FitSettings(LINEAR))
    shrunk = fit_weights(trials, blank_card, FitSettings(replace(LINEAR, restore_scale=False)))
    assert shrunk.card.profile == "custom"
    for restored, plain in zip(linear.predict(trials.voxels), shrunk.predict(trials.voxels), strict=True):
        assert plain.std(axis=0).mean() < 0.95 * restored.std(axis=0).mean()


def test_a_constant_token_comes_out_as_it_is(weights, trials):
    _, c = weights.predict(trials.voxels)
    assert c[:, 0] == pytest.approx(np.broadcast_to(np.arange(5) - 2, (len(c), 5)), abs=1e-5)


def test_the_mean_trial_decodes_to_the_mean_picture(trials, blank_card):
    weights = fit_weights(trials, blank_card, FitSettings(LINEAR))
    z, c = weights.predict(weights.voxel_mean[None])
    assert z[0] == pytest.approx(trials.z[trials.picture_of_trial].mean(axis=0), abs=1e-4)
    assert c[0] == pytest.approx(trials.c[trials.picture_of_trial].mean(axis=0), abs=1e-4)


def test_z_reads_only_its_own_voxels(weights, trials):
    changed = trials.voxels.copy()
    changed[:, 60:] += 100
    assert np.array_equal(weights.predict(changed)[0], weights.predict(trials.voxels)[0])
    assert not np.array_equal(weights.predict(changed)[1], weights.predict(trials.voxels)[1])


@pytest.mark.parametrize("target", ["z", "c"])
def test_the_compiled_map_loses_at_most_half_a_percent_of_the_predicted_variance(trials, blank_card, target):
    profile = replace(LINEAR, restore_scale=False)
    weights = fit_weights(trials, blank_card, FitSettings(profile))
    positions = getattr(trials, f"{target}_positions")
    features = getattr(trials, target).reshape(len(trials.z), -1)
    z_scored = standardise(trials.voxels[:, positions])[0]
    folds = picture_folds(trials.picture_of_trial, 5, grouped=True)
    full = fit_ridge(z_scored, features, trials.picture_of_trial, profile.penalties, folds)
    exact = z_scored @ full.coefficients
    compiled = (
        weights.predict(trials.voxels)[0 if target == "z" else 1].reshape(len(exact), -1) - full.targets.value_at_mean
    )
    assert ((compiled - exact) ** 2).sum() / (exact**2).sum() <= 0.005 + 1e-4


def test_scales_are_pooled_and_bounded(trials):
    z_scored = standardise(trials.voxels)[0]
    folds = picture_folds(trials.picture_of_trial, 5, grouped=True)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(len(trials.z), 4))
    targets = np.concatenate([trials.c.reshape(len(trials.c), -1), noise], axis=1)
    ridge = fit_ridge(z_scored, targets, trials.picture_of_trial, PROFILES["live"].penalties, folds)
    scale = restored_scale(ridge, np.repeat(np.arange(5), [5, 5, 5, 5, 4]))
    assert (scale[:5] == 1).all()
    assert np.unique(scale[5:10]).size == 1
    assert (scale[5:20] > 1).all()
    assert (scale[5:20] < 2.5).all()
    assert (scale[20:] == 4).all()


def test_takagi_reproduces_the_published_choices(trials, blank_card):
    weights = fit_weights(trials, blank_card, FitSettings(profile_named("takagi")))
    z, c = weights.predict(trials.voxels)
    assert weights.card.profile == "takagi"
    assert weights.card.alphas_c[2] <= 1
    assert not PROFILES["takagi"].grouped
    # the released code fits no intercept: predictions lack the targets' mean, and constant tokens are 0
    assert z.mean(axis=0) == pytest.approx(0, abs=1e-3)
    assert c[:, 0] == pytest.approx(0, abs=1e-6)


def test_takagis_card_explains_its_failures(trials, blank_card, weights):
    text = model_card(fit_weights(trials, blank_card, FitSettings(profile_named("takagi"))))
    for words in ("It fits no intercept", "least squares", "does not restore the scale", "c decoder: `linear`"):
        assert words in text
        assert words not in model_card(weights)


def test_takagi_coefficients_are_those_of_least_squares(trials, blank_card):
    weights = fit_weights(trials, blank_card, FitSettings(profile_named("takagi"), max_discarded_variance=0.0))
    z_scored = standardise(trials.voxels[:, trials.z_positions])[0].astype(np.float64)
    solved = np.linalg.lstsq(z_scored, trials.z.reshape(len(trials.z), -1)[trials.picture_of_trial], rcond=None)[0]
    predicted = weights.predict(trials.voxels)[0].reshape(len(z_scored), -1)
    assert predicted == pytest.approx(z_scored @ solved, abs=0.05)


def test_the_card_tells_what_was_done(weights, trials, blank_card):
    card = weights.card
    assert (card.profile, card.folds, card.n_trials, card.n_pictures) == ("live", 5, 450, 150)
    assert 0 < card.rank_z <= 24
    assert 0 <= card.discarded_c <= 0.005
    assert card.alphas_z[0] <= card.alphas_z[1] <= card.alphas_z[2]
    assert card.scores["z_correlation"] > 0.5
    assert 0.3 < card.scores["c_std_ratio"] < 1
    assert card.subject == blank_card.subject
    text = model_card(weights)
    assert "Simulated data" in text
    assert weights.fingerprint in text
    assert "| ROIs | early | ventral |" in text
    assert "`linear`, the map below, is the default; `expected`" in text


def test_the_same_trials_give_the_same_file(weights, trials, blank_card):
    assert fit_weights(trials, blank_card, LIVE).fingerprint == weights.fingerprint


def test_progress_is_told(trials, blank_card):
    steps = []
    fit_weights(trials, blank_card, LIVE, progress=lambda *step: steps.append(step))
    assert [target for target, _ in steps] == sorted((target for target, _ in steps), reverse=True)
    shares = [share for _, share in steps]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_an_interrupted_fit_goes_on_and_leaves_nothing_behind(trials, blank_card, weights, tmp_path):
    def interrupt(target, share):
        if target == "c" and share > 0.5:
            raise KeyboardInterrupt

    settings = FitSettings(work=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit_weights(trials, blank_card, settings, progress=interrupt)
    (left,) = tmp_path.iterdir()
    assert {folder.name for folder in left.iterdir()} == {"z", "c"}
    # other trials do not go on from these
    other = replace(trials, voxels=trials.voxels + 1)
    assert np.isfinite(fit_weights(other, blank_card, settings).voxel_mean).all()
    assert list(tmp_path.iterdir()) == [left]
    assert fit_weights(trials, blank_card, settings).fingerprint == weights.fingerprint
    assert not list(tmp_path.iterdir())


def test_pictures_that_no_trial_shows_are_left_out(trials, blank_card, weights):
    z = np.concatenate([trials.z, 1000 + trials.z])
    c = np.concatenate([trials.c, 1000 + trials.c])
    more = fit_weights(replace(trials, z=z, c=c), blank_card, LIVE)
    assert more.fingerprint == weights.fingerprint


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"voxels": np.ones((3, 90), np.float32)}, "one row a trial"),
        ({"z": np.ones((150, 3, 3, 4), np.float32)}, "encode again"),
        ({"z": np.ones((7, 2, 3, 4), np.float32)}, "z of 7 pictures"),
        ({"c": np.full((150, 4, 5), np.nan, np.float32)}, "not finite"),
        ({"picture_of_trial": np.zeros(450, int)}, "too few for 5 folds"),
        ({"voxels": np.ones((450, 90), np.float32)}, "none of the .* voxels of z varies over the trials"),
        ({"voxels": np.full((450, 90), np.nan, np.float32)}, "90 of 90 voxels"),
    ],
)
def test_trials_that_cannot_be_fitted_are_refused_with_a_sentence(trials, blank_card, changes, sentence):
    with pytest.raises(FitError, match=sentence):
        fit_weights(replace(trials, **changes), blank_card, LIVE)


def test_a_profile_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(FitError, match="no fit profile named 'tagaki'; choose one of live, takagi"):
        profile_named("tagaki")


def test_a_profile_can_be_made_by_hand(trials, blank_card):
    profile = FitProfile(
        penalties=(100.0,), penalty_for="target", folds=3, grouped=True, intercept=True, restore_scale=False,
        prior=True, z_share=1.0,
    )  # fmt: skip
    card = fit_weights(trials, blank_card, FitSettings(profile)).card
    assert card.folds == 3
    assert card.alphas_z == (100.0, 100.0, 100.0)
