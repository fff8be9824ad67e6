"""What status and heartbeat say of a journal that is damaged, missing or not begun."""

import pytest
from running_daemon import LdmFacts, random_weights

from braind.client import wire
from braind.daemon import link
from braind.daemon.journal.database import JournalError
from braind.daemon.sessions import Sessions
from braind.daemon.state import DaemonState

PROVENANCE = wire.Provenance(
    subject=1, preset="live-4", mode="zc", seed=1, engine="e", weights="w", ldm="l", simulated=True, version="0"
)


@pytest.fixture
def sessions(tmp_path):
    sessions = Sessions(tmp_path, wait_for_disk=False)
    yield sessions
    sessions.close()


@pytest.fixture
def state(sessions):
    return DaemonState(sessions, random_weights(LdmFacts("ldm", (4, 16, 16), (16, 96))), preset="live-4", policy="all")


def test_before_the_first_session_no_volume_is_acked(state):
    status, beat = state.status(), state.heartbeat()
    assert (status.n_acked, status.n_decoded, status.n_skipped, status.n_waiting) == (0, 0, 0, 0)
    assert (beat.n_acked, beat.n_decoded, beat.n_skipped) == (0, 0, 0)


def test_a_session_whose_journal_was_closed_as_damaged_has_unknown_numbers(sessions, state):
    sessions.open("ses")
    state.session = "ses"
    assert state.heartbeat().n_acked == 0
    with sessions.without_if_damaged("ses"):
        raise JournalError("ses.sqlite3: damaged")
    status, beat = state.status(), state.heartbeat()
    assert (status.n_acked, status.n_decoded, status.n_skipped, status.n_waiting) == (None, None, None, None)
    assert (beat.n_acked, beat.n_decoded, beat.n_skipped) == (None, None, None)


def test_a_decoder_that_died_is_counted_for_its_session_with_its_volume_until_a_new_one_decodes(state):
    state.session = "first"
    state.note_ready("cpu", "ldm", "live-4")
    state.note_death()
    state.crashed_volume = link.Taking(session="first", run="run-01", index=31)
    beat = state.heartbeat()
    assert (beat.state, beat.is_decoder_down, beat.session_restarts) == ("starting", True, 1)
    assert (beat.crashed_run, beat.crashed_index) == ("run-01", 31)
    state.note_ready("cpu", "ldm", "live-4")
    beat = state.heartbeat()
    assert (beat.state, beat.is_decoder_down, beat.session_restarts) == ("ready", False, 1)
    state.session = "second"
    assert state.heartbeat().session_restarts == 0


def test_a_decode_that_does_not_say_when_it_was_made_is_no_latency(state):
    decode = {"session": "s", "run": "r", "index": 0, "stage": "xzc", "provenance": PROVENANCE}
    state.note_decode(wire.Decode(seq=1, timings_s={}, **decode))
    assert state.status().latency_p50_s is None
    state.note_decode(wire.Decode(seq=2, timings_s={"ack": 0.01, "xzc": 0.4}, **decode))
    assert state.status().latency_p50_s == 0.4
