"""BOLD volumes become trials, and a crash changes none of them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from running_daemon import PNG, hello

from braind.client import wire
from braind.daemon.decoder.outbox import Outbox
from braind.daemon.decoder.trials import FrontLink, RunEstimates
from braind.daemon.journal.journal import Journal
from braind.models.bold.estimator import CausalEstimator
from braind.models.weights.blank import blank_weights
from braind.models.weights.bold_prior import BoldPrior

TR_S = 4 / 3
N_VOLUMES = 40
PRIOR = BoldPrior.vague(20)
HELLO = hello(kind="bold", tr_s=TR_S)


def weights_of(prior):
    """Return weights of 20 voxels with this prior. A training mean of 0.5 % stands for a voxel without signal."""
    blank = blank_weights(1, np.ones((1, 1, 20), bool), np.eye(4), "bold")
    own = prior if prior.mean_signal.size else None  # without a prior of their own, weights have the vague one
    return replace(blank, bold=own, voxel_mean=np.full(20, 0.5, np.float32))


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "ses.sqlite3")
    journal.open_run(HELLO, "weights")
    yield journal
    journal.close()


def voxels(index):
    return (1000 + np.random.default_rng(index).normal(size=20)).astype(np.float32)


def add_volume(journal, index):
    header = wire.Volume(session="ses", run="run-01", index=index, shape=(1, 1, 20), dtype="float32", crc32=index)
    journal.add_volume(header, voxels(index), seen=None, whole=None)


def add_event(journal, number):
    event = wire.Event(session="ses", run="run-01", event=number, onset_s=7.5 * number, trial=100 + number, seen=True)
    journal.add_event(event, PNG)


def record_run(journal, n_events=5):
    for number in range(n_events):
        add_event(journal, number)
    for index in range(N_VOLUMES):
        add_volume(journal, index)


def estimates_of(journal, prior=PRIOR, *, settled=None, arrivals=None):
    """Return the run's estimates. `settled` gets what becomes of volumes without an estimate."""
    on_settled = lambda pending, state: None if settled is None else settled.append((pending, state))  # noqa: E731
    outbox = Outbox(journal.last_seq() + 1, lambda line: None)
    return RunEstimates(journal, HELLO, weights_of(prior), FrontLink(arrivals or {}, on_settled, outbox))


def ready_trials(run):
    return {
        pending: [(trial.event, trial.voxels.tobytes()) for trial in run.trials(pending)] for pending in run.ready()
    }


def test_trials_are_the_estimators_own(journal):
    record_run(journal)
    run = estimates_of(journal)
    run.advance()

    estimator = CausalEstimator(TR_S, PRIOR)
    for number in range(5):
        estimator.add_event(number, 7.5 * number)
    expected = []
    for index in range(N_VOLUMES):
        estimator.add_volume(index, voxels(index))
        estimates = sorted(estimator.current_estimates(), key=lambda estimate: estimate.is_final)
        expected += [(index, estimate.event_number, estimate.betas.tobytes()) for estimate in estimates]
    found = [(pending.index, *trial) for pending, trials in ready_trials(run).items() for trial in trials]
    assert found == expected
    assert {event for _, event, _ in found} >= {0, 1, 2, 3}


def test_a_start_that_reads_a_long_run_again_gives_a_sign_of_life_before_each_volume(journal):
    record_run(journal)
    signs = []
    front = replace(estimates_of(journal)._front, goes_on=lambda: signs.append(1))
    RunEstimates(journal, HELLO, weights_of(PRIOR), front).advance()
    assert len(signs) == N_VOLUMES


def test_a_trial_carries_what_its_onset_said(journal):
    record_run(journal)
    run = estimates_of(journal)
    run.advance()
    trial = run.trials(run.ready()[0])[0]
    assert (trial.trial, trial.seen) == (100, PNG)


def test_a_trial_unfolds_until_it_is_final_once(journal):
    record_run(journal)
    run = estimates_of(journal)
    run.advance()
    provisional = [(pending, trial) for pending in run.ready() for trial in run.trials(pending) if trial.event == 2]
    since_onset_s = [trial.since_onset_s for _, trial in provisional]
    assert 4 <= since_onset_s[0] < 4 + TR_S
    assert 11 <= since_onset_s[-1] < 11 + TR_S
    assert since_onset_s == sorted(since_onset_s)
    assert [trial.is_final for _, trial in provisional] == [False] * (len(provisional) - 1) + [True]
    uncertainty = [trial.uncertainty for _, trial in provisional]
    assert 1 >= uncertainty[0] > uncertainty[-1] > 0
    assert run.is_provisional(provisional[0][0])
    assert not run.is_provisional(provisional[-1][0])


def test_trials_say_that_a_volume_since_their_onset_was_odd(journal):
    spike = (voxels(20) * 1.2).astype(np.float32)
    for number in range(5):
        add_event(journal, number)
    for index in range(N_VOLUMES):
        header = wire.Volume(session="ses", run="run-01", index=index, shape=(1, 1, 20), dtype="float32", crc32=index)
        journal.add_volume(header, spike if index == 20 else voxels(index), seen=None, whole=None)
    mean_signal = np.random.default_rng(7).normal(size=20).astype(np.float32)
    prior = replace(PRIOR, mean_signal=mean_signal, misaligned_below=0.99)
    run = estimates_of(journal, prior)
    run.advance()
    finals = {trial.event: trial for pending in run.ready() for trial in run.trials(pending) if trial.is_final}
    # volume 20 lies at 26.7 s: after the onsets at 15 and 22.5 s, and not after the final estimates of both
    spikes = {event: trial.spike for event, trial in finals.items()}
    assert spikes == {0: False, 1: False, 2: True, 3: True, 4: False}
    assert all(trial.misaligned for trial in finals.values())


def test_volumes_without_an_estimate_are_settled(journal):
    record_run(journal)
    settled = []
    run = estimates_of(journal, settled=settled)
    run.advance()
    assert {state for _, state in settled} == {"used"}
    assert journal.counts() == {"used": len(settled), "waiting": len(run.ready())}


@pytest.mark.parametrize("crash_after", [1, 9, 17, 30])
def test_trials_after_a_crash_are_those_of_an_undisturbed_run(journal, tmp_path, crash_after):
    record_run(journal)
    undisturbed = estimates_of(journal)
    undisturbed.advance()

    interrupted = Journal(tmp_path / "interrupted.sqlite3")
    interrupted.open_run(HELLO, "weights")
    for number in range(5):
        add_event(interrupted, number)
    before = estimates_of(interrupted)
    for index in range(N_VOLUMES):
        add_volume(interrupted, index)
        if index < crash_after:
            before.advance()
    after = estimates_of(interrupted)
    after.advance()

    def by_index(run):
        return {pending.index: trials for pending, trials in ready_trials(run).items()}

    assert by_index(after) == by_index(undisturbed)
    interrupted.close()


def test_volumes_that_were_passed_over_or_decoded_before_a_crash_are_given_to_the_estimator_again(journal):
    record_run(journal)
    undisturbed = estimates_of(journal)
    undisturbed.advance()
    ready = undisturbed.ready()
    for pending, state in zip(ready[:-1], itertools.cycle(("decoded", "skipped", "used")), strict=False):
        journal.set_state(pending.arrival, state)
    settled = []
    after = estimates_of(journal, settled=settled)
    after.advance()
    assert settled == []
    assert ready_trials(after) == {ready[-1]: ready_trials(undisturbed)[ready[-1]]}


def test_an_onset_that_no_estimate_can_be_made_of_is_logged_and_the_run_goes_on(journal, caplog):
    """The front refuses such an onset; a journal may hold one from an earlier version."""
    journal.add_event(wire.Event(session="ses", run="run-01", event=9, onset_s=1.0, duration_s=-1.0), None)
    record_run(journal, n_events=1)
    run = estimates_of(journal)
    run.advance()
    assert {trial.event for pending in run.ready() for trial in run.trials(pending)} == {0}
    assert "run run-01: this trial is not decoded: event 9" in caplog.text


@pytest.mark.parametrize("duration_s", [0.0, 1e-300, 1e-4, 0.5, 3600.0])
def test_a_trial_of_any_duration_from_an_impulse_on_is_decoded(journal, duration_s):
    event = wire.Event(session="ses", run="run-01", event=9, onset_s=1.0, duration_s=duration_s)
    journal.add_event(event, None)
    record_run(journal, n_events=0)
    run = estimates_of(journal)
    run.advance()
    journal.end_run(wire.EndRun(session="ses", run="run-01", n_volumes=N_VOLUMES), has_estimates=True)
    run.finish()
    trials = [trial for place in run.ready() for trial in run.trials(place)]
    assert {trial.event for trial in trials} == {9}
    assert trials[-1].is_final
    assert all(np.isfinite(trial.voxels).all() for trial in trials)


def test_a_volume_that_cannot_be_read_back_fails_alone(journal, caplog):
    record_run(journal, n_events=1)
    with journal._database.commit() as database:
        database.execute("UPDATE volumes SET header = '{}' WHERE volume_index = 3")
    found = []
    run = estimates_of(journal, settled=found)
    run.advance()
    settled = {pending.index: state for pending, state in found}
    assert settled[3] == "failed"
    assert set(settled.values()) == {"used", "failed"}
    assert run.ready()
    assert "run run-01, volume 3: cannot be used" in caplog.text


def test_the_end_of_a_run_completes_its_last_trials(journal):
    record_run(journal, n_events=7)
    run = estimates_of(journal)
    run.advance()
    # The last trial was seen for 7 s only: more volumes may come until the run is known to be over.
    assert not any(trial.is_final for pending in run.ready() for trial in run.trials(pending) if trial.event == 6)
    journal.end_run(wire.EndRun(session="ses", run="run-01", n_volumes=N_VOLUMES), has_estimates=True)
    assert journal.runs_to_finish("weights") == ["run-01"]
    run.advance()
    run.finish()
    (end,) = [pending for pending in run.ready() if pending.is_end]
    assert end.index == N_VOLUMES - 1
    assert [(trial.event, trial.is_final) for trial in run.trials(end)] == [(6, True)]
