"""What every engine does: it runs the denoiser and the decoder. Engines differ in speed, not in the picture."""

from dataclasses import dataclass
from typing import Protocol

import torch

from ...errors import BraindError
from .denoiser import Context
from .networks import Networks


class EngineError(BraindError):
    """An engine is not available, or onnxruntime took another provider than was asked for."""

    code = "engine"


class Engine(Protocol):
    """Runs one denoiser and one decoder of a latent diffusion model."""

    @property
    def name(self) -> str:
        """Return the engine's name and device, such as `torch-cpu`."""
        ...

    @property
    def networks(self) -> Networks:
        """Return the networks that the engine runs."""
        ...

    def conditioned(self, embedding: torch.Tensor) -> Context:
        """Return the denoiser's context of a text embedding (1, tokens, width): the same for every call."""
        ...

    def predicted_noise(self, latents: torch.Tensor, time_embedding: torch.Tensor, context: Context) -> torch.Tensor:
        """Predict the noise in latents (n, channels, h, w), under a context of n embeddings."""
        ...

    def decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode scaled latents (1, channels, h, w) into pictures (1, px, px, 3) uint8."""
        ...


@dataclass(frozen=True)
class OnnxSettings:
    """Where onnxruntime runs.

    Parameters
    ----------
    provider : str
        `cpu`, `cuda` or `tensorrt`; empty takes the model's own device.
    may_fall_back : bool
        Take the CPU where the provider is not available.
    """

    provider: str = ""
    may_fall_back: bool = False
