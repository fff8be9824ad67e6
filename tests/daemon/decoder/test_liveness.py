"""What the decoder tells the front's watchdog."""

import pytest

from braind.daemon.decoder import liveness
from braind.daemon.decoder.liveness import FACTOR, FIRST_REFINED_S, QUIET_S, Liveness


@pytest.fixture
def told():
    return []


def start(told, warm_up_s):
    return Liveness(lambda line: told.append(line.within_s), warm_up_s)


def test_the_first_picture_may_take_a_multiple_of_the_warm_up_and_later_ones_of_the_pictures_before(told):
    alive = start(told, 30.0)
    alive.expect("picture")
    for took_s in (4.0, 5.0, 6.0):
        alive.note("picture", took_s)
    alive.expect("picture")
    assert told == [FACTOR * 30.0, FACTOR * 5.0]


def test_one_picture_in_which_the_decoder_was_stopped_does_not_make_the_watchdog_patient(told):
    alive = start(told, 0.1)
    for took_s in (1.0, 1.0, 500.0, 1.0):
        alive.note("picture", took_s)
    alive.expect("picture")
    assert told == [FACTOR * 1.0]


def test_quick_pictures_never_make_the_watchdog_hasty(told):
    alive = start(told, 0.001)
    alive.expect("picture")
    alive.note("picture", 0.001)
    alive.expect("picture")
    assert set(told) == {QUIET_S}


def test_the_first_refined_picture_has_minutes(told):
    alive = start(told, 0.1)
    alive.expect("refined")
    alive.note("refined", 2.0)
    alive.expect("refined")
    assert told == [FIRST_REFINED_S, FACTOR * 2.0]


def test_after_a_slow_picture_the_short_patience_is_told_at_once(told):
    alive = start(told, 30.0)
    alive.expect("picture")
    alive.goes_on()
    assert told == [FACTOR * 30.0, QUIET_S]


def test_many_short_pieces_of_work_give_one_sign_a_second(told, monkeypatch):
    now_s = [0.0]
    monkeypatch.setattr(liveness.time, "monotonic", lambda: now_s[0])
    alive = start(told, 0.1)
    for _ in range(1000):
        alive.goes_on()
        now_s[0] += 0.01
    assert len(told) in (9, 10, 11)
