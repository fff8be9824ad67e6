"""The choice of an engine: loaded by name, or measured on this machine so that `auto` takes the faster engine."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Literal

import msgspec
import torch

from ...choices import EngineName
from ...whole_file import write_whole
from ..ldm.engine import Engine, EngineError, OnnxSettings
from ..ldm.model import LatentDiffusionModel
from ..ldm.networks import networks_of
from ..ldm.onnx_engine import OnnxEngine
from ..ldm.reconstruct import Reconstructor
from ..ldm.torch_engine import TorchEngine
from ..presets import Preset
from .volume_graph import picture_maker

log = logging.getLogger(__name__)

N_TIMED_CALLS = 7
MEASURED_FOR_S = 60.0
"""No further round of pictures begins after this time. Each engine makes at least one picture after its first."""


@dataclass(frozen=True)
class Measured:
    """An engine's median time for one picture, or the problem that rules the engine out."""

    name: str
    picture_ms: float | None
    problem: str = ""


@dataclass(frozen=True)
class Chosen:
    """The engine that `auto` takes, and the measurements of all engines."""

    name: Literal["torch", "onnx"]
    measured: tuple[Measured, ...]
    reason: str


def load_engine(
    name: EngineName,
    ldm: LatentDiffusionModel,
    preset: Preset,
    cache: Path,
    onnx: OnnxSettings = OnnxSettings(),  # noqa: B008 (frozen)
) -> Engine:
    """Load an engine by name; `auto` takes the faster engine, measured once on this machine.

    Parameters
    ----------
    cache : folder for exported networks and measurements

    Raises
    ------
    EngineError
        If the engine is not available here.
    """
    if name == "auto":
        chosen = choose_engine(ldm, preset, cache, onnx)
        log.info("engine: %s", chosen.reason)
        name = chosen.name
    networks = networks_of(ldm, preset)
    if name == "torch":
        # Compiling takes minutes; the next start finds the result here.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "inductor"))
        return TorchEngine(networks)
    return OnnxEngine(networks, cache, onnx)


def engine_for(
    preset: Preset,
    like: Engine,
    cache: Path,
    onnx: OnnxSettings = OnnxSettings(),  # noqa: B008 (frozen)
) -> Engine:
    """Return an engine for another preset of the same model: `like` itself if both presets take the same networks."""
    ldm = like.networks.ldm
    if networks_of(ldm, preset).fingerprint == like.networks.fingerprint:
        return like
    return load_engine("onnx" if like.name.startswith("onnx") else "torch", ldm, preset, cache, onnx)


def choose_engine(
    ldm: LatentDiffusionModel,
    preset: Preset,
    cache: Path,
    onnx: OnnxSettings = OnnxSettings(),  # noqa: B008 (frozen)
) -> Chosen:
    """Choose the faster engine; a measurement is kept for the same networks, preset, versions and threads."""
    path = cache / "measured.json"
    key = " ".join(
        [ldm.fingerprint, networks_of(ldm, preset).fingerprint, f"{preset.n_calls} calls, guidance {preset.guidance}",
         f"{torch.get_num_threads()} threads", ldm.device.type, str(ldm.dtype), onnx.provider, *_versions()]
    )  # fmt: skip
    known = _known(path)
    if key not in known:
        known[key] = measure_engines(ldm, preset, cache, onnx)
        # After a problem nothing is kept: the user may solve the problem before the next start.
        if not any(one.problem for one in known[key]):
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
    ldm: LatentDiffusionModel,
    preset: Preset,
    cache: Path,
    onnx: OnnxSettings = OnnxSettings(),  # noqa: B008 (frozen)
) -> list[Measured]:
    """Time a picture of each engine, in turn, so that other work on the machine delays both engines alike.

    Raises
    ------
    EngineError
        If a provider is asked for by name and not available: `auto` does not replace it by another engine.
    """
    loaders: dict[EngineName, str] = {"torch": f"torch-{ldm.device.type}", "onnx": "onnx"}
    pictures: dict[str, Callable[[], object]] = {}
    problems: list[Measured] = []
    z = torch.randn(ldm.latent_shape, generator=torch.Generator().manual_seed(0)).numpy()
    c = ldm.encode_captions([["a picture"]])[0]
    for name, words in loaders.items():
        with _ruling_out(words, onnx, problems):
            reconstructor = Reconstructor(ldm, preset, engine=load_engine(name, ldm, preset, cache, onnx))
            pictures[reconstructor.engine.name] = picture_maker(reconstructor, z, c)
    times: dict[str, list[float]] = {name: [] for name in pictures}
    measuring_s = time.perf_counter()
    for n in range(N_TIMED_CALLS + 1):
        if n > 1 and time.perf_counter() - measuring_s > MEASURED_FOR_S:
            break
        for name in list(times):
            began_s = time.perf_counter()
            # The first picture exports or opens the denoiser, and does not count.
            with _ruling_out(name, onnx, problems):
                pictures[name]()
                if n:
                    times[name].append(1000 * (time.perf_counter() - began_s))
        times = {name: taken for name, taken in times.items() if name not in {one.name for one in problems}}
    return [Measured(name, median(taken)) for name, taken in times.items()] + problems


@contextmanager
def _ruling_out(name: str, onnx: OnnxSettings, problems: list[Measured]) -> Iterator[None]:
    """Add an engine's error to the problems, unless the user asked for a provider of onnxruntime by name."""
    try:
        yield
    except EngineError as error:
        if onnx.provider:
            raise
        problems.append(Measured(name, None, str(error)))


def _known(path: Path) -> dict[str, list[Measured]]:
    """Read earlier measurements; a damaged file is read as an empty one, with a warning."""
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
