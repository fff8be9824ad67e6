"""Recorded BOLD runs of a data set: which are read, and what cannot be estimated."""

from dataclasses import replace

import numpy as np
import pytest

from braind.client.datasets.data_set import BoldSignal, Trials
from braind.config import load_config
from braind.models.bold.hrf import response
from braind.models.weights.bold_prior import BoldPrior
from braind.offline.fit.bold import (
    BoldError,
    SubjectRuns,
    check_bold,
    estimates_after,
    final_estimates,
    is_of_runs,
    read_bold,
)

TR_S, N_VOXELS, SHAPE = 2.0, 8, (2, 2, 2)
VOXELS = np.arange(N_VOXELS)
PRIOR = BoldPrior.vague(N_VOXELS)


class Recorded:
    """Sessions of one run each, trials every 10 s from 4 s on, volumes until `seconds`."""

    root = "here"
    estimates = "bold"

    def __init__(self, n_runs=2, n_trials=3, seconds=40.0, without_picture=0):
        self.n_runs, self.n_trials, self.seconds, self.without_picture = n_runs, n_trials, seconds, without_picture

    def trials(self, subject):
        n = self.n_runs * self.n_trials
        session = np.repeat(np.arange(1, self.n_runs + 1), self.n_trials)
        of_run = np.tile(np.arange(self.n_trials), self.n_runs)
        return Trials(
            session,
            np.ones(n, int),
            of_run + 1,
            np.arange(n),
            of_run == 0,
            np.zeros(n, int),
            4 + 10.0 * of_run,
            np.full(n, ""),
        )

    def bold_runs(self, subject, session):
        return [1]

    def bold_signal(self, subject, session, run, voxel_index):
        rng = np.random.default_rng(session)
        onsets_s = 4 + 10.0 * np.arange(self.n_trials + self.without_picture)
        index = np.arange(int(self.seconds / TR_S))
        percent = sum(response(index * TR_S - onset_s, 3.0) for onset_s in onsets_s)[:, None]
        voxels = 1000 * (1 + (2 * percent + rng.normal(0, 0.1, (len(index), N_VOXELS))) / 100)
        return BoldSignal(index, voxels.astype(np.float32)[:, voxel_index], onsets_s, TR_S)

    def bold_mean(self, subject, session, run):
        return np.arange(N_VOXELS, dtype=np.float32).reshape(SHAPE) * 100 + 500


class WithTestSessions(Recorded):
    """All trials of some sessions are held out, and no others."""

    def __init__(self, n_runs, test):
        super().__init__(n_runs)
        self.test, self.noise_of_session = list(test), {}

    def trials(self, subject):
        trials = super().trials(subject)
        return replace(trials, is_shared=np.isin(trials.session, self.test))

    def bold_signal(self, subject, session, run, voxel_index):
        signal = super().bold_signal(subject, session, run, voxel_index)
        noise = np.random.default_rng(9).normal(0, self.noise_of_session.get(session, 0), signal.voxels.shape)
        return replace(signal, voxels=(signal.voxels + noise).astype(np.float32))

    def bold_mean(self, subject, session, run):
        return super().bold_mean(subject, session, run) + self.noise_of_session.get(session, 0)


def test_final_estimates_are_of_every_trial_by_its_row():
    found = final_estimates(Recorded(), 1, VOXELS, PRIOR)
    assert found.rows.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.voxels.shape == (6, N_VOXELS)
    assert found.voxels.mean() == pytest.approx(2, abs=0.3)


def test_onsets_without_a_picture_are_estimated_with_the_others_but_are_no_trials():
    with_others = final_estimates(Recorded(without_picture=2, seconds=60), 1, VOXELS, PRIOR)
    assert with_others.rows.tolist() == [0, 1, 2, 3, 4, 5]


def test_runs_that_end_before_any_response_are_refused():
    with pytest.raises(BoldError, match="subject 1: no BOLD series goes on for 4 s after a trial's onset"):
        final_estimates(Recorded(seconds=6), 1, VOXELS, PRIOR)


def test_every_delay_has_the_same_trials():
    # the third trial's 24 s are only 8 s before the end
    found = estimates_after(Recorded(seconds=33), 1, VOXELS, PRIOR, (4.0, 10.0), np.ones(6, bool))
    assert list(found) == ["4.0", "10.0", "final"]
    assert {tuple(trials.rows) for trials in found.values()} == {(0, 1, 3, 4)}


def test_only_wanted_trials_are_estimated_after_delays():
    data = Recorded()
    found = estimates_after(data, 1, VOXELS, PRIOR, (4.0,), data.trials(1).is_shared)
    assert found["final"].rows.tolist() == [0, 3]


def test_no_trial_that_lasts_as_long_as_every_delay_is_refused():
    with pytest.raises(BoldError, match=r"no trial to score has a BOLD series that goes on for 10.0 s"):
        estimates_after(Recorded(seconds=10, n_trials=1), 1, VOXELS, PRIOR, (4.0, 10.0), np.ones(2, bool))


def test_an_estimate_sooner_after_onset_is_less_sure_of_the_response():
    found = estimates_after(Recorded(n_runs=1), 1, VOXELS, PRIOR, (4.0, 8.0), np.ones(3, bool))
    error = {delay: np.abs(trials.voxels - 2).mean() for delay, trials in found.items()}
    assert error["final"] < error["4.0"]


@pytest.mark.parametrize(
    ("n_runs", "chosen"), [(1, [1]), (3, [1]), (4, [1, 4]), (8, [1, 3, 6, 8]), (24, [1, 9, 16, 24])]
)
def test_where_every_run_has_test_trials_the_prior_leaves_half_of_the_runs_to_score(n_runs, chosen):
    assert [run.session for run in SubjectRuns(Recorded(n_runs), 1, VOXELS).training] == chosen


@pytest.mark.parametrize(("test", "chosen"), [([1], [2, 5, 7, 10]), ([1, 4, 7], [2, 5, 8, 10]), (range(1, 10), [10])])
def test_the_prior_is_learned_from_runs_without_test_trials_where_there_are_such(test, chosen):
    runs = SubjectRuns(WithTestSessions(10, test), 1, VOXELS)
    assert [run.session for run in runs.training] == chosen
    assert runs.training_numbers == tuple((session, 1) for session in chosen)


def test_a_learned_prior_knows_the_head_and_the_runs_it_was_learned_in():
    learned, trials = read_bold(Recorded(), 1, VOXELS)
    assert trials.rows.tolist() == [0, 1, 2, 3, 4, 5]
    assert learned.prior.mean_signal.tolist() == (np.arange(N_VOXELS) * 100 + 500).tolist()
    assert learned.prior.amplitude_mean.mean() == pytest.approx(2, abs=0.5)
    assert (learned.runs, learned.tr_s) == (((1, 1),), TR_S)


def test_runs_that_are_held_out_change_no_prior():
    plain, spoiled = (WithTestSessions(3, [2]), WithTestSessions(3, [2]))
    spoiled.noise_of_session = {2: 500.0}
    (one, _), (other, _) = (read_bold(data, 1, VOXELS) for data in (plain, spoiled))
    assert one.runs == other.runs == ((1, 1), (3, 1))
    for name, tensor in one.prior.tensors().items():
        assert (tensor == other.prior.tensors()[name]).all(), name


def test_trials_of_runs_are_known_by_session_and_run():
    trials = Recorded(3).trials(1)
    assert is_of_runs(trials, ((2, 1), (3, 2))).tolist() == [False] * 3 + [True] * 3 + [False] * 3
    assert not is_of_runs(trials, ()).any()


def test_a_subject_without_bold_is_refused_with_how_to_get_some():
    data = Recorded()
    data.bold_runs = lambda subject, session: []
    with pytest.raises(BoldError, match=r"subject 7 has no BOLD time series; .* nsddata_timeseries"):
        SubjectRuns(data, 7, VOXELS)


def test_scaling_by_sessions_is_refused_for_bold():
    check_bold(load_config(None, {"fit": {"z_score": "none"}}))
    with pytest.raises(BoldError, match="--z-score causal needs a session's end or start"):
        check_bold(load_config(None, {"fit": {"z_score": "causal"}}))
