"""Events of any duration: when they are estimated, when they are final, and how they come apart."""

import numpy as np
import pytest
from block_runs import TR_S, finals_of, prior_of, run_of

from braind.models.bold.estimator import FINAL_AFTER_END_S, FIRST_ESTIMATE_S, CausalEstimator
from braind.models.bold.finished_run import FinishedRun, estimates_of
from braind.models.bold.kalman_filter import N_TRIAL_SLOTS


def correlation(finals, betas):
    return np.corrcoef(np.ravel([finals[event].betas for event in range(len(betas))]), betas.ravel())[0, 1]


@pytest.mark.parametrize("duration_s", [0.0, 1e-4, 3.0, 22.5, 61.0])
def test_an_event_is_estimated_from_4_s_after_onset_until_8_s_after_its_end(duration_s):
    rng = np.random.default_rng(0)
    run = run_of([7.0], [duration_s], rng.normal(1, 1, (1, 20)), rng)
    found = list(estimates_of(run, prior_of(20)))
    times_s = np.arange(len(run.volumes)) * TR_S - 7.0
    first, last = (np.flatnonzero(times_s >= after_s)[0] for after_s in (FIRST_ESTIMATE_S, duration_s + 8.0))
    assert [one.since_onset_s for one in found] == pytest.approx(times_s[first : last + 1])
    assert [one.is_final for one in found] == [False] * (last - first) + [True]


def test_a_block_that_the_runs_end_cuts_off_is_final_then():
    rng = np.random.default_rng(1)
    whole = run_of([10.0, 40.0], [22.5, 22.5], rng.normal(1, 1, (2, 20)), rng)
    cut = FinishedRun(whole.volumes[:21], whole.onsets_s, TR_S, durations_s=whole.durations_s)  # 50 s
    estimator = CausalEstimator(TR_S, prior_of(20))
    cut.add_events(estimator)
    for _ in cut.add_volumes(estimator):
        last = estimator.current_estimates()
    (final,) = estimator.finish()
    assert (final.event_number, final.is_final, final.since_onset_s) == (1, True, 10.0)
    (provisional,) = last
    assert not provisional.is_final
    assert (provisional.betas == final.betas).all()


def test_overlapping_events_of_different_durations_come_apart():
    rng = np.random.default_rng(2)
    onsets_s, durations_s = [10.0, 14.0, 20.0, 45.0, 50.0, 51.0], [30.0, 3.0, 12.0, 0.0, 22.5, 8.0]
    betas = rng.normal(1, 1, (6, 40))
    finals = finals_of(run_of(onsets_s, durations_s, betas, rng, noise=0.02), prior_of(40, drift_variance=0.0))
    assert correlation(finals, betas) > 0.97


def test_two_events_at_one_time_share_their_response():
    rng = np.random.default_rng(3)
    betas = rng.normal(1, 1, (2, 30))
    run = run_of([15.0, 15.0], [20.0, 20.0], betas, rng, noise=0.02)
    finals = finals_of(run, prior_of(30, drift_variance=0.0))
    assert (finals[0].betas == finals[1].betas).all()
    assert (finals[0].betas + finals[1].betas) == pytest.approx(betas.sum(axis=0), abs=0.2)
    assert finals[0].uncertainty > 0.4  # half of the sum is all that is known


def test_two_events_that_begin_together_and_end_apart_come_apart():
    rng = np.random.default_rng(4)
    betas = rng.normal(1, 1, (2, 30))
    finals = finals_of(run_of([15.0, 15.0], [40.0, 3.0], betas, rng, noise=0.02), prior_of(30, drift_variance=0.0))
    assert correlation(finals, betas) > 0.97


def test_an_hour_long_event_keeps_its_slot_beside_many_short_ones():
    rng = np.random.default_rng(5)
    n_short = N_TRIAL_SLOTS + 16
    onsets_s = np.concatenate([[0.0], 20 + 5.0 * np.arange(n_short)])
    durations_s = np.concatenate([[3600.0], np.full(n_short, 3.0)])
    betas = rng.normal(1, 1, (n_short + 1, 10))
    run = run_of(onsets_s, durations_s, betas, rng, noise=0.1, tail_s=-3100.0)
    estimator = CausalEstimator(TR_S, prior_of(10, drift_variance=0.0))
    run.add_events(estimator)
    finals = {}
    for index in run.add_volumes(estimator):
        current = {one.event_number: one for one in estimator.current_estimates()}
        assert (0 in current) == (index * TR_S >= FIRST_ESTIMATE_S)
        finals |= {number: one for number, one in current.items() if one.is_final}
    assert sorted(finals) == list(range(1, n_short + 1))
    assert [one.event_number for one in estimator.finish()] == [0]
    assert estimator.estimate(1) is None  # ended first
    assert estimator.estimate(n_short) is not None
    found = np.array([finals[number].betas for number in range(1, n_short + 1)])
    assert np.corrcoef(found.ravel(), betas[1:].ravel())[0, 1] > 0.95


def test_an_event_that_began_before_the_run_is_estimated_with_the_volumes_that_there_are():
    rng = np.random.default_rng(6)
    betas = rng.normal(1, 1, (2, 30))
    run = run_of([-5.0, 60.0], [25.0, 20.0], betas, rng, noise=0.02)
    found = [one for one in estimates_of(run, prior_of(30)) if one.event_number == 0]
    assert found[0].since_onset_s == 5.0
    assert found[-1].is_final
    assert found[-1].since_onset_s >= 25 + FINAL_AFTER_END_S
    assert np.isfinite(found[-1].betas).all()


def test_a_response_that_adapts_is_estimated_under_a_prior_that_adapts():
    rng = np.random.default_rng(7)
    betas = rng.normal(1, 1, (5, 40))
    run = run_of(10 + 45.0 * np.arange(5), np.full(5, 30.0), betas, rng, noise=0.05, adaptation_rate=0.1)
    errors = {
        rate: np.square(np.array([one.betas for one in finals_of(run, prior_of(40, adaptation_rate=rate)).values()])
                        - betas).mean()
        for rate in (0.0, 0.1)
    }  # fmt: skip
    assert errors[0.1] < 0.02 < 0.2 < errors[0.0]


def test_the_same_events_and_volumes_give_the_same_bits():
    rng = np.random.default_rng(8)
    run = run_of([10.0, 14.0, 50.0], [30.0, 3.0, 0.0], rng.normal(1, 1, (3, 70)), rng)
    prior = prior_of(70, adaptation_rate=0.07)
    for first, second in zip(estimates_of(run, prior), estimates_of(run, prior), strict=True):
        assert first.betas.tobytes() == second.betas.tobytes()
        assert first.std.tobytes() == second.std.tobytes()
        assert first.uncertainty == second.uncertainty
