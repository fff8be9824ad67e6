"""Engines: what runs the denoiser and the autoencoder's decoder. The picture is the same, the speed is not."""

import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec
import torch
from numpy.typing import NDArray

from ..errors import BraindError
from ..whole_file import write_whole
from .denoiser import Context

if TYPE_CHECKING:
    from .ldm import LatentDiffusionModel
    from .networks import Networks
    from .presets import Preset

Array = NDArray[Any]

log = logging.getLogger(__name__)

EngineName = Literal["auto", "torch", "onnx"]
N_TIMED_CALLS = 7
# Of torch.compile on a GPU. Without CUDA graphs of its own: the graph of a whole volume is recorded over it.
COMPILE_MODE = "max-autotune-no-cudagraphs"


class EngineError(BraindError):
    """An engine that is not available, or not the one that was asked for."""

    code = "engine"


class Engine(Protocol):
    """Runs the denoiser and the decoder that a preset takes of a model."""

    @property
    def name(self) -> str:
        """Return what runs the networks, and on what."""
        ...

    @property
    def networks(self) -> "Networks":
        """Return the networks that it runs."""
        ...

    def conditioned(self, embedding: torch.Tensor) -> Context:
        """Return what the denoiser needs of a text embedding (1, tokens, width): the same for every call."""
        ...

    def predicted_noise(self, latents: torch.Tensor, time_embedding: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the noise the denoiser sees in latents (n, channels, h, w), under a context of n embeddings."""
        ...

    def decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode scaled latents (1, channels, h, w) into pictures (1, px, px, 3) uint8."""
        ...


class TorchEngine:
    """Runs the networks as torch modules, on the model's own device; compiled where that is a GPU.

    Raises
    ------
    EngineError
        A GPU on a machine that cannot compile for it.
    """

    def __init__(self, networks: "Networks") -> None:
        self.networks = networks
        self.name = f"torch-{networks.ldm.device.type}"
        self._denoiser: Callable[..., torch.Tensor] = networks.denoiser
        self._decoder: Callable[[torch.Tensor], torch.Tensor] = networks.decoded
        if networks.ldm.device.type == "cuda":
            check_compiler()
            parts: tuple[Any, ...] = (networks.denoiser, networks.autoencoder)
            for part in parts:
                part.to(memory_format=torch.channels_last)
            self._denoiser, self._decoder = compiled(networks.denoiser), compiled(networks.decoded)

    def conditioned(self, embedding: torch.Tensor) -> Context:
        """Return what the denoiser needs of a text embedding (1, tokens, width): the same for every call."""
        return self.networks.denoiser.context(embedding)

    def predicted_noise(self, latents: torch.Tensor, time_embedding: torch.Tensor, context: Context) -> torch.Tensor:
        """Return the noise the denoiser sees in latents (n, channels, h, w), under a context of n embeddings."""
        return self._denoiser(latents, time_embedding, context.pooled, *context.keys_values)

    def decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode scaled latents (n, channels, h, w) into pictures (n, px, px, 3) uint8."""
        return self._decoder(latents)


def compiled(function: Callable[..., torch.Tensor], **changed: Any) -> Callable[..., torch.Tensor]:
    """Compile a network for the shapes it is called with, as one graph or not at all."""
    return torch.compile(function, **({"mode": COMPILE_MODE, "fullgraph": True, "dynamic": False} | changed))


def check_compiler() -> None:
    """Refuse a machine without the C compiler that torch.compile calls (`EngineError`)."""
    if os.environ.get("TORCH_COMPILE_DISABLE") == "1":
        return
    if not any(shutil.which(name) for name in (os.environ.get("CC", ""), "cc", "gcc", "clang") if name):
        raise EngineError(
            "the torch engine compiles its networks for the GPU and finds no C compiler; install gcc, or set "
            "TORCH_COMPILE_DISABLE=1 to run them slower as they are"
        )


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


@dataclass(frozen=True)
class OnnxSettings:
    """Where onnxruntime is to run.

    Parameters
    ----------
    provider : str
        `cpu`, `cuda` or `tensorrt`; empty takes the model's own device.
    may_fall_back : bool
        Take the CPU where the provider is not available.
    """

    provider: str = ""
    may_fall_back: bool = False


def load_engine(
    name: EngineName,
    ldm: "LatentDiffusionModel",
    preset: "Preset",
    cache: Path,
    onnx: OnnxSettings = OnnxSettings(),  # noqa: B008 (frozen)
) -> Engine:
    """Load an engine; `auto` takes the faster one, measured once on this machine.

    Parameters
    ----------
    cache : folder for exported networks and measurements

    Raises
    ------
    EngineError
        If the engine is not available here.
    """
    from .networks import networks_of

    if name == "auto":
        chosen = choose_engine(ldm, preset, cache, onnx)
        log.info("engine: %s", chosen.reason)
        name = chosen.name
    networks = networks_of(ldm, preset)
    if name == "torch":
        # minutes of compiling, kept for the next start
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "inductor"))
        return TorchEngine(networks)
    from .onnx_engine import OnnxEngine

    return OnnxEngine(networks, cache, onnx)


def engine_for(
    preset: "Preset",
    like: Engine,
    cache: Path,
    onnx: OnnxSettings = OnnxSettings(),  # noqa: B008 (frozen)
) -> Engine:
    """Return an engine for another preset of the same model: `like` itself where both take the same networks."""
    from .networks import networks_of

    ldm = like.networks.ldm
    if networks_of(ldm, preset).fingerprint == like.networks.fingerprint:
        return like
    return load_engine("onnx" if like.name.startswith("onnx") else "torch", ldm, preset, cache, onnx)


def choose_engine(
    ldm: "LatentDiffusionModel",
    preset: "Preset",
    cache: Path,
    onnx: OnnxSettings = OnnxSettings(),  # noqa: B008 (frozen)
) -> Chosen:
    """Measure the engines in turn, or read what was measured with the same networks, preset, versions and threads."""
    from .networks import networks_of

    path = cache / "measured.json"
    key = " ".join(
        [ldm.fingerprint, networks_of(ldm, preset).fingerprint, f"{preset.n_calls} calls, guidance {preset.guidance}",
         f"{torch.get_num_threads()} threads", ldm.device.type, str(ldm.dtype), onnx.provider, *_versions()]
    )  # fmt: skip
    known = _known(path)
    if key not in known:
        known[key] = measure_engines(ldm, preset, cache, onnx)
        if not any(one.problem for one in known[key]):  # a problem may be put right
            try:
                with write_whole(path) as unfinished_path:
                    unfinished_path.write_bytes(msgspec.json.format(msgspec.json.encode(known)))
            except OSError as error:
                log.warning("%s: %s; engines will be measured again at every start", path, error.strerror)
    measured = tuple(known[key])
    usable = sorted((one for one in measured if one.picture_ms is not None), key=lambda one: one.picture_ms or 0)
    fastest = usable[0]
    reason = f"{fastest.name} takes {fastest.picture_ms:.0f} ms a picture"
    for other in measured:
        if other is not fastest:
            reason += f", {other.name} {other.problem or f'{other.picture_ms:.0f} ms'}"
    return Chosen("onnx" if fastest.name.startswith("onnx") else "torch", measured, reason)


def measure_engines(
    ldm: "LatentDiffusionModel",
    preset: "Preset",
    cache: Path,
    onnx: OnnxSettings = OnnxSettings(),  # noqa: B008 (frozen)
) -> list[Measured]:
    """Time a picture of each engine, in turn, so that other work on the machine hits both alike.

    Raises
    ------
    EngineError
        If a provider that was asked for is not available: `auto` does not pass over what was asked for.
    """
    from .reconstruct import Reconstructor
    from .volume_graph import picture_maker

    loaders: dict[EngineName, str] = {"torch": f"torch-{ldm.device.type}", "onnx": "onnx"}
    pictures: dict[str, Callable[[], object]] = {}
    problems: list[Measured] = []
    z = torch.randn(ldm.latent_shape, generator=torch.Generator().manual_seed(0)).numpy()
    c = ldm.encode_captions([["a picture"]])[0]
    for name, words in loaders.items():
        try:
            reconstructor = Reconstructor(ldm, preset, engine=load_engine(name, ldm, preset, cache, onnx))
        except EngineError as error:
            if onnx.provider:
                raise
            problems.append(Measured(words, None, str(error)))
            continue
        pictures[reconstructor.engine.name] = picture_maker(reconstructor, z, c)
    times: dict[str, list[float]] = {name: [] for name in pictures}
    for n in range(N_TIMED_CALLS + 1):
        for name, picture in pictures.items():
            began_s = time.perf_counter()
            picture()
            if n:  # the first call of an engine warms it up
                times[name].append(1000 * (time.perf_counter() - began_s))
    return [Measured(name, median(taken)) for name, taken in times.items()] + problems


def _known(path: Path) -> dict[str, list[Measured]]:
    """Read earlier measurements; a file that is damaged is as good as none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, list[Measured]])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        log.warning("%s: %s; measuring the engines again", path, error)
        return {}


def _versions() -> list[str]:
    found = []
    for package in ("torch", "diffusers", "onnxruntime-gpu"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    return found
