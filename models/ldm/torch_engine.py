"""The torch engine: networks as torch modules, compiled on a GPU."""

import os
import shutil
from collections.abc import Callable
from typing import Any

import torch

from .denoiser import Context
from .engine import EngineError
from .networks import Networks

# torch.compile's mode on a GPU. It records no CUDA graphs of its own, because a volume's graph is recorded over it.
COMPILE_MODE = "max-autotune-no-cudagraphs"


class TorchEngine:
    """Runs the networks as torch modules on the model's own device; on a GPU they are compiled.

    Raises
    ------
    EngineError
        If there is a GPU but no compiler for it.
    """

    def __init__(self, networks: Networks) -> None:
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
        """Return the denoiser's context of a text embedding (1, tokens, width): the same for every call."""
        return self.networks.denoiser.context(embedding)

    def predicted_noise(self, latents: torch.Tensor, time_embedding: torch.Tensor, context: Context) -> torch.Tensor:
        """Predict the noise in latents (n, channels, h, w), under a context of n embeddings."""
        return self._denoiser(latents, time_embedding, context.pooled, *context.keys_values)

    def decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode scaled latents (n, channels, h, w) into pictures (n, px, px, 3) uint8."""
        return self._decoder(latents)


def compiled(function: Callable[..., torch.Tensor], **changed: Any) -> Callable[..., torch.Tensor]:
    """Compile a network for fixed shapes, as one graph or not at all."""
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
