"""A real daemon with its own data folder and free ports, and random weights of any size."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import zmq

from braind.client import wire
from braind.client.connection import DaemonSocket, connect
from braind.client.endpoints import Endpoints
from braind.models.weights.candidates import Candidates
from braind.models.weights.fingerprint import EMBEDDED_LDM_PATH, meaning_fingerprint
from braind.models.weights.low_rank import LowRankMap, TargetStatistics, low_rank_map
from braind.models.weights.roi import mask_sha256
from braind.models.weights.weights import Weights, WeightsCard

NSD_SHAPE, NSD_VOXELS = (81, 104, 83), 13_521  # of NSD's first subject, with the voxels of `early` and `ventral`
AFFINE = ((1.8, 0.0, 0.0, -6.0), (0.0, 1.8, 0.0, -7.0), (0.0, 0.0, 1.8, -8.0), (0.0, 0.0, 0.0, 1.0))
RANK, N_CANDIDATES = 64, 100
PATIENCE_MS = 60_000


@dataclass(frozen=True)
class Serving:
    """A daemon that is ready; `folder` holds its data."""

    folder: Path
    weights: Weights
    endpoints: Endpoints
    front: psutil.Process

    @property
    def decoder(self) -> psutil.Process:
        """Return the decoder process."""
        return next(child for child in self.front.children() if "braind.daemon.decoder.process" in child.cmdline())

    def hello(self, run: str) -> wire.Hello:
        """Return the opening of a run of betas."""
        card = self.weights.card
        return wire.Hello(
            session="bench", run=run, subject=card.subject, kind="beta", shape=card.shape, affine=card.affine, tr_s=4.0,
            dtype="int16",
        )  # fmt: skip

    def frames(self, run: str, index: int, values: Any) -> list[bytes | memoryview]:
        """Return a volume's frames."""
        return wire.volume_frames(values, session="bench", run=run, scale=1 / 300, index=index)

    def values(self, number: int) -> Any:
        """Return random stored numbers of the volume with this number, (X, Y, Z) int16."""
        return np.random.default_rng(number).normal(scale=300, size=self.weights.card.shape).astype(np.int16)


@contextmanager
def serving(
    weights_path: Path, candidates_path: Path, *, engine: str, keys: str = "off", options: tuple[str, ...] = ()
) -> Iterator[Serving]:
    """Run `braind serve` until the block ends."""
    with tempfile.TemporaryDirectory(prefix="braind-bench-") as folder, (Path(folder) / "serve.log").open("w+") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "braind", "serve", "--data", folder, "--subject", "1", "--weights", weights_path,
             "--candidates", candidates_path, "--engine", engine, "--ingest-port", "0", "--decodes-port", "0",
             "--control-port", "0", "--keys", keys, *options],
            stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        try:
            assert daemon.stdout is not None
            words, _, where = daemon.stdout.readline().partition(" ")
            if words != "ready":
                raise SystemExit(f"braind serve did not start:\n{(Path(folder) / 'serve.log').read_text()}")
            addresses = msgspec.json.decode(where, type=Endpoints)
            yield Serving(Path(folder), Weights.load(weights_path), addresses, psutil.Process(daemon.pid))
        finally:
            daemon.terminate()
            daemon.wait()


def write_random_weights(folder: Path, shape: tuple[int, int, int], n_voxels: int) -> tuple[Path, Path]:
    """Write weights and candidates for the embedded model whose numbers are drawn at random; return their paths.

    The cost of a volume does not depend on the numbers.
    """
    unet, text_encoder = (
        json.loads((EMBEDDED_LDM_PATH / part / "config.json").read_text()) for part in ("unet", "text_encoder")
    )
    latent_shape = (unet["in_channels"], unet["sample_size"], unet["sample_size"])
    text_shape = (text_encoder["max_position_embeddings"], text_encoder["hidden_size"])
    generator = np.random.default_rng(0)
    voxel_index = np.sort(generator.choice(int(np.prod(shape)), n_voxels, replace=False)).astype(np.int64)
    card = WeightsCard(
        subject=1, shape=shape, affine=AFFINE, z_rois=("early",), c_rois=("ventral",),
        ldm=meaning_fingerprint(EMBEDDED_LDM_PATH), latent_shape=latent_shape, text_shape=text_shape, simulated=True,
        nsd="random", mask_sha256=mask_sha256(voxel_index, shape),
    )  # fmt: skip
    mean, std = np.zeros(n_voxels, np.float32), np.ones(n_voxels, np.float32)
    z, c = (_random_map(generator, n_voxels, int(np.prod(targets))) for targets in (latent_shape, text_shape))
    weights_path, candidates_path = folder / "random.safetensors", folder / "random.candidates.safetensors"
    Weights(voxel_index, mean, std, z, c, card).save(weights_path)
    Candidates(
        z=generator.normal(size=(N_CANDIDATES, *latent_shape)).astype(np.float32),
        c=generator.normal(size=(N_CANDIDATES, *text_shape)).astype(np.float32),
        nsd_id=np.arange(N_CANDIDATES),
        labels=[f"picture {number}" for number in range(N_CANDIDATES)],
    ).save(candidates_path)
    return weights_path, candidates_path


def _random_map(generator: np.random.Generator, n_voxels: int, n_targets: int) -> LowRankMap:
    rank = min(RANK, n_voxels // 2)
    zeros = np.zeros(n_targets)
    return low_rank_map(
        np.arange(n_voxels), generator.normal(size=(n_voxels, rank)), generator.normal(size=(rank, n_targets)) / 10,
        np.zeros(n_voxels), zeros, TargetStatistics(zeros, zeros + 1, zeros),
    )  # fmt: skip


def open_paused(context: zmq.Context, daemon: Serving, run: str) -> DaemonSocket:
    """Pause decoding and open a run of float32 or int16 volumes; return the socket that takes them."""
    with connect(context, zmq.DEALER, daemon.endpoints.address("control")) as control:
        ask(control, wire.encode(wire.Pause(paused=True)), wire.Done)
    socket = connect(context, zmq.DEALER, daemon.endpoints.address("ingest"))
    ask(socket, wire.encode(daemon.hello(run)), wire.Welcome)
    return socket


def ask(socket: DaemonSocket, frames: list[Any], answer_type: type) -> None:
    """Send a message and wait for its answer, which must be of this type."""
    socket.send_multipart(frames)
    assert socket.poll(PATIENCE_MS), "no answer"
    answer = wire.decode(socket.recv_multipart())[0]
    assert isinstance(answer, answer_type), answer
