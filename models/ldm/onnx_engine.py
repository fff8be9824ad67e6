"""The onnx engine: the context, the denoiser and the decoder, exported once and run by onnxruntime.

Exported networks lie in a cache. A file's name contains a fingerprint of the weights and of the exporting versions.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

import torch

from .denoiser import Context, Denoiser
from .engine import EngineError, OnnxSettings
from .memory import LARGE_BYTES, available_bytes, in_gb
from .networks import Networks
from .onnx_export import OPSET, export
from .onnx_session import Network, open_network, provider_of

log = logging.getLogger(__name__)

EXPORTED_AS = "2"  # raised whenever the export of the same weights changes


class OnnxEngine:
    """Runs the networks in onnxruntime: on the CPU in float32, on a GPU by the CUDA or TensorRT provider.

    Raises
    ------
    EngineError
        If onnxruntime or the exporter is missing or broken, or onnxruntime falls back to another provider.
    """

    def __init__(self, networks: Networks, cache: Path, settings: OnnxSettings = OnnxSettings()) -> None:  # noqa: B008
        check_installed()
        if networks.ldm.dtype == torch.bfloat16:
            raise EngineError(
                "onnxruntime has no bfloat16 for these networks; set [decode] gpu_dtype to float16, or take the torch "
                "engine"
            )
        self.networks = networks
        self._ldm, self._cache, self._settings = networks.ldm, cache, settings
        self._provider = provider_of(settings, networks.ldm.device)
        self._opened: dict[tuple[str, int], Network] = {}
        self._other_thread = ThreadPoolExecutor(1, "denoiser")
        self._decoder()
        self.name = f"onnx-{self._provider}"

    def conditioned(self, embedding: torch.Tensor) -> Context:
        """Return the denoiser's context of a text embedding (1, tokens, width): the same for every call."""
        pooled, *keys_values = self._conditioner()(embedding)
        return Context(pooled, tuple(keys_values))

    def predicted_noise(self, latents: torch.Tensor, time_embedding: torch.Tensor, context: Context) -> torch.Tensor:
        """Predict the noise in latents (n, channels, h, w), under a context of n embeddings."""
        inputs = (latents, time_embedding, context.pooled, *context.keys_values)
        if self._provider == "cpu" and len(latents) == 2 and torch.get_num_threads() > 1:
            return self._predicted_side_by_side(inputs)
        return self._denoiser(inputs, torch.get_num_threads())(*inputs)[0].to(latents.device)

    def _predicted_side_by_side(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Run a batch of two as two concurrent runs: their threads share no operator and never wait for each other."""
        latents, time_embedding, *context = inputs
        first, second = ((latents[n : n + 1], time_embedding, *(one[n : n + 1] for one in context)) for n in range(2))
        network = self._denoiser(first, torch.get_num_threads() // 2)
        other = self._other_thread.submit(network, *second)
        return torch.cat([network(*first)[0], other.result()[0]])

    def decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode scaled latents (1, channels, h, w) into pictures (1, px, px, 3) uint8."""
        if latents.shape[1:] != self._ldm.latent_shape:
            # z of another size is rare: torch decodes it, and no network is exported for it.
            return self.networks.decoded(latents)
        return self._decoder()(latents)[0].to(latents.device)

    def _conditioner(self) -> Network:
        def make() -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
            ldm = self._ldm
            example = torch.zeros((1, *ldm.text_shape), dtype=ldm.dtype, device=ldm.device)
            return _Conditioner(self.networks.denoiser), (example,)

        return self._network("context", self.networks.denoiser_fingerprint, make)

    def _denoiser(self, inputs: tuple[torch.Tensor, ...], n_threads: int) -> Network:
        def make() -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
            return self.networks.denoiser, tuple(tensor.clone() for tensor in inputs)

        return self._network(f"denoiser-{len(inputs[0])}", self.networks.denoiser_fingerprint, make, n_threads)

    def _decoder(self) -> Network:
        def make() -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
            ldm = self._ldm
            example = torch.zeros((1, *ldm.latent_shape), dtype=ldm.dtype, device=ldm.device)
            return _AutoencoderDecoder(self.networks), (example,)

        return self._network("decoder", self.networks.decoder_fingerprint, make)

    def _network(
        self,
        name: str,
        fingerprint: str,
        make: Callable[[], tuple[torch.nn.Module, tuple[torch.Tensor, ...]]],
        n_threads: int | None = None,
    ) -> Network:
        n_threads = n_threads or torch.get_num_threads()
        if (name, n_threads) not in self._opened:
            path = self._cache / f"{name}-{self._made_by(fingerprint)}.onnx"
            if not path.is_file():
                try:
                    with torch.inference_mode(mode=False):  # inference tensors cannot be exported
                        export(*make(), path)
                except OSError as error:
                    raise EngineError(
                        f"{path}: {error.strerror}; give a folder that can be written in [paths] engines"
                    ) from error
            if self._provider == "cpu":
                _check_copy(
                    name.partition("-")[0], sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
                )
            network, self._provider = open_network(path, self._provider, self._settings, self._cache, n_threads)
            self._opened[name, n_threads] = network
        return self._opened[name, n_threads]

    def _made_by(self, fingerprint: str) -> str:
        made_by = [fingerprint, str(self._ldm.dtype), str(OPSET), EXPORTED_AS]
        made_by += [f"{package} {version(package)}" for package in ("torch", "diffusers", "onnx", "onnxscript")]
        return sha256(" ".join(made_by).encode()).hexdigest()[:12]


class _Conditioner(torch.nn.Module):
    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, embedding: torch.Tensor) -> tuple[torch.Tensor, ...]:
        context = self.denoiser.context(embedding)
        return context.pooled, *context.keys_values


class _AutoencoderDecoder(torch.nn.Module):
    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.networks, self.autoencoder = networks, networks.autoencoder

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.networks.decoded(latents)


def _check_copy(name: str, needed: int) -> None:
    """Log the memory that onnxruntime will take for its own copy of a network's weights, if it is much.

    Raises
    ------
    EngineError
        If so much is not free. The torch engine takes no copy.
    """
    if needed < LARGE_BYTES:
        return
    words = f"onnxruntime takes {in_gb(needed)} of memory for its own copy of the {name}"
    free = available_bytes()
    if free is not None and free < needed:
        raise EngineError(f"{words}, and only {in_gb(free)} are free; close other programs, or take the torch engine")
    log.warning("%s%s", words, "" if free is None else f"; {in_gb(free)} are free")


def check_installed() -> None:
    """Raise EngineError if onnxruntime-gpu is missing, or onnxruntime is installed beside it."""
    names = {(found.metadata["Name"] or "").lower() for found in distributions()}
    if {"onnxruntime", "onnxruntime-gpu"} <= names:
        raise EngineError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other; "
            "uninstall both, then install onnxruntime-gpu again"
        )
    for package in ("onnxruntime-gpu", "onnx", "onnxscript"):
        try:
            version(package)
        except PackageNotFoundError:
            raise EngineError(f"{package} is not installed; install braind again with its dependencies") from None
