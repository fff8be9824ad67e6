"""Which of several measurements of a clock is believed."""

import pytest

from braind.client.clock import DRIFT, ClockWatch
from braind.client.wire import Clock


@pytest.fixture
def clocks(monkeypatch):
    """This machine's clocks, for tests to set."""
    now = {"time": 1e9, "monotonic": 0.0}
    for name in now:
        monkeypatch.setattr(f"time.{name}", lambda name=name: now[name])
    return now


def exchange(watch, clocks, *, ahead_s, there_s, back_s, working_s=0.0):
    """A request and its answer, with times on the way."""
    sent_s = watch.request().sent_s
    received_s = sent_s + there_s + ahead_s
    for clock in clocks:
        clocks[clock] += there_s + working_s + back_s
    watch.take(Clock(sent_s=sent_s, received_s=received_s, answered_s=received_s + working_s), clocks["time"])


def test_nothing_is_known_before_the_first_answer(clocks):
    watch = ClockWatch()
    assert watch.offset is None
    assert watch.request().offset_s is None


def test_the_daemons_own_work_and_an_even_way_cost_no_certainty_of_the_offset(clocks):
    watch = ClockWatch()
    exchange(watch, clocks, ahead_s=-2.5, there_s=0.01, back_s=0.01, working_s=5.0)
    assert watch.offset == pytest.approx((-2.5, 0.01), abs=1e-5)


def test_an_uneven_way_makes_an_error_that_the_uncertainty_holds(clocks):
    watch = ClockWatch()
    exchange(watch, clocks, ahead_s=1.0, there_s=0.3, back_s=0.1)
    offset_s, uncertainty_s = watch.offset
    assert offset_s == pytest.approx(1.1, abs=1e-5)
    assert abs(offset_s - 1.0) <= uncertainty_s == pytest.approx(0.2, abs=1e-5)


def test_the_fastest_measurement_is_believed_until_it_is_old(clocks):
    watch = ClockWatch()
    exchange(watch, clocks, ahead_s=1.0, there_s=0.001, back_s=0.001)
    exchange(watch, clocks, ahead_s=1.0, there_s=0.05, back_s=0.01)
    assert watch.offset == pytest.approx((1.0, 0.001), abs=1e-5)
    for clock in clocks:
        clocks[clock] += 100
    assert watch.offset.uncertainty_s == pytest.approx(0.001 + 100 * DRIFT, abs=1e-4)
    exchange(watch, clocks, ahead_s=1.004, there_s=0.002, back_s=0.002)
    assert watch.offset == pytest.approx((1.004, 0.002), abs=1e-5)


def test_a_clock_that_was_set_makes_all_before_worthless(clocks):
    watch = ClockWatch()
    exchange(watch, clocks, ahead_s=0.0, there_s=0.001, back_s=0.001)
    exchange(watch, clocks, ahead_s=7.0, there_s=0.05, back_s=0.05)
    assert watch.offset == pytest.approx((7.0, 0.05), abs=1e-5)


def test_a_measurement_during_which_the_clock_was_set_back_is_not_taken(clocks):
    watch = ClockWatch()
    sent_s = watch.request().sent_s
    watch.take(Clock(sent_s=sent_s, received_s=sent_s, answered_s=sent_s), sent_s - 60)
    assert watch.offset is None
