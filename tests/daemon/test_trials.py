"""BOLD volumes become trials, and a crash changes none of them."""

import numpy as np
import pytest
from running_daemon import PNG, hello

from braind.client import wire
from braind.daemon.journal import Journal
from braind.daemon.trials import BoldRun
from braind.models.streaming import TrialEstimator

TR_S = 4 / 3
N_VOLUMES = 40


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "ses.sqlite3")
    journal.open_run(hello(kind="bold", tr_s=TR_S), "weights")
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


def ready_trials(run):
    return {place: [(trial.event, trial.voxels.tobytes()) for trial in run.trials(place)] for place in run.ready()}


def test_trials_are_the_estimators_own(journal):
    record_run(journal)
    run = BoldRun(journal, "run-01", TR_S)
    run.advance()

    estimator = TrialEstimator(TR_S)
    for number in range(5):
        estimator.add_event(number, 7.5 * number)
    expected = [
        (index, estimate.event_number, estimate.betas.tobytes())
        for index in range(N_VOLUMES)
        for estimate in estimator.add_volume(index, voxels(index))
    ]
    found = [(place.index, *trial) for place, trials in ready_trials(run).items() for trial in trials]
    assert found == expected
    assert len(found) >= 4


def test_a_trial_carries_what_its_onset_said(journal):
    record_run(journal)
    run = BoldRun(journal, "run-01", TR_S)
    run.advance()
    trial = run.trials(run.ready()[0])[0]
    assert (trial.trial, trial.seen) == (100, PNG)


def test_volumes_without_an_estimate_are_settled(journal):
    record_run(journal)
    run = BoldRun(journal, "run-01", TR_S)
    settled = run.advance()
    assert {state for _, state in settled} == {"used"}
    assert journal.counts() == {"used": len(settled), "waiting": len(run.ready())}


@pytest.mark.parametrize("crash_after", [1, 9, 17, 30])
def test_trials_after_a_crash_are_those_of_an_undisturbed_run(journal, tmp_path, crash_after):
    record_run(journal)
    undisturbed = BoldRun(journal, "run-01", TR_S)
    undisturbed.advance()

    interrupted = Journal(tmp_path / "interrupted.sqlite3")
    interrupted.open_run(hello(kind="bold", tr_s=TR_S), "weights")
    for number in range(5):
        add_event(interrupted, number)
    before = BoldRun(interrupted, "run-01", TR_S)
    for index in range(N_VOLUMES):
        add_volume(interrupted, index)
        if index < crash_after:
            before.advance()
    after = BoldRun(interrupted, "run-01", TR_S)
    after.advance()

    def by_index(run):
        return {place.index: trials for place, trials in ready_trials(run).items()}

    assert by_index(after) == by_index(undisturbed)
    interrupted.close()


def test_a_late_volume_is_kept_and_not_used(journal):
    add_volume(journal, 0)
    add_volume(journal, 2)
    add_volume(journal, 1)
    run = BoldRun(journal, "run-01", TR_S)
    settled = dict((place.index, state) for place, state in run.advance())
    assert settled == {0: "used", 2: "used", 1: "late"}


def test_the_end_of_a_run_completes_its_last_trials(journal):
    record_run(journal, n_events=7)
    run = BoldRun(journal, "run-01", TR_S)
    run.advance()
    # The last trial was seen for 7 s only: it waits for more volumes until the run is known to be over.
    assert 6 not in {event for trials in ready_trials(run).values() for event, _ in trials}
    journal.end_run(wire.EndRun(session="ses", run="run-01", n_volumes=N_VOLUMES), has_estimates=True)
    assert journal.runs_to_finish("weights") == ["run-01"]
    run.advance()
    run.finish()
    (end,) = [place for place in run.ready() if place.is_end]
    assert end.index == N_VOLUMES - 1
    assert [trial.event for trial in run.trials(end)] == [6]
