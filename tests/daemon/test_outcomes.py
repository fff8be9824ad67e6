"""What becomes of volumes: outcomes are logged once, and crashes of the decoder are counted against its volume."""

import logging

import msgspec
import numpy as np
import pytest
from running_daemon import LdmFacts, hello, random_weights

from braind.client import wire
from braind.daemon import link
from braind.daemon.outcomes import Outcomes
from braind.daemon.publish import message_of
from braind.daemon.sessions import Sessions
from braind.daemon.state import DaemonState
from braind.daemon.supervision.crashes import count_crash

PROVENANCE = wire.Provenance(
    subject=1, preset="live-4", mode="zc", seed=1, engine="e", weights="w", ldm="l", simulated=True, version="0"
)
VOLUME = {"session": "ses", "run": "run-01", "index": 0}
TAKING = link.Taking(**VOLUME)


@pytest.fixture
def journal(tmp_path):
    """A session with two waiting volumes."""
    sessions = Sessions(tmp_path, wait_for_disk=False)
    journal = sessions.open("ses")
    journal.open_run(hello(), "weights")
    for index in (0, 1):
        volume = wire.Volume(session="ses", run="run-01", index=index, shape=(1, 1, 5), dtype="float32", crc32=0)
        journal.add_volume(volume, np.zeros(5, np.float32), seen=None, whole=None)
    sessions.close()
    return journal


@pytest.fixture
def sessions(journal, tmp_path):
    sessions = Sessions(tmp_path, wait_for_disk=False)
    sessions.open("ses")
    yield sessions
    sessions.close()


@pytest.fixture
def state(sessions):
    weights = random_weights(LdmFacts("ldm", (4, 16, 16), (16, 96)))
    return DaemonState(sessions, weights, preset="live-4", policy="all")


@pytest.fixture
def outcomes(sessions, state, caplog):
    caplog.set_level(logging.INFO, "braind.daemon")
    return Outcomes(sessions, state)


@pytest.fixture
def crash(outcomes, sessions, state):
    """The decoder dies: over a volume that it has just started, or, without one, over what it was decoding."""

    def crash(taking=TAKING):
        if taking:
            outcomes.start(taking)
        volume = outcomes.crashed()
        if volume:
            count_crash(volume, sessions, state)

    return crash


def decode(stage):
    return wire.Decode(seq=1, stage=stage, provenance=PROVENANCE, timings_s={"ack": 0.01, "xzc": 0.4}, **VOLUME)


def wake(index=0):
    return link.Wake(session="ses", run="run-01", index=index, arrived_s=1.0, ack_s=0.02)


def test_a_volume_waits_again_after_its_first_crash(crash, sessions):
    crash()
    assert sessions["ses"].counts() == {"waiting": 2}
    assert sessions.last_seq() == 0


def test_a_volume_is_passed_over_after_its_second_crash_and_viewers_are_told(crash, sessions, state):
    state.last_seq = 7
    crash()
    crash()
    assert sessions["ses"].counts() == {"failed": 1, "waiting": 1}
    (message,) = map(message_of, sessions.published(1, 10))
    assert (message.seq, message.index, message.failed) == (8, 0, True)
    assert "died over it 2 times" in message.reason
    assert (message.events, message.made_s is None) == (None, False)


def test_a_bold_volume_that_kills_the_decoder_names_the_trials_that_get_no_picture(crash, sessions):
    for _ in range(2):
        crash(msgspec.structs.replace(TAKING, events=(4, 5)))
    (message,) = map(message_of, sessions.published(1, 10))
    assert message.events == (4, 5)


def test_a_crash_is_counted_against_the_volume_at_which_it_happened(crash, sessions):
    crash()
    crash(link.Taking(session="ses", run="run-01", index=1))
    assert sessions["ses"].counts() == {"waiting": 2}


def test_a_crash_after_a_volume_was_settled_is_counted_against_no_volume(outcomes, crash, sessions):
    for _ in range(3):
        outcomes.start(TAKING)
        outcomes.on_published(decode("xzc"))
        crash(None)
    assert sessions["ses"].counts() == {"waiting": 2}


def test_a_crash_while_no_volume_is_decoded_is_counted_against_no_volume(crash, sessions):
    crash()
    crash(None)
    assert sessions["ses"].counts() == {"waiting": 2}


def test_a_volume_is_in_flight_from_its_ack_to_its_last_picture(outcomes, state):
    outcomes.add_arrival(wake(0))
    outcomes.add_arrival(wake(1))
    outcomes.on_published(decode("xz"))
    assert outcomes.in_flight() == [wake(0), wake(1)]
    outcomes.on_published(decode("xzc"))
    assert outcomes.in_flight() == [wake(1)]
    assert state.status().latency_p50_s == 0.4


@pytest.mark.parametrize(("failed", "outcome"), [(False, "skipped"), (True, "failed")])
def test_a_skipped_volume_is_logged_with_its_outcome_and_is_no_latency(outcomes, state, caplog, failed, outcome):
    outcomes.add_arrival(wake())
    outcomes.on_published(wire.Skipped(seq=1, reason="why", failed=failed, **VOLUME))
    assert f"run run-01, volume 0: {outcome}, ack 20 ms" in caplog.text
    assert outcomes.in_flight() == []
    assert state.status().latency_p50_s is None


def test_a_volume_that_takes_longer_than_a_tr_to_decode_is_said_once_a_run(outcomes, caplog):
    def decoded_in(seconds):
        timings_s = {"ack": 0.1, "decoder": 100.0, "xz": 101.0, "xzc": 100.0 + seconds}
        return msgspec.structs.replace(decode("xzc"), timings_s=timings_s)

    tr_s = hello().tr_s
    outcomes.on_published(decoded_in(0.9 * tr_s))  # a volume that waited long is not slow to decode
    assert "the TR is" not in caplog.text
    for _ in range(2):
        outcomes.on_published(decoded_in(tr_s + 2))
    (record,) = [record for record in caplog.records if "the TR is" in record.getMessage()]
    assert f"run run-01: decoding volume 0 took {tr_s + 2:.1f} s, and the TR is {tr_s:g} s" in record.getMessage()
    assert "faster preset" in record.getMessage()
