"""Causal estimates: overlapping trials against known responses, gaps, spikes, uncertainty, and the prior's learning."""

from dataclasses import replace

import numpy as np
import pytest

from braind.models.bold.estimator import FINAL_AFTER_END_S, HRF_SHIFTS_S, CausalEstimator, StreamingError
from braind.models.bold.finished_run import FinishedRun, estimates_of
from braind.models.bold.fit_prior import fit_prior, with_reference
from braind.models.bold.hrf import response
from braind.models.bold.kalman_filter import N_TRIAL_SLOTS
from braind.models.weights.bold_prior import BoldPrior

FINAL_S = 3 + FINAL_AFTER_END_S
TR_S = 4 / 3


def simulate(n_trials=40, n_voxels=50, noise=0.3, shifts_s=0.0, seed=0):
    """A run of overlapping trials: raw signal (n_volumes, n_voxels), onsets, true responses in % of the baseline."""
    rng = np.random.default_rng(seed)
    onsets_s = 4.0 * np.sort(rng.choice(np.arange(3, n_trials * 5 // 4 + 3), n_trials, replace=False))
    times_s = np.arange(int((onsets_s[-1] + 16) / TR_S)) * TR_S
    betas = rng.normal(1.0, 1.0, (n_trials, n_voxels))
    shifts_s = np.broadcast_to(shifts_s, n_voxels)
    percent = noise * rng.normal(size=(len(times_s), n_voxels))
    for onset_s, beta in zip(onsets_s, betas, strict=True):
        percent += beta * response(times_s[:, None] - onset_s - shifts_s, 3.0)
    percent += np.outer(np.sin(times_s / 60), rng.normal(0, 0.5, n_voxels))
    return (rng.uniform(500, 1500, n_voxels) * (1 + percent / 100)).astype(np.float32), onsets_s, betas


def prior_of(n_voxels, **settings):
    return BoldPrior(
        np.full(n_voxels, HRF_SHIFTS_S.index(0.0)), np.ones(n_voxels, np.float32), np.full(n_voxels, 0.3, np.float32),
        **{"amplitude_variance": 10.0, "drift_variance": 0.01, **settings},
    )  # fmt: skip


def stream(signal, onsets_s, prior=None, missing=(), motion=None):
    """Feed a run as a scanner would; return the estimator, and every trial's estimates by event."""
    estimator = CausalEstimator(TR_S, prior or prior_of(signal.shape[1]))
    estimates, announced, flags = {}, 0, []
    for index, volume in enumerate(signal):
        while announced < len(onsets_s) and onsets_s[announced] <= index * TR_S:
            estimator.add_event(announced, onsets_s[announced])
            announced += 1
        if index not in missing:
            estimator.add_volume(index, volume, None if motion is None else motion[index])
            flags.append(estimator.flags)
            for estimate in estimator.current_estimates():
                estimates.setdefault(estimate.event_number, []).append(estimate)
    return estimator, estimates, flags


def final_of(estimates, n_trials):
    finals = {}
    for event, of_trial in estimates.items():
        final = [estimate for estimate in of_trial if estimate.is_final]
        if final:
            finals[event] = final[0]
    assert len(finals) > n_trials - 3
    return finals


def correlation(finals, betas):
    return np.corrcoef(
        np.ravel([final.betas for final in finals.values()]), np.ravel([betas[event] for event in finals])
    )[0, 1]


def test_overlapping_trials_come_apart():
    signal, onsets_s, betas = simulate(noise=0.05)
    _, estimates, _ = stream(signal, onsets_s)
    assert correlation(final_of(estimates, len(betas)), betas) > 0.97


def test_a_trial_is_estimated_at_every_volume_and_becomes_surer():
    signal, onsets_s, betas = simulate()
    estimator, estimates, _ = stream(signal, onsets_s)
    of_trial = estimates[10]
    ages_s = [estimate.since_onset_s for estimate in of_trial]
    assert np.diff(ages_s) == pytest.approx(TR_S)
    assert 4 <= ages_s[0] < 4 + TR_S
    assert [estimate.is_final for estimate in of_trial] == [age >= FINAL_S for age in ages_s]
    assert sum(estimate.is_final for estimate in of_trial) == 1
    assert estimator.finish() == []
    doubt = [float(estimate.std.mean()) for estimate in of_trial]
    assert doubt[0] > doubt[2] > doubt[-1]
    assert doubt[0] > 2 * doubt[-1]
    # the doubt is the error that there is
    finals = final_of(estimates, len(betas))
    missed = np.array([(final.betas - betas[event]) / final.std for event, final in finals.items()])
    assert missed.std() == pytest.approx(1, abs=0.25)


def test_the_runs_end_makes_the_last_estimates_final():
    signal, onsets_s, _ = simulate()
    n_volumes = int((onsets_s[-1] + 7) / TR_S)
    estimator, estimates, _ = stream(signal[:n_volumes], onsets_s)
    last = len(onsets_s) - 1
    assert not any(estimate.is_final for estimate in estimates[last])
    (final,) = [estimate for estimate in estimator.finish() if estimate.event_number == last]
    assert final.is_final
    assert (final.betas == estimates[last][-1].betas).all()


def test_an_onset_that_comes_too_late_is_not_made_up():
    signal, onsets_s, _ = simulate(n_trials=5)
    estimator = CausalEstimator(TR_S, prior_of(signal.shape[1]))
    for index, volume in enumerate(signal):
        if index == 12:
            estimator.add_event(0, 0.0)
        estimator.add_volume(index, volume)
        assert estimator.current_estimates() == []


def test_missing_volumes_move_time_on_and_little_else():
    signal, onsets_s, betas = simulate()
    _, whole, _ = stream(signal, onsets_s)
    _, with_gaps, _ = stream(signal, onsets_s, missing={7, 21, 22, 40})
    with_gaps = final_of(with_gaps, len(betas))
    assert correlation(with_gaps, betas) > correlation(final_of(whole, len(betas)), betas) - 0.05


def test_a_spike_counts_less_and_is_flagged_whether_or_not_motion_says_so():
    signal, onsets_s, betas = simulate(noise=0.1)
    spoiled = signal.copy()
    spoiled[30] *= 1 + np.random.default_rng(1).normal(0, 0.05, signal.shape[1]).astype(np.float32)
    _, estimates, flags = stream(spoiled, onsets_s)
    assert flags[30].is_spike
    assert sum(flag.is_spike for flag in flags) <= 3
    assert correlation(final_of(estimates, len(betas)), betas) > 0.9
    motion = np.zeros((len(signal), 6))
    motion[30, 0] = 2.0
    _, _, flags = stream(signal, onsets_s, motion=motion)
    assert flags[30].is_spike
    assert flags[30].displacement_mm == pytest.approx(2.0)


def test_the_same_volumes_give_the_same_bits():
    signal, onsets_s, _ = simulate()
    (first, _, _), (second, _, _) = stream(signal, onsets_s), stream(signal, onsets_s)
    assert (first.estimate(20).betas == second.estimate(20).betas).all()


def test_a_run_without_end_keeps_a_bounded_state():
    signal, onsets_s, betas = simulate(n_trials=N_TRIAL_SLOTS + 30, n_voxels=8)
    estimator, estimates, _ = stream(signal, onsets_s)
    assert estimator.estimate(0) is None
    assert correlation(final_of(estimates, len(betas)), betas) > 0.8


def test_what_does_not_fit_the_run_is_refused():
    estimator = CausalEstimator(TR_S, prior_of(3))
    estimator.add_volume(4, np.ones(3, np.float32))
    with pytest.raises(StreamingError, match="volume 4 after volume 4"):
        estimator.add_volume(4, np.ones(3, np.float32))
    with pytest.raises(StreamingError, match="2 voxels, but the prior is of 3"):
        estimator.add_volume(5, np.ones(2, np.float32))
    with pytest.raises(StreamingError, match="give the repetition time"):
        CausalEstimator(0, prior_of(3))
    with pytest.raises(StreamingError, match="give seconds"):
        estimator.add_event(0, float("nan"))
    with pytest.raises(StreamingError, match="no BOLD run"):
        fit_prior([])


def test_the_prior_finds_each_voxels_response():
    n_voxels = 60
    true = np.random.default_rng(2).integers(0, len(HRF_SHIFTS_S), n_voxels)
    runs = []
    for seed in range(2):
        signal, onsets_s, _ = simulate(n_trials=25, n_voxels=n_voxels, shifts_s=np.array(HRF_SHIFTS_S)[true], seed=seed)
        runs.append(FinishedRun(signal, onsets_s, TR_S))
    prior = fit_prior(runs)
    assert (np.abs(prior.hrf_of_voxel - true) <= 1).mean() > 0.9
    assert prior.amplitude_mean.mean() == pytest.approx(1, abs=0.25)
    assert prior.noise_std.mean() == pytest.approx(0.3, rel=0.4)


def test_a_finished_run_gives_each_trial_one_final_estimate():
    signal, onsets_s, _ = simulate()
    finals = [
        one.event_number for one in estimates_of(FinishedRun(signal, onsets_s, TR_S), prior_of(50)) if one.is_final
    ]
    assert finals == list(range(len(onsets_s)))


def test_a_volume_a_voxel_off_is_misaligned_and_a_noisy_one_is_not():
    rng = np.random.default_rng(3)
    mean_volume = np.cumsum(rng.normal(size=(8, 9, 7)), axis=1).astype(np.float32) * 50 + 1000
    voxel_index = np.flatnonzero(rng.random(mean_volume.size) < 0.4)
    prior = with_reference(prior_of(len(voxel_index)), mean_volume, voxel_index, lowest_correlation=0.99)
    noisy = mean_volume + rng.normal(0, 3, mean_volume.shape)
    assert not prior.is_misaligned(noisy.reshape(-1)[voxel_index])
    assert prior.is_misaligned(np.roll(noisy, 1, axis=0).reshape(-1)[voxel_index])
    assert not prior_of(len(voxel_index)).is_misaligned(np.zeros(len(voxel_index)))


def test_trials_are_estimated_from_the_volumes_so_far():
    signal, onsets_s, _ = simulate()
    run, until = FinishedRun(signal, onsets_s, TR_S), len(signal) // 2
    first_half = FinishedRun(signal[:until], onsets_s, TR_S)
    whole = {one.event_number: one for one in estimates_of(run, prior_of(50)) if one.is_final}
    for estimate in estimates_of(first_half, prior_of(50)):
        if estimate.is_final and estimate.since_onset_s >= FINAL_S:
            assert (estimate.betas == whole[estimate.event_number].betas).all()


def test_voxels_without_signal_have_no_response():
    signal, onsets_s, betas = simulate()
    signal[:, [4, 9]] = 0
    no_mean = replace(prior_of(signal.shape[1]), amplitude_mean=np.zeros(signal.shape[1], np.float32))
    _, estimates, flags = stream(signal, onsets_s, no_mean)
    finals = final_of(estimates, len(betas))
    found = np.array([final.betas for final in finals.values()])
    assert np.isfinite(found).all()
    assert not found[:, [4, 9]].any()
    assert sum(flag.is_spike for flag in flags) <= 3


def test_dead_voxels_do_not_disturb_the_others():
    signal, onsets_s, betas = simulate(noise=0.05)
    signal[:, :5] = 0
    _, estimates, _ = stream(signal, onsets_s)
    finals = final_of(estimates, len(betas))
    found, true = (np.array(rows)[:, 5:].ravel() for rows in (
        [final.betas for final in finals.values()], [betas[event] for event in finals]
    ))  # fmt: skip
    assert np.corrcoef(found, true)[0, 1] > 0.97


def test_a_voxel_that_loses_its_signal_has_finite_betas():
    signal, onsets_s, betas = simulate()
    signal[len(signal) // 2 :, 7] = 0
    _, estimates, _ = stream(signal, onsets_s)
    for final in final_of(estimates, len(betas)).values():
        assert np.isfinite(final.betas).all()
        assert np.isfinite(final.std).all()


def test_a_voxel_whose_first_volume_is_empty_is_estimated_from_its_first_signal_on():
    signal, onsets_s, betas = simulate(noise=0.05)
    late = signal.copy()
    late[0, 11] = 0
    (_, whole, _), (_, found, flags) = stream(signal, onsets_s), stream(late, onsets_s)
    whole, found = final_of(whole, len(betas)), final_of(found, len(betas))
    last = [event for event in found if event > 20]
    assert [found[event].betas[11] for event in last] == pytest.approx(
        [whole[event].betas[11] for event in last], abs=0.15
    )
    assert not any(flag.is_spike for flag in flags[:5])


def test_a_run_whose_first_volumes_were_missed_is_estimated_as_well():
    signal, onsets_s, betas = simulate(noise=0.05)
    estimator = CausalEstimator(TR_S, prior_of(signal.shape[1]))
    for event, onset_s in enumerate(onsets_s):
        estimator.add_event(event, onset_s)
    finals = {}
    for index in range(30, len(signal)):
        estimator.add_volume(index, signal[index])
        finals |= {one.event_number: one for one in estimator.current_estimates() if one.is_final}
    later = {event: final for event, final in finals.items() if onsets_s[event] > 30 * TR_S}
    assert len(later) > 15
    assert correlation(later, betas) > 0.95
    # a trial that had passed its peak by the first volume has no final estimate
    assert all(onsets_s[event] > 30 * TR_S - FINAL_S for event in finals)


def test_an_onset_before_the_run_is_estimated_while_its_response_lasts():
    signal, _, _ = simulate(n_trials=5)
    estimator = CausalEstimator(TR_S, prior_of(signal.shape[1]))
    estimator.add_event(0, -3.0)
    estimator.add_event(1, -30.0)
    estimator.add_volume(0, signal[0])
    assert [one.event_number for one in estimator.current_estimates()] == []
    estimator.add_volume(1, signal[1])
    (estimate,) = estimator.current_estimates()
    assert estimate.event_number == 0
    assert estimate.since_onset_s == pytest.approx(3 + TR_S)


def test_two_events_at_one_time_share_their_response():
    signal, onsets_s, _ = simulate(n_trials=20, noise=0.05)
    single, double = (CausalEstimator(TR_S, prior_of(signal.shape[1])) for _ in range(2))
    for event, onset_s in enumerate(onsets_s):
        single.add_event(event, onset_s)
        double.add_event(event, onset_s)
    double.add_event(99, onsets_s[8])
    for index, volume in enumerate(signal):
        single.add_volume(index, volume)
        double.add_volume(index, volume)
    first, second = double.estimate(8), double.estimate(99)
    assert first.betas == pytest.approx(second.betas, abs=1e-3)
    # priors of mean 1 and nothing that tells the two apart
    assert first.betas + second.betas == pytest.approx(single.estimate(8).betas, abs=0.15)
    assert first.uncertainty > 5 * single.estimate(8).uncertainty


def test_an_event_announced_twice_counts_once():
    signal, onsets_s, _ = simulate(n_trials=5)
    once, twice = (CausalEstimator(TR_S, prior_of(signal.shape[1])) for _ in range(2))
    for estimator in (once, twice, twice):
        estimator.add_event(0, onsets_s[0])
    for index, volume in enumerate(signal[:20]):
        once.add_volume(index, volume)
        twice.add_volume(index, volume)
    assert twice.estimate(0).betas.tobytes() == once.estimate(0).betas.tobytes()


def test_a_slow_drift_is_no_response():
    n_volumes = 120
    ramp = 1 + 0.05 * np.arange(n_volumes)[:, None] / n_volumes
    signal = (1000 * ramp * np.ones((1, 20))).astype(np.float32)
    onsets_s = np.arange(20.0, 140.0, 8.0)
    no_mean = replace(prior_of(20, amplitude_variance=1.0), amplitude_mean=np.zeros(20, np.float32))
    _, estimates, _ = stream(signal, onsets_s, no_mean)
    finals = final_of(estimates, len(onsets_s))
    assert np.abs(np.array([finals[event].betas for event in sorted(finals)][-5:])).max() < 0.1


def test_volumes_in_other_units_give_the_same_betas():
    signal, onsets_s, betas = simulate(n_trials=10)
    (_, first, _), (_, second, _) = stream(signal, onsets_s), stream(signal * np.float32(0.125), onsets_s)
    for event, final in final_of(first, len(betas)).items():
        assert final.betas == pytest.approx(final_of(second, len(betas))[event].betas, abs=1e-3)
