"""Programs that do not speak the protocol: web browsers, TLS, port scans, idle connections, half a message."""

import os
import random
import socket
import struct
import time

import psutil
import pytest
from running_daemon import PATIENCE_S, RunningDaemon, hello, volume_frames

from braind.client import wire

N_IDLE = 300
N_SCANS = 200
NAMES = ("ingest", "decodes", "control")
# Signature, version 3.1 and the NULL mechanism, as a ZeroMQ client greets.
GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
FIRST_BYTES = {
    "nothing": b"",
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a web socket": b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.Random(0).randbytes(506),
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "random bytes": random.Random(1).randbytes(65536),
    "half a greeting": GREETING[:11],
    "a greeting and nothing": GREETING,
    "an old greeting": b"\x01\x00",
    "a greeting and random bytes": GREETING + random.Random(2).randbytes(4096),
    "a frame of 2^63 bytes": GREETING + READY + b"\x02" + struct.pack(">Q", 2**63 - 1),
    "a frame of 1 GiB": GREETING + READY + b"\x02" + struct.pack(">Q", 2**30) + bytes(4096),
    "half a message": GREETING + READY + b"\x01\x04BRD1\x01\xff{" + b'"type":',
}


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    # Nothing here needs a decode.
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("strangers"))
    daemon.start(wait=False).wait_bound()
    assert_good_client_is_served(daemon, "first")
    yield daemon
    daemon.close()


def dial(daemon, name):
    port = int(daemon.addresses[name].rsplit(":", 1)[1])
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def assert_good_client_is_served(daemon, run):
    with daemon.connect("ingest") as peer, daemon.watch():
        assert isinstance(peer.ask(hello(run=run)), wire.Welcome)
        assert isinstance(peer.ask_frames(volume_frames(0, run=run)), wire.Ack)
    assert daemon.status().pid == daemon.process.pid


def n_descriptors(daemon):
    return psutil.Process(daemon.process.pid).num_fds()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("first_bytes", FIRST_BYTES)
def test_a_stranger_changes_nothing_for_a_good_client(daemon, name, first_bytes):
    before = psutil.Process(daemon.process.pid).memory_info().rss
    stranger = dial(daemon, name)
    stranger.sendall(FIRST_BYTES[first_bytes])
    assert_good_client_is_served(daemon, f"{name}-{list(FIRST_BYTES).index(first_bytes)}")
    stranger.close()
    assert psutil.Process(daemon.process.pid).memory_info().rss - before < 8 * 2**20


def test_300_idle_connections_leave_a_good_client_alone_and_are_closed(daemon):
    before = n_descriptors(daemon)
    strangers = [dial(daemon, NAMES[number % len(NAMES)]) for number in range(N_IDLE)]
    assert_good_client_is_served(daemon, "idle")
    for stranger in strangers:
        while stranger.recv(4096):  # ZeroMQ greets; then it closes
            pass
        stranger.close()
    deadline = time.monotonic() + PATIENCE_S
    while n_descriptors(daemon) > before + len(NAMES):
        assert time.monotonic() < deadline, f"{n_descriptors(daemon)} descriptors, {before} before"
        time.sleep(0.05)


def test_a_port_scan_leaves_no_descriptors_and_no_memory(daemon):
    before, memory = n_descriptors(daemon), psutil.Process(daemon.process.pid).memory_info().rss
    for number in range(N_SCANS):
        stranger = dial(daemon, NAMES[number % len(NAMES)])
        if number % 2:
            stranger.sendall(os.urandom(number))
        # reset, as scanners do
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stranger.close()
    assert_good_client_is_served(daemon, "scanned")
    deadline = time.monotonic() + PATIENCE_S
    while n_descriptors(daemon) > before + len(NAMES):
        assert time.monotonic() < deadline, f"{n_descriptors(daemon)} descriptors, {before} before"
        time.sleep(0.05)
    assert psutil.Process(daemon.process.pid).memory_info().rss - memory < 8 * 2**20


def test_strangers_do_not_fill_the_log(daemon):
    before = len(daemon.words())
    for _ in range(N_SCANS):
        with dial(daemon, "ingest") as stranger:
            stranger.sendall(FIRST_BYTES["HTTP"])
    assert_good_client_is_served(daemon, "log")
    assert len(daemon.words()) - before < 4096
    assert "Traceback" not in daemon.words()
