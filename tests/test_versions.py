"""A program and a daemon of neighbouring versions understand each other, by messages that were frozen at each release.

`tests/support/messages-0.2.txt` holds every kind of message byte for byte as braind 0.2 wrote it, with every field.
"""

import json
import threading
from contextlib import contextmanager
from pathlib import Path

import msgspec
import nibabel as nib
import numpy as np
import pytest
import zmq
from running_daemon import PATIENCE_S, RunningDaemon

from braind.client import wire
from braind.client.connection import RefusedByDaemon
from braind.client.control import ControlClient
from braind.client.scanner import ScannerClient
from braind.client.subscriber import DecodeSubscriber

FROZEN = sorted((Path(__file__).parent / "support").glob("messages-*.txt"))
ADDED = {"added_later": {"numbers": [1, 2]}}


def frozen_messages(path):
    """Return the frames of each message of a file."""
    messages = []
    for line in path.read_bytes().splitlines():
        if line.startswith(b"{"):
            messages.append([wire.MAGIC, line])
        elif line.startswith(b"    "):
            messages[-1].append(bytes.fromhex(line.decode()))
    return messages


MESSAGES = [frames for path in FROZEN for frames in frozen_messages(path)]
NAMES = [f"{path.stem}-{json.loads(frames[1])['type']}" for path in FROZEN for frames in frozen_messages(path)]
every_message = pytest.mark.parametrize("frames", MESSAGES, ids=NAMES)


def with_header(frames, change):
    return [frames[0], json.dumps(change(json.loads(frames[1]))).encode(), *frames[2:]]


def newer(value):
    """Return a header with a field more, in each object within it too; `timings_s` and `rois` are maps of numbers."""
    if isinstance(value, dict) and not all(isinstance(one, float) for one in value.values()):
        return {name: newer(one) for name, one in value.items()} | ADDED
    return [newer(one) for one in value] if isinstance(value, list) else value


def older(header):
    """Return a header with the fields alone that have no default."""
    required = {field.encode_name for field in fields_of(header["type"]) if field.required}
    return {name: value for name, value in header.items() if name in required | {"type"}}


def fields_of(tag):
    (message,) = (one for one in wire.AnyMessage.__args__ if one.__struct_config__.tag == tag)
    return msgspec.structs.fields(message)


def holds(later, earlier):
    """Return whether JSON holds all fields and values of earlier JSON; it may have more fields."""
    if isinstance(earlier, dict) and isinstance(later, dict):
        return all(name in later and holds(later[name], value) for name, value in earlier.items())
    if isinstance(earlier, list) and isinstance(later, list):
        return len(later) == len(earlier) and all(map(holds, later, earlier))
    return later == earlier and type(later) is type(earlier)


# ── each message ────────────────────────────────────────────────────────────────────────────────────────────────────


@every_message
def test_every_field_of_an_earlier_release_arrives_and_is_written_alike(frames):
    message, payload = wire.decode(frames)
    assert payload == frames[2:]
    assert holds(json.loads(bytes(wire.encode(message)[1])), json.loads(frames[1]))


@every_message
def test_fields_that_a_later_release_adds_are_passed_over(frames):
    assert wire.decode(with_header(frames, newer)) == wire.decode(frames)


@every_message
def test_fields_that_an_earlier_release_did_not_have_get_their_defaults(frames):
    message, _ = wire.decode(with_header(frames, older))
    for field in fields_of(json.loads(frames[1])["type"]):
        if not field.required:
            default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
            assert getattr(message, field.name) == default, field.name


def test_the_first_release_is_frozen_with_every_kind_of_message():
    assert len(frozen_messages(FROZEN[0])) == 29


# ── a daemon and a program ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    """A daemon that records the grid of the frozen messages."""
    folder = tmp_path_factory.mktemp("versions")
    hello = json.loads(MESSAGES[0][1])
    nib.Nifti1Image(np.ones(hello["shape"], np.uint8), np.array(hello["affine"])).to_filename(folder / "mask.nii")
    daemon = RunningDaemon(files, folder, mask=folder / "mask.nii")
    daemon.paths |= {"weights": None, "candidates": None, "kind": "bold"}
    yield daemon.start(wait=False).wait_bound()
    daemon.close()


SCAN = ("grid_request", "clock_request", "hello", "event", "volume", "end_run")
REQUESTS = ("status_request", "fetch_request", "pause", "mark", "calibration", "setup_request", "recorded_request")
ANSWERS = {
    "clock_request": "clock", "hello": "welcome", "event": "ack", "volume": "ack", "end_run": "ack",
    "status_request": "status", "setup_request": "setup", "recorded_request": "recorded", "grid_request": "grid",
}  # fmt: skip


@pytest.mark.parametrize(("version", "run"), [(older, "older"), (newer, "newer"), (dict, "same")])
@pytest.mark.parametrize("path", FROZEN, ids=lambda path: path.stem)
def test_a_daemon_serves_a_program_of_an_earlier_or_a_later_version(daemon, path, version, run):
    frozen = {json.loads(frames[1])["type"]: frames for frames in frozen_messages(path)}
    for socket, names in (("ingest", SCAN), ("control", REQUESTS)):
        with daemon.connect(socket) as program:
            for name in names:
                program.socket.send_multipart(with_header(frozen[name], lambda header: of_run(version(header), run)))
                answer = (
                    json.loads(program.socket.recv_multipart()[1]) if program.socket.poll(PATIENCE_S * 1000) else {}
                )
                wanted = ANSWERS.get(name, "done")
                assert answer.get("type") == wanted, f"{name}: {answer}"
                assert set(json.loads(frozen[wanted][1])) <= set(answer), "the program misses a field"


def of_run(header, run):
    """Return a header of another run. Without weights no pair is named, and a picture is announced with its bytes."""
    own = {"run": run} if "run" in header else {}
    no_pair = dict.fromkeys({"right", "foil"} & header.keys())
    seen = {"seen": True} if header["type"] in ("volume", "event") else {}
    return header | own | no_pair | seen


def test_a_viewer_of_an_earlier_version_finds_every_field_of_a_heartbeat(daemon):
    with daemon.watch() as viewer:
        heard = json.loads(viewer.socket.recv_multipart()[1])
    assert heard["type"] == "heartbeat"
    for frames in MESSAGES:
        if frames[1].startswith(b'{"type":"heartbeat"'):
            assert set(json.loads(frames[1])) <= set(heard)


def test_a_daemon_refuses_another_protocol_in_a_sentence(daemon):
    hello = wire.decode(MESSAGES[0])[0]
    with ScannerClient(daemon.addresses["ingest"]) as client, pytest.raises(RefusedByDaemon) as refused:
        client.open_run(msgspec.structs.replace(hello, run="other", protocol=2, right=None, foil=None))
    assert refused.value.code == "protocol"
    assert str(refused.value) == "protocol 2, this daemon speaks 1; update the older of the two"


@contextmanager
def daemon_of_protocol(version):
    """A daemon that answers `hello` and `status_request`, and that speaks a version; its address."""
    answers = {
        "hello": next(frames for frames in MESSAGES if b'"welcome"' in frames[1]),
        "status_request": next(frames for frames in MESSAGES if b'"type":"status"' in frames[1]),
    }
    context = zmq.Context()
    socket, is_over = context.socket(zmq.ROUTER), threading.Event()
    socket.linger = 0
    port = socket.bind_to_random_port("tcp://127.0.0.1")

    def answer():
        while not is_over.is_set():
            if socket.poll(50):
                who, *frames = socket.recv_multipart()
                given = answers[json.loads(frames[1])["type"]]
                socket.send_multipart([who, *with_header(given, lambda header: header | {"protocol": version})])

    answering = threading.Thread(target=answer)
    answering.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        is_over.set()
        answering.join()
        socket.close()
        context.term()


def test_a_program_refuses_another_protocol_in_a_sentence():
    hello = wire.decode(MESSAGES[0])[0]
    with daemon_of_protocol(2) as address:
        words = f"the daemon at {address} speaks protocol 2, this program 1; update the older of the two"
        with ScannerClient(address) as client, pytest.raises(RefusedByDaemon, match=words):
            client.open_run(hello)
        with ControlClient(address) as control, pytest.raises(RefusedByDaemon, match=words):
            control.status()
        port = int(address.rpartition(":")[2])
        with pytest.raises(RefusedByDaemon, match=words):
            DecodeSubscriber("127.0.0.1", port, port)
