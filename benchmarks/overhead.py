"""What the daemon adds: a volume in → its ack, and → its Xzc, beside a bare pyzmq echo of the same bytes, in turn."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from support.measuring import N_WARM_UPS, seconds, summary
from support.serving import NSD_SHAPE, NSD_VOXELS, Serving, serving, write_random_weights

from braind.client import wire
from braind.client.address import Address
from braind.client.connection import connect
from braind.daemon.ingest import Ingest
from braind.daemon.journal.journal import Journal
from braind.daemon.sessions import Sessions
from braind.daemon.state import DaemonState
from braind.models.weights import roi
from braind.models.weights.candidate_names import CandidateNames
from braind.models.weights.weights import Weights

N_ROUNDS, N_NSD_ROUNDS = 150, 60
IDLE_S = 0.05  # between rounds, for what the daemon still does after a picture
PATIENCE_MS = 60_000


def measure(daemon: Serving, *, quick: bool) -> dict[str, Any]:
    """Measure with the running daemon's volumes, and with volumes of NSD's size and random weights."""
    result = {"rows": [compare("simulated volume", daemon, 3 if quick else N_ROUNDS)]}
    if not quick:
        with tempfile.TemporaryDirectory(prefix="braind-bench-") as folder:
            paths = write_random_weights(Path(folder), NSD_SHAPE, NSD_VOXELS)
            with serving(*paths, engine="auto") as nsd_daemon:
                result["rows"].append(compare("volume of NSD's size, random weights", nsd_daemon, N_NSD_ROUNDS))
    return result


def compare(what: str, daemon: Serving, n_rounds: int) -> dict[str, Any]:
    """Send a volume to the echo and to the daemon, wait for the picture, and so on; then time the ack's parts alone."""
    context = zmq.Context()
    times: dict[str, list[float]] = {"echo": [], "ack": [], "xzc": []}
    with echoing() as port, connect(context, zmq.DEALER, Address("127.0.0.1", port)) as echo:
        with (
            connect(context, zmq.DEALER, daemon.endpoints.address("ingest")) as ingest,
            connect(context, zmq.SUB, daemon.endpoints.address("decodes")) as decodes,
        ):
            decodes.subscribe(b"")
            _receive(decodes)  # a heartbeat: from now on it hears everything
            run = "overhead"
            ingest.send_multipart(wire.encode(daemon.hello(run)))
            assert isinstance(_receive(ingest), wire.Welcome)
            for index in range(n_rounds + N_WARM_UPS):
                time.sleep(IDLE_S)
                frames = daemon.frames(run, index, daemon.values(index))
                taken_s = [seconds(lambda: _ask_echo(echo, frames))]  # noqa: B023 (called at once)
                began_s = time.perf_counter()
                ingest.send_multipart(frames)
                answer = _receive(ingest)
                taken_s.append(time.perf_counter() - began_s)
                assert isinstance(answer, wire.Ack), answer
                while getattr(message := _receive(decodes), "stage", "") != "xzc" or message.index != index:
                    pass
                taken_s.append(time.perf_counter() - began_s)
                if index >= N_WARM_UPS:
                    for name, one_s in zip(times, taken_s, strict=True):
                        times[name].append(one_s)
    context.destroy(linger=0)
    n_bytes = int(daemon.values(0).nbytes)
    added_ms = summary(times["ack"])["p50_ms"] - summary(times["echo"])["p50_ms"]
    return {
        "volume": what, "shape": daemon.weights.card.shape, "bytes": n_bytes,
        "voxels": len(daemon.weights.voxel_index), "ack_over_echo_p50_ms": round(added_ms, 3),
        **{name: summary(values) for name, values in times.items()},
        "parts": parts_of_an_ack(daemon, n_rounds),
    }  # fmt: skip


def parts_of_an_ack(daemon: Serving, n_rounds: int) -> dict[str, dict[str, float]]:
    """Time, without sockets and on the same disk, all that the front does for an ack, and its largest parts alone."""
    weights = daemon.weights
    times: dict[str, list[float]] = {"front": [], "read and check": [], "commit": [], "write and fdatasync": []}
    with tempfile.TemporaryDirectory(prefix="braind-bench-") as folder:
        front = quiet_ingest(Path(folder) / "front", weights)
        front.take([bytes(frame) for frame in wire.encode(daemon.hello("parts"))])
        journal = Journal(Path(folder) / "alone.sqlite3")
        journal.open_run(daemon.hello("parts"), weights.fingerprint)
        with (Path(folder) / "file").open("wb", buffering=0) as file:
            for index in range(n_rounds + N_WARM_UPS):
                frames = [bytes(frame) for frame in daemon.frames("parts", index, daemon.values(index))]
                taken_s = [seconds(lambda: front.take(frames))]  # noqa: B023 (all called at once)
                volume, payload = wire.decode(frames)
                voxels = _voxels(frames, weights)
                taken_s.append(seconds(lambda: _voxels(frames, weights)))  # noqa: B023
                taken_s.append(seconds(lambda: journal.add_volume(volume, voxels, seen=None, whole=None)))  # noqa: B023
                taken_s.append(seconds(lambda: _write(file, voxels.tobytes())))  # noqa: B023
                if index >= N_WARM_UPS:
                    for name, one_s in zip(times, taken_s, strict=True):
                        times[name].append(one_s)
        journal.close()
    return {name: summary(values) for name, values in times.items()}


def quiet_ingest(folder: Path, weights: Weights) -> Ingest:
    """Return a front that hears no socket and wakes no decoder."""
    folder.mkdir()
    sessions = Sessions(folder, wait_for_disk=True)
    state = DaemonState(sessions, weights, preset="", policy="latest")
    no_socket: Any = None
    no_candidates = CandidateNames(np.zeros(0, np.int64), [])
    return Ingest(no_socket, sessions, state, weights, no_candidates, store_volumes=False, wake=lambda _: None)


@contextmanager
def echoing() -> Iterator[int]:
    """Run the bare echo in a process of its own; yields its port."""
    echo = subprocess.Popen([sys.executable, Path(__file__).parent / "support" / "echo.py"], stdout=subprocess.PIPE)
    try:
        assert echo.stdout is not None
        yield int(echo.stdout.readline())
    finally:
        echo.kill()
        echo.wait()


def _ask_echo(echo: zmq.Socket, frames: list[Any]) -> None:
    echo.send_multipart(frames)
    _receive(echo)


def _receive(socket: zmq.Socket) -> Any:
    assert socket.poll(PATIENCE_MS), "no answer"
    return wire.decode(socket.recv_multipart())[0]


def _voxels(frames: list[bytes], weights: Weights) -> Any:
    volume, payload = wire.decode(frames)
    voxels = roi.gather(wire.volume_array(volume, payload), weights.voxel_index, volume.scale)
    roi.check_finite(voxels, "beta")
    return voxels


def _write(file: Any, content: bytes) -> None:
    file.write(content)
    os.fdatasync(file.fileno())
