"""A real `braind serve` for tests: its own data folder, free ports, small random weights, the embedded LDM."""

import atexit
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import psutil
import zmq

from braind.client import wire
from braind.models.weights.candidates import Candidates
from braind.models.weights.fingerprint import meaning_fingerprint
from braind.models.weights.low_rank import TargetStatistics, low_rank_map
from braind.models.weights.roi import mask_sha256
from braind.models.weights.weights import Weights, WeightsCard

SHAPE = (7, 8, 9)
AFFINE = ((1.8, 0.0, 0.0, -6.0), (0.0, 1.8, 0.0, -7.0), (0.0, 0.0, 1.8, -8.0), (0.0, 0.0, 0.0, 1.0))
N_VOXELS = 60
N_CANDIDATES = 12
PATIENCE_S = 120.0
PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90wS\xde\x00\x00\x00\x0cIDATx"
    b"\x9cc\xf8\xff\xff?\x00\x05\xfe\x02\xfe\r\xefF\xb8\x00\x00\x00\x00IEND\xaeB`\x82"
)


def random_weights(ldm: "LdmFacts", seed: int = 0) -> Weights:
    """Return weights whose maps are drawn at random: real in every way but what they predict."""
    generator = np.random.default_rng(seed)
    voxel_index = np.sort(generator.choice(int(np.prod(SHAPE)), N_VOXELS, replace=False)).astype(np.int64)
    card = WeightsCard(
        subject=1, shape=SHAPE, affine=AFFINE, z_rois=("early",), c_rois=("ventral",), ldm=ldm.fingerprint,
        latent_shape=ldm.latent_shape, text_shape=ldm.text_shape, simulated=True, nsd="random",
        mask_sha256=mask_sha256(voxel_index, SHAPE),
    )  # fmt: skip
    return Weights(
        voxel_index=voxel_index,
        voxel_mean=np.zeros(N_VOXELS, np.float32),
        voxel_std=np.ones(N_VOXELS, np.float32),
        z=_random_map(generator, np.arange(0, 40), int(np.prod(ldm.latent_shape))),
        c=_random_map(generator, np.arange(20, 60), int(np.prod(ldm.text_shape))),
        card=card,
    )


def _random_map(generator: np.random.Generator, positions: Any, n_targets: int) -> Any:
    rank = 8
    return low_rank_map(
        positions,
        generator.normal(size=(len(positions), rank)),
        generator.normal(size=(rank, n_targets)) / 10,
        np.zeros(len(positions)),
        np.zeros(n_targets),
        TargetStatistics(np.zeros(n_targets), np.ones(n_targets), np.zeros(n_targets)),
    )


def random_candidates(ldm: "LdmFacts") -> Candidates:
    """Return a few candidate pictures' features, drawn at random."""
    generator = np.random.default_rng(1)
    return Candidates(
        z=generator.normal(size=(N_CANDIDATES, *ldm.latent_shape)).astype(np.float32),
        c=generator.normal(size=(N_CANDIDATES, *ldm.text_shape)).astype(np.float32),
        nsd_id=np.arange(100, 100 + N_CANDIDATES),
        labels=[f"picture {number}" for number in range(N_CANDIDATES)],
        files=(),
    )


class Files:
    """What a daemon loads, written once for all tests."""

    def __init__(self, folder: Path, ldm_path: Path) -> None:
        self.ldm_path = ldm_path
        self.ldm = LdmFacts.read(ldm_path)
        self.weights = random_weights(self.ldm)
        self.candidates = random_candidates(self.ldm)
        self.weights_path = folder / "weights.safetensors"
        self.candidates_path = folder / "candidates.safetensors"
        self.weights.save(self.weights_path)
        self.candidates.save(self.candidates_path)


class LdmFacts(NamedTuple):
    """What weights must know of a latent diffusion model, read without loading it."""

    fingerprint: str
    latent_shape: tuple[int, int, int]
    text_shape: tuple[int, int]

    @classmethod
    def read(cls, path: Path) -> Self:
        unet = json.loads((path / "unet" / "config.json").read_text())
        text_encoder = json.loads((path / "text_encoder" / "config.json").read_text())
        side = unet["sample_size"]
        return cls(
            fingerprint=meaning_fingerprint(path),
            latent_shape=(unet["in_channels"], side, side),
            text_shape=(text_encoder["max_position_embeddings"], text_encoder["hidden_size"]),
        )


@cache
def files_for(ldm_path: Path) -> Files:
    """Return the files of this test session."""
    folder = tempfile.TemporaryDirectory(prefix="braind-tests-")
    atexit.register(folder.cleanup)
    return Files(Path(folder.name), ldm_path)


def serve_command(
    files: Files, data_path: Path, settings: dict[str, dict[str, Any]], **paths: Path | None
) -> list[str]:
    """Return the command line of a daemon with these settings beside free ports. A path that is None is not named."""
    serve = {"ingest_port": 0, "decodes_port": 0, "control_port": 0, "policy": "all", **settings.get("serve", {})}
    decode = {"threads": 1, "engine": "torch", **settings.get("decode", {})}
    data_path.mkdir(parents=True, exist_ok=True)
    config_path = data_path / "config.toml"
    lines = [f"[paths]\ndata = {json.dumps(str(data_path))}"]
    for section, values in (("serve", serve), ("decode", decode)):
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    config_path.write_text("\n".join(lines))
    arguments = {
        "config": config_path,
        "weights": files.weights_path,
        "candidates": files.candidates_path,
        "ldm": files.ldm_path,
        **paths,
    }
    options = [word for name, value in arguments.items() if value for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "braind", "serve", "--subject", "1", *options]


class RunningDaemon:
    """A daemon process; `start` returns when it is ready."""

    def __init__(self, files: Files, data_path: Path, mask: Path | None = None, **settings: dict[str, Any]) -> None:
        self.files, self.data_path, self.settings = files, data_path, settings
        self.paths: dict[str, Path | None] = {"mask": mask} if mask else {}
        self.log_path = data_path / "serve.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.addresses: dict[str, Any] = {}
        self._context = zmq.Context()

    def start(self, *, wait: bool = True) -> Self:
        command = serve_command(self.files, self.data_path, self.settings, **self.paths)
        self.log = self.log_path.open("ab")
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, env=environment)
        self._stdout: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=_pump, args=(self.process.stdout, self._stdout), daemon=True).start()
        if wait:
            self.wait_ready()
        return self

    def wait_bound(self) -> Self:
        """Wait until the sockets are bound; the decoder may still be loading."""
        path, deadline = self.data_path / "serve.json", time.monotonic() + PATIENCE_S
        while True:
            # A daemon that was killed leaves its file.
            if path.exists() and json.loads(path.read_bytes())["pid"] == self.process.pid:
                self.addresses = json.loads(path.read_bytes())
                return self
            assert self.process.poll() is None, self.words()
            assert time.monotonic() < deadline, self.words()
            time.sleep(0.01)

    def wait_ready(self) -> None:
        line = self._stdout.get(timeout=PATIENCE_S)
        assert line.startswith(b"ready "), f"{line!r}\n{self.words()}"
        self.addresses = json.loads(line.removeprefix(b"ready "))

    def words(self) -> str:
        return self.log_path.read_text()

    @property
    def decoder(self) -> psutil.Process:
        """The decoder process."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for child in psutil.Process(self.process.pid).children():
                with suppress(psutil.NoSuchProcess):  # it was killed just now
                    if "braind.daemon.decoder.process" in child.cmdline():
                        return child
            time.sleep(0.01)
        raise TimeoutError(self.words())

    def kill(self) -> None:
        """SIGKILL every process of the daemon."""
        assert self.process is not None
        processes = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for process in processes:
            process.kill()
        self.process.wait(PATIENCE_S)
        psutil.wait_procs(processes, PATIENCE_S)

    def stop(self) -> int:
        """SIGTERM; return the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process and self.process.poll() is None:
            self.kill()
        if self.process and self.process.stdout:
            self.process.stdout.close()
        self.log.close()
        self._context.destroy(linger=0)

    def connect(self, name: str) -> "Peer":
        return Peer(self._context, zmq.DEALER, self.addresses[name])

    def watch(self) -> "Viewer":
        return Viewer(self._context, self.addresses["decodes"])

    def ask(self, request: wire.Message) -> list[Any]:
        """Send a control request; return its answers."""
        with self.connect("control") as control:
            control.send(request)
            answers = [control.receive()]
            if isinstance(request, wire.FetchRequest):
                while not isinstance(answers[-1], wire.Done):
                    answers.append(control.receive())
            return answers

    def status(self) -> wire.Status:
        return self.ask(wire.StatusRequest())[0]

    def wait_until(self, settled: Any) -> wire.Status:
        """Wait for heartbeats until the status is as wanted."""
        with self.watch() as viewer:
            deadline = time.monotonic() + PATIENCE_S
            while not settled(status := self.status()):
                assert time.monotonic() < deadline, f"{status}\n{self.words()}"
                viewer.receive()
        return status

    def decodes(self) -> list[tuple[Any, list[bytes]]]:
        """Return everything published so far, with payloads."""
        found: list[tuple[Any, list[bytes]]] = []
        with self.connect("control") as control:
            next_seq = 1
            while True:
                control.send(wire.FetchRequest(from_seq=next_seq, limit=100))
                batch = []
                while not isinstance((answer := control.receive_all())[0], wire.Done):
                    batch.append(answer)
                if not batch:
                    return found
                found += batch
                next_seq = batch[-1][0].seq + 1


class Peer:
    """A client's socket."""

    def __init__(self, context: zmq.Context, kind: int, address: str) -> None:
        self.socket = context.socket(kind)
        self.socket.linger = 0
        self.socket.connect(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, message: wire.Message, *payload: bytes) -> None:
        self.socket.send_multipart(wire.encode(message, *payload))

    def receive_all(self) -> tuple[Any, list[bytes]]:
        assert self.socket.poll(PATIENCE_S * 1000), "no answer"
        return wire.decode(self.socket.recv_multipart())

    def receive(self) -> Any:
        return self.receive_all()[0]

    def ask(self, message: wire.Message, *payload: bytes) -> Any:
        self.send(message, *payload)
        return self.receive()

    def ask_frames(self, frames: list[Any]) -> Any:
        self.socket.send_multipart(frames)
        return self.receive()


class Viewer(Peer):
    """A subscriber that hears the daemon when this returns."""

    def __init__(self, context: zmq.Context, address: str) -> None:
        super().__init__(context, zmq.SUB, address)
        self.socket.subscribe(b"")
        self.receive()  # a heartbeat

    def receive_decode(self) -> tuple[Any, list[bytes]]:
        while isinstance((received := self.receive_all())[0], wire.Heartbeat):
            pass
        return received

    def until(self, wanted: Any) -> list[tuple[Any, list[bytes]]]:
        """Return what is published up to and with the message that is wanted."""
        heard = [self.receive_decode()]
        while not wanted(heard[-1][0]):
            heard.append(self.receive_decode())
        return heard


def hello(**fields: Any) -> wire.Hello:
    fields = {
        "session": "ses", "run": "run-01", "subject": 1, "kind": "beta", "shape": SHAPE, "affine": AFFINE, "tr_s": 4.0,
        "dtype": "int16", **fields,
    }  # fmt: skip
    return wire.Hello(**fields)


def values(number: int) -> Any:
    """Return a volume's stored numbers, (X, Y, Z) int16, different for each number."""
    return np.random.default_rng(1000 + number).normal(scale=300, size=SHAPE).astype(np.int16)


def volume_frames(index: int, *, number: int | None = None, stored: Any = None, **fields: Any) -> list[Any]:
    fields = {"session": "ses", "run": "run-01", "scale": 1 / 300, "index": index, **fields}
    return wire.volume_frames(values(index if number is None else number) if stored is None else stored, **fields)


def _pump(stream: Any, lines: "queue.Queue[bytes]") -> None:
    for line in stream:
        lines.put(line)
    lines.put(b"")
