"""Engines: what runs the denoiser and the autoencoder's decoder. The picture is the same, the speed is not."""

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal, Protocol

import torch

from ..errors import BraindError

if TYPE_CHECKING:
    from .ldm import LatentDiffusionModel
    from .presets import Preset

log = logging.getLogger(__name__)

EngineName = Literal["auto", "torch", "onnx"]
N_TIMED_CALLS = 7


class EngineError(BraindError):
    """An engine that is not available, or not the one that was asked for."""

    code = "engine"


class Engine(Protocol):
    """Runs the networks of one latent diffusion model."""

    @property
    def name(self) -> str:
        """Return what runs the networks, and on what."""
        ...

    def predicted_noise(self, latents: torch.Tensor, timestep: int, embeddings: torch.Tensor) -> torch.Tensor:
        """Return the noise the denoiser sees in latents (n, channels, h, w) under embeddings (n, tokens, width)."""
        ...

    def decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode scaled latents (1, channels, h, w) into pictures (1, 3, px, px), about [−1, 1]."""
        ...


class TorchEngine:
    """Runs the networks as torch modules, on the model's own device."""

    def __init__(self, ldm: "LatentDiffusionModel") -> None:
        self._ldm = ldm
        self.name = f"torch-{ldm.device.type}"

    def predicted_noise(self, latents: torch.Tensor, timestep: int, embeddings: torch.Tensor) -> torch.Tensor:
        """Return the noise the denoiser sees in latents (n, channels, h, w) under embeddings (n, tokens, width)."""
        return self._ldm.unet(latents, timestep, embeddings, return_dict=False)[0]

    def decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode scaled latents (n, channels, h, w) into pictures (n, 3, px, px), about [−1, 1]."""
        return self._ldm.decode_latents(latents)


@dataclass(frozen=True)
class Measured:
    """An engine's median time for one picture, and why it cannot be used if it cannot."""

    name: str
    picture_ms: float | None
    problem: str = ""


@dataclass(frozen=True)
class Chosen:
    """The engine that `auto` takes, and all that were measured."""

    name: Literal["torch", "onnx"]
    measured: tuple[Measured, ...]
    reason: str


def load_engine(name: EngineName, ldm: "LatentDiffusionModel", preset: "Preset", cache: Path) -> Engine:
    """Load an engine; `auto` takes the faster one, measured once on this machine.

    Parameters
    ----------
    cache : folder for exported networks and measurements

    Raises
    ------
    EngineError
        If the engine is not available here.
    """
    if name == "auto":
        name = choose_engine(ldm, preset, cache).name
    if name == "torch":
        return TorchEngine(ldm)
    from .onnx_engine import OnnxEngine

    return OnnxEngine(ldm, cache)


def choose_engine(ldm: "LatentDiffusionModel", preset: "Preset", cache: Path) -> Chosen:
    """Measure the engines in turn, or read what was measured with the same model, preset, versions and threads."""
    path = cache / "measured.json"
    key = " ".join(
        [ldm.fingerprint, ldm.denoiser_fingerprint, f"{preset.n_calls} calls, guidance {preset.guidance}",
         f"{torch.get_num_threads()} threads", ldm.device.type, *_versions()]
    )  # fmt: skip
    known = json.loads(path.read_text()) if path.is_file() else {}
    if key not in known:
        known[key] = [vars(measured) for measured in measure_engines(ldm, preset, cache)]
        try:
            _write_whole(path, json.dumps(known, indent=2).encode())
        except OSError as error:
            log.warning("%s: %s; engines will be measured again at every start", path, error.strerror)
    measured = tuple(Measured(**entry) for entry in known[key])
    usable = sorted((one for one in measured if one.picture_ms is not None), key=lambda one: one.picture_ms or 0)
    fastest = usable[0]
    reason = f"{fastest.name} takes {fastest.picture_ms:.0f} ms a picture"
    for other in measured:
        if other is not fastest:
            reason += f", {other.name} {other.problem or f'{other.picture_ms:.0f} ms'}"
    return Chosen("onnx" if fastest.name.startswith("onnx") else "torch", measured, reason)


def measure_engines(ldm: "LatentDiffusionModel", preset: "Preset", cache: Path) -> list[Measured]:
    """Time a picture of each engine, in turn, so that other work on the machine hits both alike."""
    from .reconstruct import Reconstructor

    loaders: dict[EngineName, str] = {"torch": f"torch-{ldm.device.type}", "onnx": "onnx"}
    pictures: dict[str, Callable[[], object]] = {}
    problems: list[Measured] = []
    z = torch.randn(ldm.latent_shape, generator=torch.Generator().manual_seed(0)).numpy()
    c = ldm.encode_captions([["a picture"]])[0]
    for name, words in loaders.items():
        try:
            reconstructor = Reconstructor(ldm, preset, engine=load_engine(name, ldm, preset, cache))
        except EngineError as error:
            problems.append(Measured(words, None, str(error)))
            continue
        pictures[reconstructor.engine.name] = lambda reconstructor=reconstructor: reconstructor.picture(z, c)
    times: dict[str, list[float]] = {name: [] for name in pictures}
    for n in range(N_TIMED_CALLS + 1):
        for name, picture in pictures.items():
            began_s = time.perf_counter()
            picture()
            if n:  # the first call of an engine warms it up
                times[name].append(1000 * (time.perf_counter() - began_s))
    return [Measured(name, median(taken)) for name, taken in times.items()] + problems


def _versions() -> list[str]:
    found = []
    for package in ("torch", "diffusers", "onnxruntime-gpu"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    return found


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished_path = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished_path.write_bytes(content)
    unfinished_path.replace(path)
