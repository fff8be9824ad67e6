"""The front's answers, in-process and by the hundred: whatever comes, one answer goes out and nothing is raised."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from running_daemon import LdmFacts, hello, random_candidates, random_weights, values, volume_frames

from braind.client import wire
from braind.daemon.ingest import Ingest
from braind.daemon.journal.database import JournalError
from braind.daemon.sessions import Sessions
from braind.daemon.state import DaemonState
from braind.models.weights.candidate_names import CandidateNames

LDM = LdmFacts("ldm", (4, 16, 16), (16, 96))
WEIGHTS = random_weights(LDM)
CANDIDATES = CandidateNames(random_candidates(LDM).nsd_id, random_candidates(LDM).labels, ())
EXAMPLES = [
    wire.encode(hello()),
    volume_frames(0),
    volume_frames(1, seen_png=b"\x89PNG\r\n\x1a\n"),
    wire.encode(wire.Event(session="ses", run="bold", event=0, onset_s=1.0)),
    wire.encode(wire.EndRun(session="ses", run="run-01", n_volumes=100)),
    wire.encode(wire.ClockRequest(sent_s=1.0, offset_s=0.5, uncertainty_s=0.1)),
    wire.encode(wire.Shutdown()),
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**66), 2**66) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    sessions = Sessions(tmp_path_factory.mktemp("journals"), wait_for_disk=False)
    state = DaemonState(sessions, WEIGHTS, preset="live-4", policy="all")
    wakes = []
    front = Ingest(None, sessions, state, WEIGHTS, CANDIDATES, store_volumes=False, wake=wakes.append)
    front.take(wire.encode(hello()))
    front.take(wire.encode(hello(run="bold", kind="bold")))
    yield front
    sessions.close()


def is_answer(answer):
    return (
        isinstance(answer, wire.Welcome | wire.Ack | wire.Clock | wire.Refused)
        and getattr(answer, "code", "") != "internal"
    )


@given(st.lists(st.binary(max_size=200), max_size=6))
@settings(max_examples=200, deadline=None)
def test_any_frames_get_an_answer(front, frames):
    assert is_answer(front.take(frames))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_header_fields_get_an_answer(front, data):
    magic, header, *payload = data.draw(st.sampled_from(EXAMPLES))
    fields = json.loads(header)
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(fields)), json_values, min_size=1, max_size=3))
    assert is_answer(front.take([magic, json.dumps(fields | changed).encode(), *payload]))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_flipped_bytes_get_an_answer(front, data):
    frames = [bytearray(frame) for frame in data.draw(st.sampled_from(EXAMPLES))]
    frame = data.draw(st.sampled_from(frames))
    for _ in range(data.draw(st.integers(1, 5))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    assert is_answer(front.take([bytes(frame) for frame in frames]))


def test_after_all_that_a_volume_is_acked_and_the_journal_holds_it(front):
    front.take(wire.encode(hello(run="after")))
    answer = front.take(volume_frames(0, run="after"))
    assert answer == wire.Ack(session="ses", run="after", index=0, durability="normal")
    assert front.take(volume_frames(0, run="after")).duplicate


def test_a_number_too_large_for_float32_is_refused_as_not_finite(front):
    front.take(wire.encode(hello(run="large")))
    stored = values(0).astype("float64")
    stored[:] = 1e300
    assert front.take(volume_frames(0, stored=stored, run="large")).code == "not_finite"


def test_numbers_that_no_scanner_gives_are_refused_with_the_bound(front):
    def volume_of(number):  # stored numbers are 300 times the voxels
        return volume_frames(0, stored=np.full_like(values(0), number, np.float32), run="huge")

    front.take(wire.encode(hello(run="huge")))
    for number in (1e37, -1e37, 3e38, 3.01e9):
        refused = front.take(volume_of(number))
        assert refused.code == "range"
        assert "is above 1e+07: check dtype, byte order and scale" in refused.sentence
    assert front.take(volume_of(2.99e9)) == wire.Ack(session="ses", run="huge", index=0, durability="normal")


def test_the_clock_is_told_and_what_the_sender_makes_of_it_is_shown(tmp_path):
    sessions = Sessions(tmp_path, wait_for_disk=False)
    state = DaemonState(sessions, WEIGHTS, preset="live-4", policy="all")
    front = Ingest(None, sessions, state, WEIGHTS, CANDIDATES, store_volumes=False, wake=lambda _: None)
    before_s = time.time()
    clock = front.take(wire.encode(wire.ClockRequest(sent_s=12.5)))
    assert clock.sent_s == 12.5
    assert before_s <= clock.received_s <= clock.answered_s <= time.time()
    assert state.status().clock_offset_s is None
    front.take(wire.encode(wire.ClockRequest(sent_s=12.5, offset_s=-3600.25, uncertainty_s=0.002)))
    for said in (state.status(), state.heartbeat()):
        assert (said.clock_offset_s, said.clock_uncertainty_s) == (-3600.25, 0.002)
    for wrong in ({"offset_s": 1.0}, {"uncertainty_s": 1.0}, {"offset_s": 1.0, "uncertainty_s": -1.0}):
        assert front.take(wire.encode(wire.ClockRequest(sent_s=0.0, **wrong))).code == "clock"
    front.take(wire.encode(hello(run="of-another-sender")))
    assert state.status().clock_offset_s is None
    sessions.close()


def test_bold_of_another_tr_than_the_weights_is_refused_at_hello(tmp_path):
    sessions = Sessions(tmp_path, wait_for_disk=False)
    weights = replace(WEIGHTS, card=structs.replace(WEIGHTS.card, kind="bold", tr_s=4 / 3), fingerprint="")
    state = DaemonState(sessions, weights, preset="live-4", policy="all")
    front = Ingest(None, sessions, state, weights, CANDIDATES, store_volumes=False, wake=lambda _: None)
    refused = front.take(wire.encode(hello(kind="bold", tr_s=2.0)))
    assert (refused.code, "a TR of 2 s, but the weights were fitted" in refused.sentence) == ("tr", True)
    assert isinstance(front.take(wire.encode(hello(kind="bold", tr_s=1.333))), wire.Welcome)
    # of betas it is how long a trial took
    assert isinstance(front.take(wire.encode(hello(run="betas", kind="beta", tr_s=4.0))), wire.Welcome)
    sessions.close()


PAIRS = [
    ({"right": 100}, "name both or neither"),
    ({"foil": "picture 3"}, "name both or neither"),
    ({"right": 100, "foil": 99}, "99 is no label or nsd_id of the weights' 12 candidates"),
    ({"right": "pictur 3", "foil": 100}, "is 'picture 3' meant?"),
    ({"right": 100, "foil": "picture 0"}, "are the same picture"),
]


@pytest.mark.parametrize(("pair", "words"), PAIRS)
def test_a_pair_that_cannot_be_compared_is_refused_by_name_wherever_it_stands(front, pair, words):
    front.take(wire.encode(hello(run="pairs")))
    event = wire.Event(session="ses", run="bold", event=7, onset_s=1.0, **pair)
    frames = [wire.encode(hello(run="pair", **pair)), volume_frames(0, run="pairs", **pair), wire.encode(event)]
    for refused in map(front.take, frames):
        assert refused.code == "candidate", refused
        assert words in refused.sentence
    assert isinstance(front.take(volume_frames(0, run="pairs", right=100, foil="picture 3")), wire.Ack)


def test_motion_that_a_sender_found_is_journaled_with_its_volume(tmp_path):
    sessions = Sessions(tmp_path, wait_for_disk=False)
    state = DaemonState(sessions, WEIGHTS, preset="live-4", policy="all")
    front = Ingest(None, sessions, state, WEIGHTS, CANDIDATES, store_volumes=False, wake=lambda _: None)
    front.take(wire.encode(hello(kind="bold")))
    motion = (0.1, 0.2, 0.3, 0.01, 0.02, 0.03)
    assert isinstance(front.take(volume_frames(0, motion=motion, roi_values=(5.0,))), wire.Ack)
    journal = sessions["ses"]
    ((pending, _),) = journal.run_volumes("run-01", 0)
    header = journal.volume(pending.arrival).header
    assert (header.motion, header.roi_values) == (motion, (5.0,))
    sessions.close()


def reads_of_runs(journal, action):
    """Return how often a journal's table of runs is read while an action runs."""
    statements = []
    journal._database._connection.set_trace_callback(statements.append)
    action()
    journal._database._connection.set_trace_callback(None)
    assert statements
    return sum("FROM runs" in statement for statement in statements)


def front_over(sessions, weights=WEIGHTS):
    state = DaemonState(sessions, weights, preset="live-4", policy="all")
    return Ingest(None, sessions, state, weights, CANDIDATES, store_volumes=False, wake=lambda _: None)


def send(front, indices, run="run-01"):
    for index in indices:
        assert isinstance(front.take(volume_frames(index, run=run)), wire.Ack)


@pytest.fixture
def sessions(tmp_path):
    sessions = Sessions(tmp_path, wait_for_disk=False)
    yield sessions
    sessions.close()


def test_a_run_is_read_from_the_journal_at_its_hello_and_at_no_volume(sessions):
    front = front_over(sessions)
    front.take(wire.encode(hello()))
    assert reads_of_runs(sessions["ses"], lambda: send(front, range(4))) == 0


def test_a_run_that_an_earlier_daemon_opened_goes_on_without_a_hello_and_is_read_once(sessions, tmp_path):
    earlier = front_over(sessions)
    earlier.take(wire.encode(hello()))
    send(earlier, [0, 1])
    resumed = Sessions(tmp_path, wait_for_disk=False)
    resumed.resume()
    front = front_over(resumed)
    assert reads_of_runs(resumed["ses"], lambda: send(front, [2, 3])) == 1
    assert front.take(volume_frames(1)).duplicate
    assert front.take(volume_frames(1, number=7)).code == "conflict"
    assert front.take(wire.encode(hello())).next_index == 4
    resumed.close()


def test_a_run_that_ended_before_a_restart_takes_what_was_missing_and_nothing_after(sessions, tmp_path):
    earlier = front_over(sessions)
    earlier.take(wire.encode(hello()))
    send(earlier, [1])
    earlier.take(wire.encode(wire.EndRun(session="ses", run="run-01", n_volumes=2)))
    resumed = Sessions(tmp_path, wait_for_disk=False)
    resumed.resume()
    front = front_over(resumed)
    assert front.take(volume_frames(2)).code == "run_ended"
    send(front, [0])
    assert front.take(wire.encode(wire.EndRun(session="ses", run="run-01", n_volumes=2))).duplicate
    resumed.close()


def test_a_run_recorded_under_other_weights_is_refused_by_volume_and_by_hello(sessions):
    front = front_over(sessions)
    front.take(wire.encode(hello()))
    send(front, [0])
    others = random_weights(LDM, seed=1)
    front.use(others, CANDIDATES)
    for frames in (volume_frames(1), wire.encode(hello())):
        refused = front.take(frames)
        assert (refused.code, f"recorded under weights {WEIGHTS.fingerprint}" in refused.sentence) == ("weights", True)
    assert isinstance(front.take(wire.encode(hello(run="next"))), wire.Welcome)
    send(front, [0], run="next")


def test_a_session_that_was_left_out_is_refused_until_its_hello_opens_it_anew(sessions):
    front = front_over(sessions)
    front.take(wire.encode(hello()))
    send(front, [0])
    with sessions.without_if_damaged("ses"):
        raise JournalError("ses.sqlite3: damaged")
    assert front.take(volume_frames(1)).code == "run"
    assert front.take(wire.encode(hello())).next_index == 1
    send(front, [1])


def test_the_run_that_is_being_sent_is_named_until_it_ends(sessions):
    front = front_over(sessions)
    assert front.current_run() == ""
    front.take(wire.encode(hello()))
    assert front.current_run() == "run-01"
    front.take(wire.encode(wire.EndRun(session="ses", run="run-01", n_volumes=0)))
    assert front.current_run() == ""
