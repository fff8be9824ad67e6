"""Peers' bytes, written here from their published layouts, arrive as the volumes they hold; bad ones end their peer."""

import json
import math
import socket
import struct
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import zmq
from peer_bytes import AFFINE, SHAPE, motion, stream, volume, vsend

PATIENCE_S = 30


@contextmanager
def bridge(daemon, peer, *options):
    """The real command; gives its ports."""
    command = [
        sys.executable, "-m", "braind", "bridge", peer, "--port", "0", "--control-port", "0", "--motion-port", "0",
        "--session", "s", "--run", "r", "--to", f"tcp://127.0.0.1:{daemon.ingest_port}", *options,
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("listening "), process.stderr.read()
        process.ports = [int(word.rpartition(":")[2]) for word in line.split()[1:]]
        yield process
        assert process.poll() is None
    finally:
        process.kill()
        process.words = process.communicate()[1]


def connect(port):
    peer = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    peer.settimeout(PATIENCE_S)
    return peer


def wait_closed(peer):
    while peer.recv(1024):
        pass
    peer.close()


def arrived(daemon):
    return sorted((run, index) for _, run, index in daemon.volumes)


def assert_arrived(daemon, run, number, expected):
    np.testing.assert_array_equal(daemon.volumes["s", run, number], expected)


# ── Pyneal ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class PynealSender:
    HELLO = b"hello from pyneal_scanner "

    def __init__(self, context, port):
        # A PAIR socket turns a peer away until it has seen the last one go: say hello until it is echoed.
        for _ in range(2 * PATIENCE_S):
            self.socket = context.socket(zmq.PAIR)
            self.socket.linger = 0
            self.socket.connect(f"tcp://127.0.0.1:{port}")
            self.socket.send(self.HELLO)
            if self.socket.poll(500):
                break
            self.socket.close()
        assert self.socket.recv() == self.HELLO

    def send(self, number, voxels, tr="1.333"):
        header = (
            f'{{"volIdx": {number}, "dtype": "{voxels.dtype.name}", "shape": {list(SHAPE)}, '
            f'"affine": "{json.dumps(AFFINE)}", "TR": "{tr}"}}'
        )
        self.socket.send_multipart([header.encode(), np.ascontiguousarray(voxels).tobytes()])
        assert self.socket.poll(PATIENCE_S * 1000), "no ack"
        return self.socket.recv()


def test_pyneal(daemon):
    context = zmq.Context()
    with bridge(daemon, "pyneal") as process:
        (port,) = process.ports
        sender = PynealSender(context, port)
        for number in range(2):
            assert sender.send(number, volume(number, np.float64)) == b"received volIdx %d" % number
        sender.socket.close()
        # the sender is started again in the run, and goes on; then again, for another run, with a TR in ms
        sender = PynealSender(context, port)
        assert sender.send(1, volume(1, np.float64)) == b"received volIdx 1"
        assert sender.send(2, volume(2, np.float64)) == b"received volIdx 2"
        sender.socket.close()
        sender = PynealSender(context, port)
        assert sender.send(0, volume(7, np.float64), tr="1333.0") == b"received volIdx 0"
        sender.socket.close()
    assert arrived(daemon) == [("r-1", 0), ("r-1", 1), ("r-1", 2), ("r-2", 0)]
    for number in range(3):
        assert_arrived(daemon, "r-1", number, volume(number, np.float64))
    assert daemon.ended == {"r-1": 3}
    context.term()


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ([b"\xff\xfe"], "1 parts"),
        ([b"{", b""], "not Pyneal's"),
        ([b'{"volIdx": 0, "dtype": "object", "shape": [1,1,1], "affine": "[[1]]", "TR": "1"}', b"1234567"], "dtype"),
        ([b'{"volIdx": 0, "dtype": "int16", "shape": [4,5,6], "affine": "[]", "TR": "1"}', b""], "affine"),
        ([b'{"volIdx": 0, "dtype": "int16", "shape": [4,5,6], "affine": "' + json.dumps(AFFINE).encode()
          + b'", "TR": "1"}', b"12"], "2 bytes"),
        ([b"a", b"b", b"c"], "3 parts"),
    ],
)  # fmt: skip
def test_no_pyneal_bytes_are_taken_for_a_volume(message, named):
    from braind.client.bridges.pyneal import read_pyneal
    from braind.client.bridges.runs import PeerError

    with pytest.raises(PeerError, match=named):
        read_pyneal(message)


def test_a_malformed_pyneal_sender_ends_its_own_connection_only(daemon):
    context = zmq.Context()
    with bridge(daemon, "pyneal") as process:
        (port,) = process.ports
        bad = PynealSender(context, port)
        bad.socket.send_multipart([b"{", b""])
        assert process.stdout.readline().startswith("listening ")  # again, for the next one
        bad.socket.close()
        good = PynealSender(context, port)
        assert good.send(0, volume(0)) == b"received volIdx 0"
        good.socket.close()
    assert "not Pyneal's" in process.words
    context.term()


# ── MURFI ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def send_image(port, data):
    peer = connect(port)
    peer.sendall(data)
    wait_closed(peer)


def test_murfi(daemon):
    moved = [0.1, 0.2, 0.3, 1.0, 2.0, 3.0]
    with bridge(daemon, "murfi") as process:
        (port,) = process.ports
        send_image(port, vsend(0, volume(0)))
        send_image(port, vsend(1, volume(1), pre_header=True))
        send_image(port, vsend(2, volume(2), mosaic=True, moved=moved))
        send_image(port, b"GET / HTTP/1.1\r\n" * 60)
        cut(port, vsend(3, volume(3))[:-100])
        send_image(port, vsend(3, volume(3), pre_header=True, mosaic=True, swap=True))
        send_image(port, vsend(0, volume(9), series="1.2.4"))
    assert arrived(daemon) == [("r-1", 0), ("r-1", 1), ("r-1", 2), ("r-1", 3), ("r-2", 0)]
    for number in range(4):
        assert_arrived(daemon, "r-1", number, volume(number))
    assert daemon.headers["s", "r-1", 2].motion == pytest.approx((*moved[:3], *map(math.radians, moved[3:])))
    assert "closed in the middle of a message" in process.words
    assert "its connection is closed" in process.words


@pytest.mark.parametrize(
    ("tr_ms", "words"), [(0, "nothing says the TR; give it with --tr SECONDS"), (2, "a TR of 0.002 s, which is not")]
)
def test_a_tr_that_murfis_peer_does_not_say_is_asked_about(daemon, tr_ms, words):
    with bridge(daemon, "murfi") as process:
        send_image(*process.ports, vsend(0, volume(0), tr_ms=tr_ms))
    assert words in process.words
    assert not daemon.volumes


@pytest.mark.parametrize("tr_ms", [0, 2, 1000])
def test_the_tr_of_the_command_overrules_murfis_peer(daemon, tr_ms):
    with bridge(daemon, "murfi", "--tr", "2.0") as process:
        send_image(*process.ports, vsend(0, volume(0), tr_ms=tr_ms))
        send_image(*process.ports, vsend(1, volume(1), tr_ms=tr_ms))
    assert arrived(daemon) == [("r-1", 0), ("r-1", 1)]
    assert daemon.hellos["s", "r-1"].tr_s == 2.0
    assert process.words.count("the 2 s of --tr are taken") == (tr_ms > 0)


def cut(port, data):
    """A sender that dies."""
    peer = connect(port)
    peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
    wait_closed(peer)


# ── AFNI ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_afni(daemon):
    moved = [(0.5, 0.25, -0.125, 1.0, 2.0, 3.0), (1.7396810054779053, 0.0, 0.0, 0.0, 0.0, 0.0)]
    rois = [(10.0, 20.0), (11.0, 21.0)]
    with bridge(daemon, "afni", "--motion-wait", "20") as process:
        control, images, receiver = process.ports
        cut(control, b"tcp:h:7960\n\0")
        with connect(receiver) as told:
            told.sendall(motion(1, *(m + r for m, r in zip(moved, rois, strict=True)), counts=[2], order=">"))
            cut(images, stream(volume(0), volume(1), order="MSB_FIRST"))
            told.sendall(bytes([0xDE, 0xAD, 0xDE, 0xAD]))
        # another run, its axes the other way, ended in band; then one that is cut in a volume
        turned = [v[::-1, ::-1] for v in (volume(2), volume(3))]
        end = b"Et Earello Endorenna utulien!!".ljust(240, b"\0")
        cut(images, stream(*turned, axes="R-L A-P I-S", first="1.4R 2.2A 6.0I") + end)
        # two runs of a session on one connection
        cut(images, stream(volume(6)) + end[:40] + stream(volume(7), volume(8)))
        cut(images, b"no header\0")
        cut(images, stream(volume(4), volume(5))[:-17])
    expected = [
        ("r-1", 0, 0), ("r-1", 1, 1), ("r-2", 0, 2), ("r-2", 1, 3), ("r-3", 0, 6), ("r-4", 0, 7), ("r-4", 1, 8),
        ("r-5", 0, 4),
    ]  # fmt: skip
    assert arrived(daemon) == [(run, index) for run, index, _ in expected]
    for run, index, number in expected:
        assert_arrived(daemon, run, index, volume(number))
    first, second = (daemon.headers["s", "r-1", index] for index in range(2))
    expected = (0.5, 0.25, -0.125, math.radians(2), math.radians(3), math.radians(1))
    assert first.motion == pytest.approx(expected)
    assert second.motion[0] == moved[1][0]
    assert (first.roi_values, second.roi_values) == (rois[0], rois[1])
    assert daemon.ended == {"r-1": 2, "r-2": 2, "r-3": 1, "r-4": 2, "r-5": 1}
    assert "volume 1 is partial, 223 of 240 bytes" in process.words
    assert "not AFNI's" in process.words


HELLOS = [(0, [], 0), (1, [0], 0), (1, [3], 3), (2, [2], 16), (3, [4], 4), (4, [2, 3], 5)]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("version", "counts", "n_extra"), HELLOS)
def test_every_hello_of_afni_with_a_displacement_that_looks_like_a_bye(order, version, counts, n_extra):
    import asyncio

    from braind.client.bridges.afni_motion import MotionValues, read_motion

    # Blocks that begin, on the wire, with three bytes of a bye, and with all four.
    look_alikes = [bytes([0xDE, 0xAD, 0xDE, last]) for last in (0x3F, 0xAD)]
    shifts = [0.5, *(struct.unpack(f"{order}f", start)[0] for start in look_alikes), 2.5]
    blocks = [(shift, 0.0, 0.1, 1.0, 2.0, 3.0, *range(n_extra)) for shift in shifts]
    data = motion(version, *blocks, counts=counts, order=order) + bytes([0xDE, 0xAD, 0xDE, 0xAD])
    assert all(start in data for start in look_alikes)

    async def read():
        reader, values = asyncio.StreamReader(), MotionValues()
        reader.feed_data(data)
        reader.feed_eof()
        await read_motion(reader, values)
        return [await values.of(index, 0) for index in range(len(shifts) + 1)]

    *found, beyond = asyncio.run(read())
    assert beyond is None
    assert [one.motion[0] for one in found] == shifts
    n_rois = counts[0] if version in (1, 4) else 0
    assert found[0].roi_values == tuple(range(n_rois))
