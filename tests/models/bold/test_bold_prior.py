"""The BOLD prior: voxels without signal, runs that are too short, and misaligned volumes."""

from dataclasses import replace

import numpy as np
import pytest

from braind.models.bold.estimator import StreamingError
from braind.models.bold.finished_run import FinishedRun, estimates_of
from braind.models.bold.fit_prior import SETTLING_VOLUMES, fit_prior
from braind.models.weights.bold_prior import BoldPrior, spatial_correlation

TR_S = 2.0


def make_run(n_volumes=40, seed=0, dead=()):
    """Noise of 1 % about 1000; `dead` voxels are 0 throughout."""
    rng = np.random.default_rng(seed)
    volumes = (1000 * (1 + 0.01 * rng.normal(size=(n_volumes, 12)))).astype(np.float32)
    volumes[:, list(dead)] = 0
    return FinishedRun(volumes, np.arange(6.0, 60.0, 8.0), TR_S)


def test_a_prior_of_runs_with_dead_voxels_can_be_used():
    prior = fit_prior([make_run(seed=seed, dead=(3, 7)) for seed in range(2)])
    prior.check()
    for tensor in prior.tensors().values():
        assert np.isfinite(tensor).all()
    assert prior.amplitude_mean[[3, 7]].tolist() == [0, 0]


def test_a_dead_voxel_changes_no_other_voxels_prior():
    alive = fit_prior([make_run()])
    with_dead = fit_prior([make_run(dead=(3,))])
    others = np.delete(np.arange(12), 3)
    assert np.array_equal(with_dead.hrf_of_voxel[others], alive.hrf_of_voxel[others])
    assert with_dead.noise_std[others] == pytest.approx(alive.noise_std[others], rel=0.1)


def test_runs_that_are_too_short_to_settle_are_refused():
    with pytest.raises(StreamingError, match="no BOLD run has more than 12 volumes"):
        fit_prior([make_run(n_volumes=SETTLING_VOLUMES)])


def test_a_run_without_trials_still_teaches_the_noise():
    prior = fit_prior([replace(make_run(n_volumes=80), onsets_s=np.zeros(0))])
    assert prior.amplitude_mean.tolist() == [0] * 12
    assert prior.noise_std.mean() == pytest.approx(1, rel=0.3)


def test_a_prior_comes_back_from_its_tensors():
    prior = fit_prior([make_run()])
    back = BoldPrior.of_tensors(prior.tensors())
    assert vars(back).keys() == vars(prior).keys()
    for name, value in vars(prior).items():
        assert np.array_equal(getattr(back, name), value), name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hrf_of_voxel": np.array([0, 5, 2])}, "responses other than 0 to 4"),
        ({"hrf_of_voxel": np.array([0, -1, 2])}, "responses other than 0 to 4"),
        ({"noise_std": np.array([1.0, 0.0, 1.0], np.float32)}, "must be above 0"),
        ({"amplitude_variance": 0.0}, "must be above 0"),
        ({"drift_variance": -1e-9}, "must be above 0"),
    ],
)
def test_a_prior_that_no_run_can_be_estimated_with_is_refused(changes, words):
    BoldPrior.vague(3).check()
    with pytest.raises(ValueError, match=words):
        replace(BoldPrior.vague(3), **changes).check()


def test_spatial_correlation_is_numpys_and_0_for_a_constant_volume():
    rng = np.random.default_rng(1)
    first, second = rng.normal(1000, 50, (2, 300)).astype(np.float32)
    assert spatial_correlation(first, second) == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-6)
    assert spatial_correlation(first, np.full(300, 7.0, np.float32)) == 0


def test_without_a_reference_no_volume_is_misaligned():
    assert not BoldPrior.vague(5).is_misaligned(np.arange(5.0))


def test_progress_of_a_prior_counts_every_fit():
    steps = []
    fit_prior([make_run()], lambda *step: steps.append(step))
    n_steps = 1 + 5 + 12
    assert [done for _, done, _ in steps] == list(range(1, n_steps + 1))
    assert {total for *_, total in steps} == {n_steps}


def test_durations_reach_the_estimator():
    run = make_run(n_volumes=60)
    short = replace(run, durations_s=np.full(len(run.onsets_s), 0.5))
    long = replace(run, durations_s=np.full(len(run.onsets_s), 12.0))
    first, second = (next(iter(estimates_of(one, BoldPrior.vague(12)))) for one in (short, long))
    assert first.event_number == second.event_number == 0
    assert not np.allclose(first.betas, second.betas)
