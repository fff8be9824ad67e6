"""Classes from estimates: what is refused, odd data, and probabilities that say how often they are right."""

from dataclasses import replace

import numpy as np
import pytest

from braind.models.fit_profiles import FitError
from braind.models.label_fit import LabelledEstimates, fit_label_map


def estimates_of(n_runs=4, n_classes=3, repeats=6, n_voxels=20, noise=1.0, seed=0):
    """Return one estimate a trial: a pattern of the class, the same for every seed, and noise."""
    patterns = np.random.default_rng(99).normal(size=(n_classes, n_voxels))
    class_of = np.tile(np.repeat(np.arange(n_classes), repeats), n_runs)
    voxels = patterns[class_of] + noise * np.random.default_rng(seed).normal(size=(len(class_of), n_voxels))
    run_of = np.repeat(np.arange(n_runs), n_classes * repeats)
    names = tuple(f"class-{number}" for number in range(n_classes))
    return LabelledEstimates(names, voxels.astype(np.float32), class_of, run_of, np.arange(len(class_of)))


def chosen(estimates, rows):
    trial_of = np.unique(estimates.trial_of[rows], return_inverse=True)[1]
    arrays = (estimates.voxels[rows], estimates.class_of[rows], estimates.run_of[rows], trial_of)
    return LabelledEstimates(estimates.classes, *arrays)


def probabilities_of(fitted, voxels):
    found = np.array([fitted.map.probabilities(one) for one in voxels])
    assert np.isfinite(found).all()
    assert found.sum(axis=1) == pytest.approx(1)
    return found


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (lambda own: own.run_of < 0, "no trial with a class has an estimate: give runs that go on for 4 s"),
        (lambda own: own.run_of == 1, "the classes occur in one run only; labels are cross-validated over runs: give"),
        (
            lambda own: (own.class_of < 2) | (own.run_of == 3),
            "class 'class-2' occurs in one training run only; show it",
        ),
        (lambda own: own.class_of < 2, "class 'class-2' occurs in no training run that goes on for 4 s"),
    ],
)
def test_estimates_that_cannot_be_cross_validated_are_refused(rows, sentence):
    own = estimates_of()
    with pytest.raises(FitError, match=sentence):
        fit_label_map(chosen(own, rows(own)))


def test_one_class_is_refused():
    with pytest.raises(FitError, match="the trials are of one class, class-0; give trials of two or more"):
        fit_label_map(estimates_of(n_classes=1))


@pytest.mark.parametrize(
    ("n_runs", "n_classes", "repeats", "n_voxels", "noise"),
    [(5, 8, 6, 60, 4.0), (5, 2, 10, 10, 4.0), (12, 3, 4, 20, 4.0), (6, 300, 1, 50, 1.0), (4, 300, 1, 700, 4.0)],
)
def test_the_mean_probability_of_the_best_class_is_the_accuracy(n_runs, n_classes, repeats, n_voxels, noise):
    fitted = fit_label_map(estimates_of(n_runs, n_classes, repeats, n_voxels, noise, seed=1))
    new = estimates_of(max(2, 1500 // (n_classes * repeats)), n_classes, repeats, n_voxels, noise, seed=2)
    probabilities = probabilities_of(fitted, new.voxels)
    accuracy = (probabilities.argmax(axis=1) == new.class_of).mean()
    assert accuracy > 1.1 / n_classes
    assert probabilities.max(axis=1).mean() == pytest.approx(accuracy, abs=0.08)


def test_cross_validated_scores_are_those_of_new_data():
    fitted = fit_label_map(estimates_of(8, noise=3.0, seed=1))
    new = estimates_of(60, noise=3.0, seed=2)
    probabilities = probabilities_of(fitted, new.voxels)
    own = probabilities[np.arange(len(new.class_of)), new.class_of]
    assert fitted.scores["labels_top1"] == pytest.approx((probabilities.argmax(axis=1) == new.class_of).mean(), abs=0.1)
    assert fitted.scores["labels_log_loss"] == pytest.approx(-np.log(own).mean(), abs=0.2)


def test_classes_without_a_pattern_are_decoded_at_chance_and_the_probabilities_say_so():
    own = estimates_of(8)
    noise = np.random.default_rng(3).normal(size=own.voxels.shape).astype(np.float32)
    fitted = fit_label_map(replace(own, voxels=noise))
    assert fitted.scores["labels_top1"] < 0.5
    assert probabilities_of(fitted, noise).max(axis=1).mean() < 0.5


def test_a_class_that_is_missing_in_a_folds_training_runs_is_still_decoded():
    own = estimates_of(14)  # 14 runs in 12 folds: one fold holds out both runs of the class
    fitted = fit_label_map(chosen(own, (own.class_of < 2) | np.isin(own.run_of, (0, 12))))
    new = estimates_of(4, seed=5)
    assert (probabilities_of(fitted, new.voxels).argmax(axis=1) == new.class_of).mean() > 0.9


@pytest.mark.parametrize("n_voxels", [1, 2])
def test_few_voxels_are_enough_to_fit(n_voxels):
    own = estimates_of(n_voxels=n_voxels, noise=0.2)
    probabilities_of(fit_label_map(own), own.voxels)


@pytest.mark.parametrize("n_voxels", [20, 200])  # fewer and more than trials
def test_constant_voxels_say_nothing(n_voxels):
    own = estimates_of(n_voxels=n_voxels)
    fitted = fit_label_map(replace(own, voxels=np.full_like(own.voxels, 3)))
    assert probabilities_of(fitted, own.voxels) == pytest.approx(np.full((len(own.voxels), 3), 1 / 3), abs=1e-3)
    own.voxels[:, : n_voxels // 2] = 3
    fitted = fit_label_map(own)
    assert fitted.scores["labels_top1"] > 0.9
    assert (fitted.map.scores.left[: n_voxels // 2] == 0).all()


def test_voxels_that_vary_in_one_run_only_do_not_spoil_the_folds():
    own = estimates_of(n_voxels=200)
    own.voxels[own.run_of != 0] = 3
    probabilities_of(fit_label_map(own), own.voxels)


def test_an_imbalance_of_classes_is_in_the_probabilities():
    own = estimates_of(6, n_classes=2, repeats=10)
    rows = (own.class_of == 0) | (np.arange(len(own.class_of)) % 10 == 0)
    noise = np.random.default_rng(4).normal(size=own.voxels.shape).astype(np.float32)
    fitted = fit_label_map(chosen(replace(own, voxels=noise), rows))
    assert fitted.map.probabilities(np.zeros(20, np.float32))[0] > 0.6


def test_a_trial_of_many_estimates_weighs_as_one():
    own = estimates_of(5, noise=2.0)
    often = np.repeat(np.arange(len(own.class_of)), 7)
    repeated = LabelledEstimates(
        own.classes, own.voxels[often], own.class_of[often], own.run_of[often], own.trial_of[often]
    )
    assert fit_label_map(repeated).scores["labels_top1"] == pytest.approx(
        fit_label_map(own).scores["labels_top1"], abs=0.06
    )


def test_the_same_estimates_give_the_same_map():
    own = estimates_of(noise=2.0)
    first, second = fit_label_map(own).map.tensors(), fit_label_map(own).map.tensors()
    assert all(np.array_equal(first[name], second[name]) for name in first)
