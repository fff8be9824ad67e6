"""Voxels without signal: they say nothing, spoil nothing, and are never NaN."""

import numpy as np
import pytest
from block_runs import finals_of, prior_of, run_of

from braind.models.bold.finished_run import FinishedRun, estimates_of
from braind.models.bold.fit_prior import fit_prior
from braind.models.weights.bold_prior import without_signal

N_VOXELS, N_DEAD = 200, 37
HALF = 50


@pytest.fixture(scope="module")
def run():
    rng = np.random.default_rng(0)
    onsets_s = 10 + 32.5 * np.arange(7)
    return run_of(onsets_s, np.full(7, 20.0), rng.normal(1, 1, (7, N_VOXELS)), rng)


@pytest.fixture(scope="module")
def dead():
    return np.sort(np.random.default_rng(1).choice(N_VOXELS, N_DEAD, replace=False))


@pytest.fixture(scope="module")
def whole(run):
    return finals_of(run, prior_of(N_VOXELS))


def finals_with(run, change, prior=None):
    """Return the final estimates of a run whose volumes, (n_volumes, n_voxels), are changed in place."""
    volumes = run.volumes.copy()
    change(volumes)
    changed = FinishedRun(volumes, run.onsets_s, run.tr_s, durations_s=run.durations_s)
    finals = finals_of(changed, prior or prior_of(N_VOXELS))
    for final in finals.values():
        for numbers in (final.betas, final.std, final.uncertainty):
            assert np.isfinite(numbers).all()
    return finals


def zero(voxels, volumes=slice(None), value=0.0):
    def change(signal):
        signal[volumes, voxels] = value

    return change


def betas_of(finals, voxels):
    return np.array([finals[event].betas[voxels] for event in sorted(finals)])


@pytest.mark.parametrize(
    ("volumes", "value"),
    [(slice(None), 0.0), (slice(None), 3.0), (slice(None), -5.0), (slice(HALF, None), 0.0), (slice(HALF), 0.0)],
    ids=["zero", "nearly zero", "negative", "lost in mid-run", "late"],
)
def test_the_other_voxels_estimates_keep_their_bits(run, dead, whole, volumes, value):
    finals = finals_with(run, zero(dead, volumes, value))
    others = np.setdiff1d(np.arange(N_VOXELS), dead)
    assert np.array_equal(betas_of(finals, others), betas_of(whole, others))


def test_a_voxel_without_signal_has_the_priors_mean_and_is_named(run, dead):
    for final in finals_with(run, zero(dead)).values():
        assert np.flatnonzero(~final.has_signal).tolist() == dead.tolist()
        assert final.betas[dead] == pytest.approx(1.0)


def test_a_voxel_that_loses_its_signal_keeps_its_earlier_estimates_and_has_the_priors_mean_later(run, dead, whole):
    finals = finals_with(run, zero(dead, slice(HALF, None)))
    assert (finals[0].betas == whole[0].betas).all()
    last = finals[6]
    assert last.has_signal.all()
    assert last.betas[dead] == pytest.approx(1.0, abs=0.2)


def test_a_voxel_that_gains_its_signal_late_is_estimated_from_then_on(run, dead, whole):
    finals = finals_with(run, zero(dead, slice(HALF)))
    assert finals[0].betas[dead] == pytest.approx(1.0, abs=0.2)
    assert not finals[0].has_signal[dead].any()
    assert finals[6].has_signal.all()
    assert np.corrcoef(finals[6].betas[dead], whole[6].betas[dead])[0, 1] > 0.95


@pytest.mark.parametrize("value", [0.0, 777.0], ids=["zero", "equal"])
def test_a_first_volume_without_a_brain_costs_little(run, whole, value):
    finals = finals_with(run, zero(slice(None), slice(1), value))
    every = slice(None)
    assert np.corrcoef(betas_of(finals, every).ravel(), betas_of(whole, every).ravel())[0, 1] > 0.999


@pytest.mark.parametrize("value", [0.0, 500.0], ids=["zero", "equal"])
def test_a_run_without_a_brain_has_the_priors_mean(run, value):
    finals = finals_with(run, zero(slice(None), slice(None), value))
    assert len(finals) == 7
    for final in finals.values():
        assert not final.has_signal.any()
        assert final.betas == pytest.approx(1.0)


def test_a_run_that_loses_every_voxel_for_a_while_goes_on(run, whole):
    finals = finals_with(run, zero(slice(None), slice(40, 44)))
    later = [6]
    for event in later:
        assert np.corrcoef(finals[event].betas, whole[event].betas)[0, 1] > 0.99


def test_a_voxel_near_the_threshold_is_finite_and_moves_the_others_little(run, dead, whole):
    rng = np.random.default_rng(2)

    def flicker(volumes):
        volumes[:, dead] = rng.uniform(20, 130, (len(volumes), N_DEAD))

    finals = finals_with(run, flicker)
    others = np.setdiff1d(np.arange(N_VOXELS), dead)
    assert np.corrcoef(betas_of(finals, others).ravel(), betas_of(whole, others).ravel())[0, 1] > 0.99


def test_one_voxel_is_a_brain_too():
    rng = np.random.default_rng(3)
    run = run_of([10.0], [20.0], np.array([[2.0]]), rng, noise=0.01)
    (final,) = finals_of(run, prior_of(1, drift_variance=0.0)).values()
    assert final.has_signal.all()
    assert final.betas == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        ([1000, 900, 1100, 0], [0, 0, 0, 1]),
        ([1000, 900, 1100, 30], [0, 0, 0, 1]),
        ([1000, 900, 1100, 90], [0, 0, 0, 0]),
        ([1000, 900, 1100, -900], [0, 0, 0, 1]),
        ([0, 0, 0, 0], [1, 1, 1, 1]),
        ([700, 700, 700, 700], [1, 1, 1, 1]),
        ([-3, -2, -1, -9], [1, 1, 1, 1]),
        ([700], [0]),
        ([0], [1]),
    ],
)
def test_which_voxels_have_no_signal(volume, expected):
    assert without_signal(np.array(volume, np.float32)).tolist() == [bool(one) for one in expected]


def test_a_prior_learned_with_dead_voxels_is_usable_and_leaves_the_others_as_they_are(run, dead):
    volumes = run.volumes.copy()
    volumes[:, dead] = 0
    volumes[HALF:, dead[:5]] = 900
    spoiled = FinishedRun(volumes, run.onsets_s, run.tr_s, durations_s=run.durations_s)
    prior, wanted = fit_prior([spoiled]), fit_prior([run])
    prior.check()
    others = np.setdiff1d(np.arange(N_VOXELS), dead)
    assert all(np.isfinite(tensor).all() for tensor in prior.tensors().values())
    assert np.corrcoef(prior.amplitude_mean[others], wanted.amplitude_mean[others])[0, 1] > 0.98
    for one in estimates_of(run, prior):
        assert np.isfinite(one.betas).all()
