"""BOLD volumes that come out of order: what the estimator gets, what is published, and that a crash changes neither."""

import random
import time

import msgspec
import numpy as np
import pytest
from running_daemon import hello

from braind.client import wire
from braind.daemon import link
from braind.daemon.decoder.order import Held, Hole, VolumeOrder
from braind.daemon.decoder.outbox import Outbox
from braind.daemon.decoder.trials import FrontLink, RunEstimates
from braind.daemon.journal.journal import Journal
from braind.daemon.journal.records import Pending
from braind.models.bold.estimator import CausalEstimator
from braind.models.weights.blank import blank_weights
from braind.models.weights.bold_prior import BoldPrior

TR_S = 4 / 3
N_VOLUMES = 48
N_EVENTS = 6
PRIOR = BoldPrior.vague(20)
WEIGHTS = blank_weights(1, np.ones((1, 1, 20), bool), np.eye(4), "bold")
HELLO = hello(kind="bold", tr_s=TR_S)


class Run:
    """A BOLD run's journal and its decoder's part that makes estimates."""

    def __init__(self, path):
        self.journal = Journal(path, wait_for_disk=False)
        self.journal.open_run(HELLO, "weights")
        self.arrivals = {}
        self.given = []
        self.restart()

    def restart(self):
        """Forget all estimates, as a crash does."""
        self.settled = []
        front = FrontLink(
            self.arrivals, lambda pending, state: self.settled.append(pending.index),
            Outbox(self.journal.last_seq() + 1, lambda line: None),
        )  # fmt: skip
        self.estimates = RunEstimates(self.journal, HELLO, WEIGHTS, front)
        self.given = given_to(self.estimates)

    def add(self, index, *, seconds_ago=-1000.0):
        """Add a volume. By default it arrives in the future: no hole is due by time then."""
        header = wire.Volume(session="ses", run="run-01", index=index, shape=(1, 1, 20), dtype="float32", crc32=index)
        self.journal.add_volume(header, voxels(index), seen=None, whole=None)
        arrived_s = time.monotonic() - seconds_ago
        self.arrivals["ses", "run-01", index] = link.Wake(
            session="ses", run="run-01", index=index, arrived_s=arrived_s, ack_s=0.0
        )

    def add_event(self, number):
        self.journal.add_event(event(number), None)

    def end(self, n_volumes):
        self.journal.end_run(wire.EndRun(session="ses", run="run-01", n_volumes=n_volumes), has_estimates=True)
        self.estimates.advance()
        self.estimates.finish()

    def advance(self):
        self.estimates.advance()

    def trials(self):
        """Return volume, trial, finality and response of everything that can be decoded, in order."""
        return [
            (pending.index, trial.event, trial.is_final, trial.voxels.tobytes())
            for pending in self.estimates.ready()
            for trial in self.estimates.trials(pending)
        ]

    def published(self):
        """Return first volume and number of each gap, and the index of each volume that was left out, in order."""
        found = [wire.decode([wire.MAGIC, one.header])[0] for one in self.journal.published(1, 1000)]
        return [
            (message.index, message.n_missing) if isinstance(message, wire.Gap) else message.index for message in found
        ]

    def state(self, index):
        return {pending.index: state for pending, state in self.journal.run_volumes("run-01", 0)}[index]


def given_to(estimates):
    """Return a list that gets the number of each volume and onset that the estimator gets."""
    given, estimator = [], estimates._estimator
    add_volume, add_event = estimator.add_volume, estimator.add_event
    estimator.add_volume = lambda index, *rest: (given.append(index), add_volume(index, *rest))
    estimator.add_event = lambda number, *rest: (given.append(f"onset {number}"), add_event(number, *rest))
    return given


def voxels(index):
    return (1000 + np.random.default_rng(index).normal(size=20)).astype(np.float32)


def event(number):
    return wire.Event(session="ses", run="run-01", event=number, onset_s=7.5 * number)


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "ses.sqlite3")
    yield run
    run.journal.close()


@pytest.fixture(scope="module")
def ordered_trials():
    """The estimator's own trials of the whole run in order, all onsets known."""
    estimator = CausalEstimator(TR_S, PRIOR)
    for number in range(N_EVENTS):
        estimator.add_event(number, 7.5 * number)
    found = []
    for index in range(N_VOLUMES):
        estimator.add_volume(index, voxels(index))
        estimates = sorted(estimator.current_estimates(), key=lambda estimate: estimate.is_final)
        found += [(index, one.event_number, one.is_final, one.betas.tobytes()) for one in estimates]
    return found


def shuffled(chance, n_volumes=N_VOLUMES, window=8):
    """Return the volumes' numbers in blocks of `window`, each block shuffled."""
    order = []
    for first in range(0, n_volumes, window):
        block = list(range(first, min(first + window, n_volumes)))
        chance.shuffle(block)
        order += block
    return order


# ── within the window ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(6))
def test_volumes_out_of_order_within_the_window_give_the_ordered_runs_trials(run, ordered_trials, seed):
    chance = random.Random(seed)
    for number in range(N_EVENTS):
        run.add_event(number)
    for index in shuffled(chance):
        run.add(index)
        if chance.random() < 0.7:
            run.advance()
        if chance.random() < 0.2:
            run.restart()
    run.restart()
    run.advance()
    assert run.trials() == ordered_trials
    assert run.given == [*(f"onset {number}" for number in range(N_EVENTS)), *range(N_VOLUMES)]
    assert run.published() == []


@pytest.mark.parametrize("seed", range(4))
def test_an_onset_that_comes_before_the_volumes_of_its_time_counts_in_whatever_order_they_come(
    run, ordered_trials, seed
):
    chance = random.Random(100 + seed)
    order = shuffled(chance)
    for index in order:
        for number in range(N_EVENTS):
            # The estimator lets a trial begin at the volume of its onset, or a few seconds before, by the HRFs' shifts.
            first = next(i for i in order if i * TR_S >= 7.5 * number - 4)
            if index == first:
                run.add_event(number)
        run.add(index)
        run.advance()
    assert run.trials() == ordered_trials


def test_a_volume_in_order_is_used_at_once(run):
    for index in range(12):
        run.add(index)
        run.advance()
        assert run.given[-1] == index
        assert run.estimates.due_s is None


# ── beyond the window ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_volume_is_waited_for_until_8_later_ones_are_there(run):
    for index in (0, 1, *range(3, 10)):
        run.add(index)
    run.advance()
    assert (run.given, run.published()) == ([0, 1], [])
    run.add(10)
    run.advance()
    assert (run.given, run.published()) == ([0, 1, *range(3, 11)], [(2, 1)])


def test_whether_8_later_volumes_were_there_does_not_depend_on_how_many_are_read_at_once(run):
    for index in (0, 1, *range(3, 12), 2, 12):
        run.add(index)
    run.advance()
    assert run.given == [0, 1, *range(3, 13)]
    assert run.published() == [(2, 1), 2]


def test_a_missing_volume_is_waited_for_until_2_tr_have_passed_since_a_later_one_arrived(run):
    run.add(0)
    run.add(3, seconds_ago=2 * TR_S - 1000)
    run.advance()
    assert (run.given, run.published()) == ([0], [])
    assert run.estimates.due_s == pytest.approx(time.monotonic() + 1000, abs=60)
    run.arrivals.clear()
    run.add(4, seconds_ago=2 * TR_S)
    run.advance()
    assert (run.given, run.published()) == ([0, 3, 4], [(1, 2)])


def test_a_late_volume_is_kept_unused_and_said_to_be_unused_once(run):
    for index in (0, *range(2, 10)):
        run.add(index)
    run.advance()
    run.add(1)
    run.advance()
    for _ in range(2):
        run.restart()
        run.advance()
    assert run.given == [0, *range(2, 10)]
    assert run.published() == [(1, 1), 1]
    assert run.state(1) == "late"
    assert run.settled == []
    assert ("ses", "run-01", 1) not in run.arrivals
    (skipped,) = [wire.decode([b"BRD1", one.header])[0] for one in run.journal.published(2, 9)]
    assert not skipped.failed
    assert "not used" in skipped.reason


def test_of_a_hole_that_is_filled_in_part_only_the_rest_is_missing(run):
    for index in (0, 4, 2):
        run.add(index, seconds_ago=2 * TR_S)
    run.advance()
    assert (run.given, run.published()) == ([0, 2, 4], [(1, 1), (3, 1)])


def test_a_run_that_comes_backwards_uses_what_is_in_the_window_and_ends(run):
    for index in reversed(range(20)):
        run.add(index)
        run.advance()
    run.end(20)
    assert run.given == list(range(12, 20))
    assert run.published() == [(0, 12), *reversed(range(12))]


def test_missing_volumes_are_gaps_in_time_and_shift_nothing(run):
    kept = [index for index in range(N_VOLUMES) if index not in (0, 7, 8, 9, 30, N_VOLUMES - 1)]
    run.add_event(0)
    for index in kept:
        run.add(index)
        run.advance()
    run.end(N_VOLUMES)
    estimator = CausalEstimator(TR_S, PRIOR)
    estimator.add_event(0, 0.0)
    expected = []
    for index in kept:
        estimator.add_volume(index, voxels(index))
        expected += [(index, 0, one.is_final, one.betas.tobytes()) for one in estimator.current_estimates()]
    assert run.trials() == expected
    assert run.published() == [(0, 1), (7, 3), (30, 1), (N_VOLUMES - 1, 1)]


def test_the_end_of_a_run_ends_the_waiting(run):
    for index in (0, 2, 3):
        run.add(index)
    run.advance()
    run.end(6)
    assert (run.given, run.published()) == ([0, 2, 3], [(1, 1), (4, 2)])
    run.restart()
    run.add(5)
    run.advance()
    assert (run.given, run.published()) == ([0, 2, 3], [(1, 1), (4, 2), 5])


@pytest.mark.parametrize("seed", range(8))
def test_a_crash_at_any_moment_changes_neither_the_estimates_nor_what_is_published(tmp_path, seed):
    chance = random.Random(seed)
    order = [index for index in shuffled(chance, window=14) if chance.random() > 0.1]
    onsets = {chance.choice(order): number for number in range(N_EVENTS)}
    undisturbed, crashed = Run(tmp_path / "undisturbed.sqlite3"), Run(tmp_path / "crashed.sqlite3")
    for index in order:
        for run in (undisturbed, crashed):
            if index in onsets:
                run.add_event(onsets[index])
            run.add(index)
        undisturbed.advance()
        if chance.random() < 0.6:
            crashed.advance()
        if chance.random() < 0.3:
            crashed.restart()
    for run in (undisturbed, crashed):
        run.end(N_VOLUMES)
    crashed.restart()
    crashed.end(N_VOLUMES)
    assert crashed.published() == undisturbed.published()
    assert crashed.given == undisturbed.given
    estimators = undisturbed.estimates._estimator, crashed.estimates._estimator
    for number in range(N_EVENTS):
        one, other = (estimator.estimate(number) for estimator in estimators)
        assert (one and one.betas.tobytes()) == (other and other.betas.tobytes())
    for run in (undisturbed, crashed):
        run.journal.close()


def test_a_volume_that_could_not_be_decoded_is_part_of_the_estimates_after_a_crash_too(run):
    run.add_event(0)
    for index in range(8):
        run.add(index)
    run.advance()
    failed = run.estimates.ready()[-1]
    run.journal.set_state(failed.arrival, "failed")
    run.restart()
    run.advance()
    assert run.given == ["onset 0", *range(8)]
    assert failed not in run.estimates.ready()


def test_a_volume_that_an_earlier_braind_left_out_without_a_gap_is_left_out_again(run):
    for index in (0, 2, 1):
        run.add(index)
    (late,) = [pending for pending, _ in run.journal.run_volumes("run-01", 0) if pending.index == 1]
    run.journal.set_state(late.arrival, "late")
    run.advance()
    run.end(3)
    assert run.given == [0, 2]
    assert run.state(1) == "late"


# ── holes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_hole_that_was_passed_over_is_passed_over_at_once():
    order = VolumeOrder(TR_S, [Hole(0, 2), Hole(3, 1)])
    late, first, second = (Held(Pending(number, "s", "r", number), "waiting", 0.0) for number in (1, 2, 4))
    assert not order.add(late)
    assert order.add(second)
    assert order.add(first)
    assert (order.take(), order.take(), order.take()) == (first, second, None)


def test_a_gap_says_which_volumes_are_missing():
    gap = wire.Gap(seq=1, session="s", run="ses-04", index=31, n_missing=3)
    assert gap.sentence == "run ses-04: volumes 31–33 missing"
    assert msgspec.structs.replace(gap, n_missing=1).sentence == "run ses-04: volume 31 missing"
