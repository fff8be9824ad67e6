"""Floods of malformed and mutated messages on all three sockets, while a good client goes on."""

import json
import random

import psutil
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import control_messages, ingest_messages, mutated
from running_daemon import PATIENCE_S, RunningDaemon, hello, volume_frames

from braind.client import wire

FEW, MANY = 2_000, 100_000
N_HEADERS = 300
IN_FLIGHT = 32
MOST_GROWTH = 64 * 2**20
AMOUNTS = [FEW, pytest.param(MANY, marks=[pytest.mark.faults, pytest.mark.timeout(900)])]


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    """A daemon with a good client's open run, and the memory that it takes after the first messages."""
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("mutated"), decode={"mode": "z"})
    daemon.start()
    chance = random.Random(1)
    with daemon.connect("ingest") as peer:
        peer.ask(hello(run="good"))
        for frames in ingest_messages():
            peer.ask_frames(frames)
        flood(peer, [mutated(chance.choice(ingest_messages()), chance) for _ in range(200)])
    yield daemon
    daemon.close()


def flood(peer, messages):
    """Send messages and count the answers; a fetch has several. Return how many were answered."""
    n_sent = n_answered = 0
    while n_answered < len(messages):
        while n_sent < len(messages) and n_sent - n_answered < IN_FLIGHT:
            peer.socket.send_multipart(messages[n_sent])
            n_sent += 1
        assert peer.socket.poll(PATIENCE_S * 1000), f"{n_sent - n_answered} answers are missing"
        answer, _ = wire.decode(peer.socket.recv_multipart())
        n_answered += not isinstance(answer, wire.Numbered)
    assert not peer.socket.poll(100), "more answers than messages"
    return n_answered


def memory(daemon):
    return psutil.Process(daemon.process.pid).memory_info().rss


def assert_good_client_is_served(daemon):
    with daemon.connect("ingest") as peer, daemon.watch() as viewer:
        index = peer.ask(hello(run="good")).next_index
        daemon.ask(wire.Pause(paused=False))
        assert isinstance(peer.ask_frames(volume_frames(index, run="good")), wire.Ack)
        viewer.until(lambda message: (message.run, message.index) == ("good", index))
    assert daemon.status().decoder_restarts == 0


@pytest.mark.parametrize("n_messages", AMOUNTS)
@pytest.mark.parametrize("name", ["ingest", "control"])
def test_every_mutated_message_is_answered_and_memory_stays(daemon, chance, name, n_messages):
    before = memory(daemon)
    sources = ingest_messages() if name == "ingest" else control_messages()
    with daemon.connect(name) as peer:
        messages = [mutated(chance.choice(sources), chance) for _ in range(n_messages)]
        assert flood(peer, messages) == n_messages
    assert_good_client_is_served(daemon)
    assert memory(daemon) - before <= MOST_GROWTH


@pytest.mark.parametrize("n_messages", AMOUNTS)
def test_messages_to_the_decodes_socket_change_nothing_for_viewers(daemon, chance, n_messages):
    before = memory(daemon)
    context = zmq.Context()
    stranger = context.socket(zmq.XSUB)
    stranger.sndhwm = IN_FLIGHT
    stranger.connect(daemon.addresses["decodes"])
    sources = ingest_messages() + control_messages()
    for _ in range(n_messages):
        frames = mutated(chance.choice(sources), chance)
        # A subscription to a topic, the end of one, or a message: the first byte says which.
        frames[0] = chance.choice([b"", b"\x00", b"\x01", b"\x02"]) + frames[0][:64]
        stranger.send_multipart(frames)
    assert_good_client_is_served(daemon)
    stranger.close(linger=0)
    context.term()
    assert memory(daemon) - before <= MOST_GROWTH


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(sorted({name for frames in ingest_messages() for name in json.loads(frames[1])}))
TYPES = st.sampled_from([json.loads(frames[1])["type"] for frames in ingest_messages()]) | st.text(max_size=8)
HEADERS = st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()) | st.builds(
    lambda kind, fields: json.dumps({"type": kind, **fields}).encode(), TYPES, st.dictionaries(FIELDS, JSON, max_size=9)
)  # fmt: skip


@pytest.fixture(scope="module")
def peer(daemon):
    with daemon.connect("ingest") as peer:
        yield peer


@settings(max_examples=N_HEADERS, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(header=HEADERS, payload=st.lists(st.binary(max_size=50), max_size=3))
def test_any_header_is_answered(peer, header, payload):
    assert isinstance(peer.ask_frames([b"BRD1", header, *payload]), wire.Message)
