"""The prior's adaptation and drift, chosen from simulated runs whose truth is known."""

import numpy as np
import pytest
from block_runs import class_runs, finals_of, prior_of, run_of

from braind.models.bold.baseline import BASELINES, choose_baseline, labelled_estimates
from braind.models.bold.finished_run import FinishedRun
from braind.models.bold.fit_prior import fit_prior
from braind.models.bold.label_decoder import fit_label_decoder
from braind.models.fit_profiles import FitError

N_VOXELS = 40


def patterns_of(n_classes=4, seed=0, size=0.7, n_voxels=N_VOXELS):
    return np.random.default_rng(seed).normal(1, size, (n_classes, n_voxels))


def moved(run, onsets_s):
    return FinishedRun(run.volumes, onsets_s, run.tr_s, durations_s=run.durations_s, labels=run.labels)


def walking(rng, std):
    """Return a random walk of each voxel with steps of `std` % a second."""

    def baseline(times_s):
        steps = rng.normal(0, std * np.sqrt(np.diff(times_s, prepend=0.0))[:, None], (len(times_s), N_VOXELS))
        return np.cumsum(steps, axis=0)

    return baseline


@pytest.mark.parametrize(("truth", "at_least", "at_most"), [(0.0, 0.0, 0.025), (0.1, 0.07, 0.14)])
def test_the_adaptation_of_long_blocks_is_learned(truth, at_least, at_most):
    rng = np.random.default_rng(0)
    onsets_s = 10 + 45.0 * np.arange(6)
    runs = [
        run_of(onsets_s, np.full(6, 25.0), rng.normal(2, 1, (6, N_VOXELS)), rng, adaptation_rate=truth)
        for _ in range(2)
    ]
    assert at_least <= fit_prior(runs).adaptation_rate <= at_most


def test_short_trials_teach_no_adaptation():
    rng = np.random.default_rng(1)
    onsets_s = 10 + 15.0 * np.arange(12)
    runs = [
        run_of(onsets_s, np.full(12, 3.0), rng.normal(2, 1, (12, N_VOXELS)), rng, adaptation_rate=0.2) for _ in range(2)
    ]
    assert fit_prior(runs).adaptation_rate == 0
    without_durations = [FinishedRun(run.volumes, run.onsets_s, run.tr_s) for run in runs]
    assert fit_prior(without_durations).adaptation_rate == 0


def test_a_walking_baseline_is_followed_and_a_constant_one_is_kept():
    rng = np.random.default_rng(2)
    prior = prior_of(N_VOXELS, amplitude_variance=10.0)
    still = choose_baseline(class_runs(4, patterns_of(), seed=3, noise=1.0, spread=1.0), prior)
    restless = choose_baseline(class_runs(4, patterns_of(), seed=3, baseline=walking(rng, 0.3)), prior)
    assert still.drift_variance == still.slope_variance == 0
    assert restless.drift_variance > 0


def test_of_equally_good_baselines_the_stiffest_is_taken():
    dead = [
        FinishedRun(np.zeros_like(run.volumes), run.onsets_s, run.tr_s, durations_s=run.durations_s, labels=run.labels)
        for run in class_runs(3, patterns_of())
    ]
    found = choose_baseline(dead, prior_of(N_VOXELS))
    assert {name: getattr(found, name) for name in BASELINES[0]} == BASELINES[0]


def test_labelled_estimates_hold_every_estimate_of_a_trial_and_finals_alone_on_demand():
    first, second = class_runs(2, patterns_of())
    second = second.with_labels(("", *second.labels[1:]))
    prior = prior_of(N_VOXELS)
    estimates, finals = (labelled_estimates([first, second], prior, finals_only=only) for only in (False, True))
    assert estimates.classes == ("class-0", "class-1", "class-2", "class-3")
    assert len(finals.class_of) == 7  # one trial's class is not known
    assert np.bincount(finals.trial_of).tolist() == [1] * 7
    assert (np.bincount(estimates.trial_of) >= 9).all()
    assert np.bincount(finals.run_of).tolist() == [4, 3]
    names = [estimates.classes[number] for number in finals.class_of]
    assert names == [*first.labels, *second.labels[1:]]
    assert np.array_equal(finals.voxels[0], finals_of(first, prior)[0].betas)


def test_a_voxel_that_is_dead_in_one_run_has_its_mean_of_the_other_runs_there():
    first, second = class_runs(2, patterns_of())
    second.volumes[:, :7] = 0
    estimates = labelled_estimates([first, second], prior_of(N_VOXELS), finals_only=True)
    of_first, of_second = (estimates.voxels[estimates.run_of == number, :7] for number in (0, 1))
    assert of_second == pytest.approx(np.tile(of_first.mean(axis=0), (4, 1)), abs=1e-5)


def test_a_label_decoder_decodes_new_runs_and_its_probabilities_are_calibrated():
    patterns = patterns_of(6, size=0.25)
    decoder = fit_label_decoder(class_runs(10, patterns, seed=4, spread=0.6))
    assert decoder.classes == tuple(f"class-{number}" for number in range(6))
    right, best = [], []
    for run in class_runs(30, patterns, seed=5, spread=0.6):
        for event, final in finals_of(run, decoder.prior).items():
            probabilities = decoder.probabilities(final)
            assert probabilities.sum() == pytest.approx(1)
            right.append(decoder.classes[probabilities.argmax()] == run.labels[event])
            best.append(probabilities.max())
    assert 0.35 < np.mean(right) < 0.9
    assert np.mean(best) == pytest.approx(np.mean(right), abs=0.1)


def test_dead_voxels_in_a_decoded_run_cost_little():
    patterns = patterns_of(4, size=0.5)
    decoder = fit_label_decoder(class_runs(5, patterns, seed=6))

    def accuracy(n_dead):
        right = []
        for run in class_runs(8, patterns, seed=7):
            run.volumes[:, np.random.default_rng(8).choice(N_VOXELS, n_dead, replace=False)] = 0
            for event, final in finals_of(run, decoder.prior).items():
                right.append(decoder.classes[decoder.probabilities(final).argmax()] == run.labels[event])
        return np.mean(right)

    assert accuracy(0) > 0.9
    assert accuracy(10) > accuracy(0) - 0.1
    assert accuracy(N_VOXELS) < 0.5


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("no trial with a class has an estimate", [()] * 3),
        ("occur in one run only", [("class-0", "class-1")] + [()] * 2),
        ("class 'class-1' occurs in no training run", [("class-0",)] * 3),
        ("class 'class-1' occurs in one training run only", [("class-0", "class-1")] + [("class-0",)] * 2),
    ],
)
def test_trials_that_the_runs_end_cuts_off_teach_no_class_and_the_error_says_so(wanted, names):
    """`names`: by run, the classes whose blocks are in the run; all other blocks begin after its end."""
    runs = class_runs(3, patterns_of(2))
    cut = [
        moved(run, np.where([label in kept for label in run.labels], run.onsets_s, 1e4))
        for run, kept in zip(runs, names, strict=True)
    ]
    with pytest.raises(FitError, match=wanted):
        fit_label_decoder(cut)


def test_one_labelled_run_or_one_class_leaves_the_drift_to_the_likelihood():
    runs = class_runs(2, patterns_of(2))
    alone = fit_prior(runs)
    one_class = [run.with_labels(("class-0",) * len(run.labels)) for run in runs]
    for labelled in ([], runs[:1], one_class):
        found = fit_prior(runs, labelled=labelled)
        for name in ("drift_variance", "slope_variance", "first_slope_variance"):
            assert getattr(found, name) == getattr(alone, name)
