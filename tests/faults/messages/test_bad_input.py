"""Hostile bytes, a full disk and a viewer that hangs, while a good client goes on."""

import os
import random
import resource
import socket

import psutil
import pytest
import zmq
from running_daemon import RunningDaemon, hello, volume_frames

from braind.client import wire

N_FUZZED = 60


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    # Nothing here needs a decode: the front is what is attacked, while the decoder may still be loading.
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("bad-input"))
    yield daemon.start(wait=False).wait_bound()
    daemon.close()


def assert_goes_on(daemon, run):
    with daemon.connect("ingest") as scanner:
        assert isinstance(scanner.ask(hello(run=run)), wire.Welcome)
        assert isinstance(scanner.ask_frames(volume_frames(0, run=run)), wire.Ack)


@pytest.mark.parametrize("name", ["ingest", "control"])
def test_mutated_messages_are_each_refused_or_answered(daemon, name):
    chance = random.Random(7)
    with daemon.connect(name) as peer:
        for _ in range(N_FUZZED):
            frames = [bytearray(frame) for frame in chance.choice([volume_frames(0), wire.encode(hello())])]
            for _ in range(chance.randrange(1, 6)):
                frame = chance.choice(frames)
                cut = chance.randrange(len(frame) + 1)
                if chance.random() < 0.3:
                    del frame[cut:]
                elif cut < len(frame):
                    frame[cut] = chance.randrange(256)
                frames = [frame for frame in frames if frame] or [bytearray(b"BRD1")]
            assert isinstance(peer.ask_frames(list(map(bytes, frames))), wire.Refused | wire.Welcome | wire.Ack)
    assert_goes_on(daemon, f"fuzzed-{name}")


@pytest.mark.parametrize("n_frames", [1, 2, 3, 1000])
def test_any_number_of_frames_is_answered(daemon, n_frames):
    with daemon.connect("ingest") as peer:
        assert peer.ask_frames([b""] * n_frames).code == "malformed"


def test_bytes_that_are_no_zeromq_at_all_do_no_harm(daemon):
    idle = []
    for address in (daemon.addresses["ingest"], daemon.addresses["decodes"], daemon.addresses["control"]):
        port = int(address.rsplit(":", 1)[1])
        for first_bytes in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", os.urandom(4096), b""):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(first_bytes)
            idle.append(connection)
    assert_goes_on(daemon, "after-garbage")
    for connection in idle:
        connection.close()


def test_a_frame_beyond_the_limit_costs_its_sender_the_connection_and_nobody_else(daemon):
    before = psutil.Process(daemon.process.pid).memory_info().rss
    context = zmq.Context()
    huge = context.socket(zmq.DEALER)
    huge.linger = 0
    huge.connect(daemon.addresses["ingest"])
    monitor = huge.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    huge.send_multipart([b"BRD1", b"{}", bytes(64 * 2**20)], copy=False)
    assert monitor.poll(60_000), "the connection was not closed"
    assert_goes_on(daemon, "after-huge")
    assert psutil.Process(daemon.process.pid).memory_info().rss - before < 32 * 2**20
    huge.disable_monitor()
    monitor.close()
    huge.close()
    context.term()


def test_a_viewer_that_hangs_delays_nobody_and_can_fetch_what_it_missed(daemon):
    context = zmq.Context()
    hanging = context.socket(zmq.SUB)
    hanging.rcvhwm = 1
    hanging.subscribe(b"")
    hanging.connect(daemon.addresses["decodes"])
    daemon.wait_ready()
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        scanner.ask(hello(run="hanging"))
        for index in range(10):
            scanner.ask_frames(volume_frames(index, run="hanging"))
        viewer.until(lambda message: message.run == "hanging" and message.index == 9 and message.stage == "xzc")
    seqs = [message.seq for message, _ in daemon.decodes()]
    assert seqs == list(range(1, daemon.status().last_seq + 1))
    hanging.close(linger=0)
    context.term()


def test_a_full_disk_is_an_answer_and_passes(daemon):
    pid = daemon.process.pid
    with daemon.connect("ingest") as scanner:
        scanner.ask(hello(run="full"))
        scanner.ask_frames(volume_frames(0, run="full"))
        unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        # No file may grow: what a full disk looks like to a program.
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, unlimited[1]))
        try:
            refused = scanner.ask_frames(volume_frames(1, run="full"))
            assert (refused.code, refused.retryable) == ("storage", True)
            assert daemon.status().state in ("starting", "ready")
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
        again = scanner.ask_frames(volume_frames(1, run="full"))
        assert again == wire.Ack(session="ses", run="full", index=1)
        assert scanner.ask(hello(run="full")).next_index == 2


def test_a_session_whose_journal_is_damaged_is_refused_by_path_and_others_go_on(daemon):
    path = daemon.data_path / "journals" / "damaged.sqlite3"
    path.write_bytes(b"no journal" * 1000)
    with daemon.connect("ingest") as scanner:
        refused = scanner.ask(hello(session="damaged"))
    assert refused.code == "journal"
    assert str(path) in refused.sentence
    assert_goes_on(daemon, "after-damaged")
