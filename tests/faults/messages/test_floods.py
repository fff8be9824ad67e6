"""Peers that send without end: bounded memory, and everybody else is served."""

import random
import socket
import struct
from contextlib import suppress

import psutil
import pytest
from running_daemon import RunningDaemon, hello, volume_frames

from braind.client import wire

SIXTEEN_KIB = 16 * 1024


@pytest.fixture
def daemon(files, tmp_path):
    daemon = RunningDaemon(files, tmp_path)
    yield daemon.start(wait=False).wait_bound()
    daemon.close()


def raw_peer(daemon, name, kind):
    """Return a TCP connection that has shaken hands as a ZeroMQ socket (ZMTP 3.0, rfc.zeromq.org/spec/23).

    Subscriptions of an earlier connection that are still to be read can cost a new one with the same file descriptor
    its connection, so a closed connection is tried again, as libzmq does.
    """
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
    ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
    address = ("127.0.0.1", int(daemon.addresses[name].rsplit(":", 1)[1]))
    for _ in range(100):
        connection = socket.create_connection(address, timeout=30)
        with suppress(ConnectionError):
            connection.sendall(greeting + b"\x04" + bytes([len(ready)]) + ready)
            answered = b""
            while content := connection.recv(4096):
                answered += content
                if b"READY" in answered:
                    return connection
        connection.close()
    raise AssertionError(f"{name} closed 100 connections during the handshake")


def frame(content, more=False):
    return bytes([2 | more]) + struct.pack(">Q", len(content)) + content


def send_until_closed(connection, block, most_bytes):
    """Send a block again and again; return how many bytes went before the connection was closed."""
    sent = 0
    try:
        connection.settimeout(3)
        while sent < most_bytes:
            connection.sendall(block() if callable(block) else block)
            sent += SIXTEEN_KIB
    except OSError:
        return sent
    raise AssertionError(f"{most_bytes} bytes were taken")


def memory_bytes(daemon):
    return psutil.Process(daemon.process.pid).memory_info().rss


@pytest.mark.parametrize("n_topic", [4, 900])
def test_a_flood_of_subscriptions_costs_the_viewer_its_connection_and_nobody_else_anything(daemon, n_topic):
    chance = random.Random(3)

    def topics():
        n = SIXTEEN_KIB // (n_topic + 10)
        return b"".join(frame(b"\x01" + chance.randbytes(n_topic)) for _ in range(n))

    with daemon.watch() as viewer, daemon.connect("ingest") as scanner:
        before = memory_bytes(daemon)
        for _ in range(4):
            with raw_peer(daemon, "decodes", b"SUB") as flood:
                send_until_closed(flood, topics, 60 * 2**20)
        assert isinstance(viewer.receive(), wire.Heartbeat)
        assert isinstance(scanner.ask(hello()), wire.Welcome)
        assert isinstance(scanner.ask_frames(volume_frames(0)), wire.Ack)
        assert memory_bytes(daemon) - before < 64 * 2**20
    assert "closed a viewer that subscribed" in daemon.words()


def test_viewers_that_come_and_go_are_never_taken_for_a_flood(daemon):
    with daemon.connect("control") as control:
        for _ in range(40):
            with raw_peer(daemon, "decodes", b"SUB") as viewer:
                viewer.sendall(frame(b"\x01" + wire.MAGIC))
                for _ in range(3):  # the daemon's loop has its turn: it reads the subscription
                    assert isinstance(control.ask(wire.StatusRequest()), wire.Status)
    with daemon.watch() as viewer:
        assert isinstance(viewer.receive(), wire.Heartbeat)
    assert "closed a viewer" not in daemon.words()


@pytest.mark.parametrize("name", ["ingest", "control"])
def test_a_message_that_never_ends_costs_its_sender_the_connection(daemon, name):
    before = memory_bytes(daemon)
    with raw_peer(daemon, name, b"DEALER") as flood:
        send_until_closed(flood, frame(bytes(SIXTEEN_KIB), more=True), 320 * 2**20)
    with daemon.connect("ingest") as scanner:
        assert isinstance(scanner.ask(hello()), wire.Welcome)
    assert memory_bytes(daemon) - before < 64 * 2**20
    assert "closed a connection" in daemon.words()


def test_more_bytes_in_whole_messages_than_are_kept_at_once_are_all_answered(daemon):
    with daemon.connect("control") as control:
        for _ in range(400):  # 12 MiB; 4 MiB are kept
            answer = control.ask_frames([b"BRD1", b'{"type":"status_request","x":"' + b"a" * 30_000 + b'"}'])
            assert isinstance(answer, wire.Status)
    assert "closed a connection" not in daemon.words()


def test_a_peer_that_resets_its_connection_while_the_front_stands_still_does_not_end_it(daemon):
    front = psutil.Process(daemon.process.pid)
    with raw_peer(daemon, "control", b"DEALER") as flood:
        front.suspend()
        flood.sendall(frame(b"x" * 100) * 5000)
        flood.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    front.resume()
    assert isinstance(daemon.status(), wire.Status)
