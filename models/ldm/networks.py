"""The networks of a preset: one of a model's two denoisers and one of its two decoders."""

from dataclasses import dataclass
from typing import Any

import torch

from ..presets import Preset
from ..weights.fingerprint import combined
from .denoiser import Denoiser
from .model import LatentDiffusionModel, LdmError


@dataclass(frozen=True, eq=False)
class Networks:
    """The denoiser and the decoder that an engine runs.

    Parameters
    ----------
    denoiser : Denoiser
        The model's own denoiser, or its few-step student.
    autoencoder : diffusers' AutoencoderKL or AutoencoderTiny
        Only the decoder is used.
    is_few_step : bool
        The denoiser was distilled with guidance: no guidance is added.
    denoiser_fingerprint, decoder_fingerprint : str
        12 hex digits each.
    """

    ldm: LatentDiffusionModel
    denoiser: Denoiser
    autoencoder: Any
    is_few_step: bool
    is_tiny: bool
    denoiser_fingerprint: str
    decoder_fingerprint: str

    @property
    def fingerprint(self) -> str:
        """Return 12 hex digits of the networks. The model's fingerprint covers its own decoder."""
        denoiser, decoder = self.denoiser_fingerprint, self.decoder_fingerprint
        return combined(denoiser, decoder) if self.is_tiny else denoiser

    @property
    def words(self) -> str:
        """Return a description of the networks."""
        decoder = "tiny decoder" if self.is_tiny else "full decoder"
        return f"few-step denoiser, {decoder}" if self.is_few_step else decoder

    def decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode scaled latents (n, channels, h, w) into pictures (n, px, px, 3) uint8."""
        signed = self.autoencoder.decode(latents / self.autoencoder.config.scaling_factor, return_dict=False)[0]
        scaled = (signed.float() * 0.5 + 0.5).clamp(0, 1) * 255
        return scaled.round().to(torch.uint8).permute(0, 2, 3, 1)


def networks_of(ldm: LatentDiffusionModel, preset: Preset) -> Networks:
    """Return the networks of a preset.

    Raises
    ------
    LdmError
        If the preset asks for a tiny decoder and the model has none, a network does not load or fit, or the model is
        distilled for another update rule than the preset's.
    """
    if preset.decoder == "tiny" and ldm.tiny_decoder_path is None:
        raise LdmError(
            f"preset {preset.name} asks for the tiny decoder, but {ldm.path} has no vae_tiny/; give one with "
            "--tiny-decoder, or set decoder = auto"
        )
    if ldm.unet.config.time_cond_proj_dim is not None and preset.rule not in ("lcm", "tcd"):
        raise LdmError(
            f"{ldm.path} is a latent consistency model, and preset {preset.name} denoises it by {preset.rule}, which "
            'it was not distilled for: write a preset with rule = "lcm" into the settings, such as [presets.lcm-4] '
            'start = 799, n_calls = 4, rule = "lcm", guidance_scale = 8.0, and give --preset lcm-4'
        )
    is_tiny = preset.decoder != "full" and ldm.tiny_decoder_path is not None
    is_few_step = preset.few_step and ldm.few_step_path is not None
    return Networks(
        ldm=ldm,
        denoiser=Denoiser(ldm.few_step_unet if is_few_step else ldm.unet),
        autoencoder=ldm.tiny_decoder if is_tiny else ldm.autoencoder,
        is_few_step=is_few_step,
        is_tiny=is_tiny,
        denoiser_fingerprint=ldm.few_step_fingerprint if is_few_step else ldm.denoiser_fingerprint,
        decoder_fingerprint=ldm.tiny_decoder_fingerprint if is_tiny else ldm.fingerprint,
    )
