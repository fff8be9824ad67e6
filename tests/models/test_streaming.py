"""Streaming trial estimates against responses that are known, and against a whole design fitted by least squares."""

import time

import numpy as np
import pytest

from braind.models.streaming import StreamingError, TrialEstimator, drifts, response

TR_S = 4 / 3


def simulate_run(n_trials=20, n_voxels=40, noise=0.0, trend=0.0, seed=0):
    """Make a run: raw signal (n_volumes, n_voxels), onsets, true responses in % of the baseline."""
    rng = np.random.default_rng(seed)
    slots = np.sort(rng.choice(np.arange(3, n_trials * 5 // 4 + 3), n_trials, replace=False))
    onsets_s = slots * 4.0
    times_s = np.arange(int((onsets_s[-1] + 16) / TR_S)) * TR_S
    betas = rng.normal(1.0, 1.0, (n_trials, n_voxels))
    change = sum(np.outer(response(times_s - onset, 3.0), beta) for onset, beta in zip(onsets_s, betas, strict=True))
    change = change + noise * rng.normal(size=change.shape) + trend * np.outer(times_s / times_s[-1], np.ones(n_voxels))
    baseline = rng.uniform(500, 1500, n_voxels)
    return (baseline * (1 + change / 100)).astype(np.float32), onsets_s, betas


def stream(signal, onsets_s, missing=(), **settings):
    """Feed a run as a scanner would; return estimates by trial."""
    estimator = TrialEstimator(TR_S, **settings)
    estimates, announced = {}, 0
    for index, volume in enumerate(signal):
        while announced < len(onsets_s) and onsets_s[announced] <= index * TR_S:
            estimator.add_event(announced, onsets_s[announced])
            announced += 1
        if index not in missing:
            estimates |= {estimate.event_number: estimate for estimate in estimator.add_volume(index, volume)}
    return estimates | {estimate.event_number: estimate for estimate in estimator.finish()}, estimator


def test_the_response_is_the_canonical_one():
    times_s = np.arange(0, 40, 0.01)
    curve = response(times_s, 3.0)
    assert curve.max() == pytest.approx(1, abs=1e-3)
    assert times_s[curve.argmax()] == pytest.approx(6.5, abs=0.3)
    assert curve.min() == pytest.approx(-0.09, abs=0.03)
    assert (response(np.array([-5.0, 0.0]), 3.0) == 0).all()
    # SPM's: a gamma density of shape 6 minus a sixth of one of shape 16, summed over the stimulus
    density = times_s**5 * np.exp(-times_s) / 120 - times_s**15 * np.exp(-times_s) / 1307674368000 / 6
    summed = np.convolve(density, np.ones(300))[: len(times_s)]
    assert curve == pytest.approx(summed / summed.max(), abs=0.01)


def test_one_trial_without_noise_is_estimated_exactly():
    signal, onsets_s, betas = simulate_run(n_trials=1)
    estimates, _ = stream(signal, onsets_s)
    # % of the mean signal, which the response itself raises a little
    assert estimates[0].betas == pytest.approx(betas[0], rel=0.03, abs=0.02)
    assert estimates[0].betas.dtype == np.float32


def test_estimates_come_when_the_response_has_passed_its_peak():
    signal, onsets_s, _ = simulate_run()
    estimates, _ = stream(signal, onsets_s, delay_s=9.0)
    assert sorted(estimates) == list(range(20))
    for number, onset_s in enumerate(onsets_s):
        arrived_s = estimates[number].volume_index * TR_S
        assert onset_s + 9 <= arrived_s + 1e-9 < onset_s + 9 + TR_S


def test_noisy_trials_correlate_with_their_true_responses():
    signal, onsets_s, betas = simulate_run(n_trials=40, n_voxels=400, noise=0.8)
    estimates, _ = stream(signal, onsets_s)
    correlations = [np.corrcoef(estimates[number].betas, betas[number])[0, 1] for number in range(40)]
    assert np.mean(correlations[5:]) > 0.55


def test_estimates_equal_a_whole_design_fitted_by_least_squares():
    signal, onsets_s, _ = simulate_run(n_trials=30, noise=0.5, trend=2.0)
    estimates, _ = stream(signal, onsets_s)
    for number in (3, 12, 29):
        n_volumes = estimates[number].volume_index + 1
        times_s = np.arange(n_volumes) * TR_S
        started = [n for n, onset_s in enumerate(onsets_s) if onset_s <= times_s[-1]]
        regressors = {n: response(times_s - onsets_s[n], 3.0) for n in started}
        others = np.sum([regressors[n] for n in started if n != number], axis=0)
        design = np.column_stack([regressors[number], others, drifts(times_s)])
        so_far = signal[:n_volumes].astype(np.float64)
        fitted = np.linalg.lstsq(design, so_far, rcond=None)[0][0]
        assert estimates[number].betas == pytest.approx(100 * fitted / so_far.mean(axis=0), rel=1e-3, abs=1e-3)


def test_a_slow_trend_is_not_taken_for_a_response():
    flat, onsets_s, _ = simulate_run(n_trials=40, noise=0.3)
    drifting, _, _ = simulate_run(n_trials=40, noise=0.3, trend=4.0)
    without, _ = stream(flat, onsets_s)
    with_trend, _ = stream(drifting, onsets_s)
    difference = [np.abs(with_trend[number].betas - without[number].betas).mean() for number in range(20, 40)]
    assert np.mean(difference) < 0.15


def test_the_same_run_gives_the_same_bits_also_when_taken_up_again():
    signal, onsets_s, _ = simulate_run(noise=0.5)
    first, _ = stream(signal, onsets_s)
    again, _ = stream(signal, onsets_s)
    assert all(np.array_equal(first[number].betas, again[number].betas) for number in first)


def test_missing_volumes_are_done_without():
    signal, onsets_s, betas = simulate_run(n_trials=30, n_voxels=300, noise=0.3)
    whole, _ = stream(signal, onsets_s)
    gappy, estimator = stream(signal, onsets_s, missing={20, 21, 37, 50})
    assert sorted(gappy) == sorted(whole)
    assert estimator.waiting == []
    correlations = [np.corrcoef(gappy[number].betas, betas[number])[0, 1] for number in range(10, 30)]
    assert np.mean(correlations) > 0.7


def test_a_trial_whose_response_was_missed_waits_and_is_not_made_up():
    signal, onsets_s, _ = simulate_run(n_trials=1)
    due = int(onsets_s[0] / TR_S)
    estimates, estimator = stream(signal[: due + 8], onsets_s, missing=range(due + 2, due + 8))
    assert estimates == {}
    assert estimator.waiting == [0]


def test_the_last_trial_is_estimated_when_the_run_ends():
    signal, onsets_s, _ = simulate_run(n_trials=10)
    cut = int((onsets_s[-1] + 8) / TR_S)
    estimator = TrialEstimator(TR_S)
    for number, onset_s in enumerate(onsets_s):
        estimator.add_event(number, onset_s)
    before = [e.event_number for index in range(cut) for e in estimator.add_volume(index, signal[index])]
    assert 9 not in before
    assert [estimate.event_number for estimate in estimator.finish()] == [n for n in range(10) if n not in before]
    assert estimator.waiting == []


def test_an_event_announced_late_or_twice_is_estimated_once():
    signal, onsets_s, _ = simulate_run(n_trials=1)
    estimator = TrialEstimator(TR_S)
    estimates = [e for index in range(15) for e in estimator.add_volume(index, signal[index])]
    assert estimates == []
    estimator.add_event(0, onsets_s[0])
    estimator.add_event(0, onsets_s[0])
    estimates = [e for index in range(15, len(signal)) for e in estimator.add_volume(index, signal[index])]
    assert [estimate.event_number for estimate in estimates] == [0]


def test_whole_number_volumes_and_empty_voxels_are_taken():
    signal, onsets_s, _ = simulate_run(n_trials=3)
    signal[:, 0] = 0
    estimates, _ = stream(np.rint(signal).astype(np.int16), onsets_s)
    assert estimates[2].betas[0] == 0
    assert np.isfinite(estimates[2].betas).all()


def test_a_volume_out_of_order_or_of_another_mask_is_refused():
    estimator = TrialEstimator(TR_S)
    estimator.add_volume(4, np.ones(5, np.float32))
    with pytest.raises(StreamingError, match="volume 4 after volume 4"):
        estimator.add_volume(4, np.ones(5, np.float32))
    with pytest.raises(StreamingError, match="the run began with"):
        estimator.add_volume(5, np.ones(6, np.float32))
    with pytest.raises(StreamingError, match="repetition time"):
        TrialEstimator(0.0)
    with pytest.raises(StreamingError, match="give seconds"):
        estimator.add_event(0, float("nan"))


def test_a_volume_of_3600_voxels_takes_milliseconds():
    signal, onsets_s, _ = simulate_run(n_trials=56, n_voxels=3600)
    estimator = TrialEstimator(TR_S)
    for number, onset_s in enumerate(onsets_s):
        estimator.add_event(number, onset_s)
    took_s = []
    for index, volume in enumerate(signal):
        started = time.perf_counter()
        estimator.add_volume(index, volume)
        took_s.append(time.perf_counter() - started)
    # the median, for a busy machine stops a process now and then
    assert np.median(took_s) < 0.02
    assert len(signal) > 200
