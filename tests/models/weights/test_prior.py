"""The c decoder `expected` reads the training captions: its choice, the formula, what it gains, and files."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from braind.models.fit import fit_weights
from braind.models.fit_profiles import PROFILES, FitSettings
from braind.models.ridge.picture_prior import principal_components
from braind.models.weights.weights import Weights, WeightsError


@pytest.fixture(scope="module")
def weights(trials, blank_card):
    return fit_weights(trials, blank_card, FitSettings())


@pytest.fixture(scope="module")
def expecting(weights):
    return weights.with_c_decoder("expected")


def test_c_is_decoded_by_its_linear_map_unless_expected_is_chosen(weights, expecting, trials):
    voxels = trials.voxels[:5]
    assert np.array_equal(weights.predict(voxels)[1].reshape(5, -1), weights.c.predict(voxels))
    assert np.array_equal(expecting.predict(voxels)[1].reshape(5, -1), weights.prior.expected(voxels))
    assert np.array_equal(expecting.predict(voxels)[0], weights.predict(voxels)[0])
    assert not np.allclose(expecting.predict(voxels)[1], weights.predict(voxels)[1], atol=0.1)


def test_the_choice_is_no_part_of_the_file(weights, expecting, tmp_path):
    assert expecting.to_bytes() == weights.to_bytes()
    expecting.save(tmp_path / "weights.safetensors")
    loaded = Weights.load(tmp_path / "weights.safetensors")
    assert (loaded.c_decoder, loaded.fingerprint) == ("linear", expecting.fingerprint)


def test_weights_without_a_prior_refuse_the_decoder_expected_with_a_sentence(trials, blank_card):
    takagi = fit_weights(trials, blank_card, FitSettings(PROFILES["takagi"]))
    assert takagi.with_c_decoder("linear").c_decoder == "linear"
    with pytest.raises(WeightsError, match="no prior over the training captions.*decode with --c-decoder linear") as e:
        takagi.with_c_decoder("expected")
    assert e.value.code == "c_decoder"


def test_principal_components_are_those_of_scikit_learn(trials):
    from sklearn.decomposition import PCA

    c = trials.c.reshape(len(trials.c), -1)
    for few in (c, c[:12]):  # more pictures than targets, and fewer
        scores, components, mean = principal_components(few)
        theirs = PCA(len(components)).fit(few)
        assert mean == pytest.approx(theirs.mean_, abs=1e-5)
        assert np.abs(np.sum(components * theirs.components_, axis=1)) == pytest.approx(1, abs=1e-4)
        assert scores @ components + mean == pytest.approx(few, abs=0.1 * float(few.std()))


def test_pictures_are_weighted_by_their_gaussian_likelihood(weights, trials):
    prior = weights.prior
    decoded = prior.scores.predict(trials.voxels[:3])
    expected = prior.pictures.astype(np.float64) * prior.gain
    for one, own in zip(decoded, prior.picture_weights(trials.voxels[:3]), strict=True):
        likelihood = multivariate_normal(one, np.diag(prior.noise.astype(np.float64) ** 2)).pdf(expected)
        assert own == pytest.approx(likelihood / likelihood.sum(), abs=1e-4)


def test_ridge_shrinks_towards_the_mean_over_trials(trials, blank_card):
    """Pictures shown unequally often: on the average a trial is decoded as gain × the mean score over trials."""
    often = trials.c.reshape(len(trials.c), -1)[:, 5] > np.median(trials.c.reshape(len(trials.c), -1)[:, 5])
    first = np.zeros(len(trials.voxels), bool)
    first[np.unique(trials.picture_of_trial, return_index=True)[1]] = True
    kept = first | often[trials.picture_of_trial]
    unequal = trials.of(kept)
    prior = fit_weights(unequal, blank_card, FitSettings()).prior
    mean_score = prior.pictures.astype(np.float64)[unequal.picture_of_trial].mean(axis=0)
    assert np.abs(mean_score).max() > 0.2
    decoded = prior.scores.predict(unequal.voxels).mean(axis=0)
    assert decoded == pytest.approx(prior.gain * mean_score, abs=0.02)


def test_expected_c_is_the_weighted_mean_of_the_training_pictures(expecting, trials):
    shown = trials.c.reshape(len(trials.c), -1)
    c = expecting.predict(trials.voxels[:5])[1].reshape(5, -1)
    assert c == pytest.approx(expecting.prior.picture_weights(trials.voxels[:5]) @ shown, abs=0.1 * float(shown.std()))


def test_unseen_trials_of_pictures_like_the_training_ones_gain(simulate, blank_card):
    """Captions come in kinds: with c in 12 clusters, what is expected beats the linear prediction."""
    trials = simulate(n_pictures=400)
    rng = np.random.default_rng(3)
    kinds = rng.integers(12, size=400)
    centres = rng.normal(size=(12, 20))
    c = centres[kinds] + 0.1 * rng.normal(size=(400, 20))
    signal = rng.normal(size=(20, 50))
    voxels = trials.voxels.copy()
    voxels[:, 40:] = 0.4 * c[trials.picture_of_trial] @ signal + 3 * rng.normal(size=(len(voxels), 50))
    seen = trials.picture_of_trial < 300
    training = replace(trials, voxels=voxels, c=c.reshape(400, 4, 5).astype(np.float32)).of(seen)
    errors = []
    weights = fit_weights(training, blank_card, FitSettings())
    for c_decoder in ("expected", "linear"):
        decoded = weights.with_c_decoder(c_decoder).predict(voxels[~seen])[1].reshape(-1, 20)
        errors.append(((decoded - c[trials.picture_of_trial[~seen]]) ** 2).mean())
    assert errors[0] < 0.8 * errors[1]


def test_a_file_keeps_the_prior(expecting, trials, tmp_path):
    expecting.save(tmp_path / "weights.safetensors")
    loaded = Weights.load(tmp_path / "weights.safetensors").with_c_decoder("expected")
    assert np.array_equal(loaded.predict(trials.voxels)[1], expecting.predict(trials.voxels)[1])


def test_a_fit_without_prior_has_none(trials, blank_card, tmp_path):
    linear = fit_weights(trials, blank_card, FitSettings(replace(PROFILES["live"], prior=False)))
    linear.save(tmp_path / "weights.safetensors")
    assert Weights.load(tmp_path / "weights.safetensors").prior is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"gain": np.ones(3, np.float32)}, "prior.gain has shape"), ({"noise": 0.0}, "noise above 0"),
     ({"mean": np.nan}, "prior.mean holds numbers that are not finite")],
)  # fmt: skip
def test_a_damaged_prior_is_refused(weights, change, sentence):
    change = {name: value if isinstance(value, np.ndarray) else np.full_like(getattr(weights.prior, name), value)
              for name, value in change.items()}  # fmt: skip
    with pytest.raises(WeightsError, match=sentence):
        replace(weights, prior=replace(weights.prior, **change), fingerprint="")
