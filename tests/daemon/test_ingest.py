"""The front at its real socket: which messages reach the decoder, and which grids are taken."""

import asyncio

import numpy as np
import pytest
import zmq
from running_daemon import AFFINE, SHAPE, LdmFacts, hello, random_candidates, random_weights, volume_frames

from braind.client import wire
from braind.config import load_config
from braind.daemon import link
from braind.daemon.ingest import Ingest
from braind.daemon.sessions import Sessions
from braind.daemon.sockets import bind_sockets
from braind.daemon.state import DaemonState
from braind.models.weights.blank import blank_weights
from braind.models.weights.candidate_names import CandidateNames

LDM = LdmFacts("ldm", (4, 16, 16), (16, 96))
WEIGHTS = random_weights(LDM)
CANDIDATES = CandidateNames(random_candidates(LDM).nsd_id, random_candidates(LDM).labels, ())
BLANK = blank_weights(1, np.ones(SHAPE, bool), np.array(AFFINE), "beta")
END = wire.encode(wire.EndRun(session="ses", run="run-01", n_volumes=3))


@pytest.fixture
def send_all(tmp_path):
    """Send messages to a front, each after the answer to the last; return the answers and the lines to the decoder."""

    async def serve(messages, weights):
        ports = {"ingest_port": 0, "decodes_port": 0, "control_port": 0}
        sockets = bind_sockets(load_config(None, {"serve": ports}).serve, SHAPE)
        sessions, lines = Sessions(tmp_path, wait_for_disk=False), []
        state = DaemonState(sessions, weights, preset="live-4", policy="all")
        front = Ingest(sockets.ingest, sessions, state, weights, CANDIDATES, store_volumes=False, wake=lines.append)
        serving = asyncio.create_task(front.serve())
        scanner = sockets.context.socket(zmq.DEALER)
        scanner.connect(sockets.endpoints.ingest)
        answers = []
        async with asyncio.timeout(60):
            # The clock's answer comes after the lines of every message before it.
            for frames in [*messages, wire.encode(wire.ClockRequest(sent_s=0.0))]:
                await scanner.send_multipart(frames)
                answers.append(wire.decode(await scanner.recv_multipart())[0])
        serving.cancel()
        sockets.close()
        sessions.close()
        return answers[:-1], lines

    return lambda messages, weights=WEIGHTS: asyncio.run(serve(messages, weights))


def woken(lines):
    return [line.index if isinstance(line, link.Wake) else "end" for line in lines]


def test_each_new_volume_wakes_the_decoder_and_a_duplicate_does_not(send_all):
    volumes = [volume_frames(index) for index in (0, 0, 1, 0, 1, 2)]
    answers, lines = send_all([wire.encode(hello()), *volumes])
    assert [answer.duplicate for answer in answers[1:]] == [False, True, False, True, True, False]
    assert woken(lines) == [0, 1, 2]


def test_a_refused_volume_does_not_wake_the_decoder(send_all):
    other_bytes, no_run = volume_frames(0, number=9), volume_frames(0, run="unknown")
    answers, lines = send_all([wire.encode(hello()), volume_frames(0), other_bytes, no_run])
    assert [answer.code for answer in answers[2:]] == ["conflict", "run"]
    assert woken(lines) == [0]


def test_the_end_of_a_run_reaches_the_decoder_once(send_all):
    _, lines = send_all([wire.encode(hello()), *map(volume_frames, range(3)), END, END])
    assert woken(lines) == [0, 1, 2, "end"]


def test_a_wake_tells_when_the_volume_arrived_and_how_long_its_ack_took(send_all):
    _, (first, second) = send_all([wire.encode(hello()), volume_frames(0), volume_frames(1)])
    assert first.arrived_s + first.ack_s <= second.arrived_s
    assert first.ack_s > 0


def test_a_volume_that_is_only_recorded_wakes_no_decoder(send_all):
    answers, lines = send_all([wire.encode(hello()), volume_frames(0)], BLANK)
    assert isinstance(answers[1], wire.Ack)
    assert woken(lines) == []


def shifted(shift_mm, axis):
    affine = np.array(AFFINE)
    affine[axis, 3] += shift_mm
    return wire.encode(hello(affine=tuple(map(tuple, affine.tolist()))))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_run_whose_affine_is_shifted_by_a_twentieth_of_a_millimetre_is_taken(send_all, axis):
    (answer,), _ = send_all([shifted(0.05, axis)])
    assert isinstance(answer, wire.Welcome)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shift_mm", [0.2, -0.2, 2.0])
def test_a_run_whose_affine_is_shifted_by_more_is_refused_with_the_distance(send_all, shift_mm, axis):
    (answer,), _ = send_all([shifted(shift_mm, axis)])
    assert (answer.code, f"up to {abs(shift_mm)} mm away" in answer.sentence) == ("affine", True)
