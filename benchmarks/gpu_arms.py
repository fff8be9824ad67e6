"""The GPU benchmark's competitors: diffusers' own pipeline, and StreamDiffusion's schedule rebuilt."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionImg2ImgPipeline
from numpy.typing import NDArray

from braind.models.ldm.denoiser import joined
from braind.models.ldm.networks import Networks
from braind.models.ldm.reconstruct import Reconstructor

Array = NDArray[Any]


class Stock:
    """diffusers' pipeline at its best: tensors in and out, channels_last, exactly the preset's timesteps.

    Its DPM-Solver of first order is DDIM, and is the one that takes timesteps of one's own. Compiled as its
    documentation has it: max-autotune, with CUDA graphs.
    """

    def __init__(self, networks: Networks, *, is_compiled: bool) -> None:
        ldm, unet, autoencoder = networks.ldm, networks.ldm.unet, networks.autoencoder
        for network in (unet, autoencoder):
            network.to(memory_format=torch.channels_last)
        scheduler: Any = DPMSolverMultistepScheduler.from_pretrained(
            ldm.path / "scheduler", solver_order=1, algorithm_type="dpmsolver++", final_sigmas_type="sigma_min"
        )
        pipeline_class: Any = StableDiffusionImg2ImgPipeline
        self._pipeline = pipeline_class(
            autoencoder, ldm.text_encoder, ldm.tokenizer, unet, scheduler, None, None, requires_safety_checker=False
        )
        self._pipeline.set_progress_bar_config(disable=True)
        if is_compiled:
            self._pipeline.unet = torch.compile(unet, mode="max-autotune", fullgraph=True, dynamic=False)
            self._decode = torch.compile(self._decode, mode="max-autotune", fullgraph=True, dynamic=False)
        self._autoencoder = autoencoder

    def run(self, reconstructor: Reconstructor, z: Array, c: Array) -> Callable[[], Array]:
        """Return what makes braind's picture of z and c."""
        ldm, preset = reconstructor.ldm, reconstructor.preset
        latents, embedding = (torch.from_numpy(array)[None].to(ldm.device, ldm.dtype) for array in (z, c))
        timesteps = [step.timestep for step in reconstructor.steps]

        def run() -> Array:
            denoised = self._pipeline(
                image=latents, prompt_embeds=embedding, negative_prompt_embeds=reconstructor.empty, strength=1.0,
                timesteps=timesteps, guidance_scale=preset.guidance_scale, output_type="latent",
                generator=torch.Generator().manual_seed(reconstructor.seed),
            ).images  # fmt: skip
            return self._decode(denoised)[0].cpu().numpy()

        return run

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        decoded = self._autoencoder.decode(latents / self._autoencoder.config.scaling_factor, return_dict=False)[0]
        scaled = (decoded.float() * 0.5 + 0.5).clamp(0, 1) * 255
        return scaled.round().to(torch.uint8).permute(0, 2, 3, 1)


class StreamBatch:
    """StreamDiffusion's stream batch (Kodaira et al. 2023, §3.1), rebuilt here around the same networks.

    Pictures in flight share one denoiser call, each at its own timestep: a call ends one picture, but a volume's
    picture comes out `n_calls` − 1 volumes later. Unlike theirs, every picture has an embedding of its own.
    """

    def __init__(self, reconstructor: Reconstructor, z: Array, c: Array) -> None:
        networks, steps, device = reconstructor.networks, reconstructor.steps, reconstructor.ldm.device
        self._networks, self._dtype, self._scale = (
            networks,
            reconstructor.ldm.dtype,
            reconstructor.preset.guidance_scale,
        )
        self._is_guided = reconstructor.preset.guidance != "none"
        self._latents_weight, self._noise_weight = (
            torch.tensor([getattr(step, name) for step in steps], device=device)[:, None, None, None]
            for name in ("latents_weight", "noise_weight")
        )
        self._time_embedding = torch.cat([networks.denoiser.time_embedding(step.timestep) for step in steps])
        self._start = reconstructor.noised(z)
        self._waiting = reconstructor.noise.repeat(len(steps) - 1, 1, 1, 1)
        self._embedding = torch.from_numpy(c)[None].to(device, self._dtype)
        self._waiting_embeddings = reconstructor.empty.repeat(len(steps) - 1, 1, 1)
        self._empty = networks.denoiser.context(reconstructor.empty.repeat(len(steps), 1, 1))
        if self._is_guided:
            self._time_embedding = self._time_embedding.repeat(2, 1)

    def push(self) -> tuple[torch.Tensor, ...]:
        """Take a volume's z and c; return the picture that this call ends, (1, px, px, 3) uint8."""
        denoiser = self._networks.denoiser
        latents = torch.cat([self._start, self._waiting])
        embeddings = torch.cat([self._embedding, self._waiting_embeddings])
        context, inputs = denoiser.context(embeddings), latents.to(self._dtype)
        if self._is_guided:
            context, inputs = joined(self._empty, context), torch.cat([inputs, inputs])
        noise = denoiser(inputs, self._time_embedding, context.pooled, *context.keys_values).float()
        if self._is_guided:
            without, under = noise.chunk(2)
            noise = without + self._scale * (under - without)
        latents = self._latents_weight * latents + self._noise_weight * noise
        self._waiting.copy_(latents[:-1])
        self._waiting_embeddings.copy_(embeddings[:-1])
        return (self._networks.decoded(latents[-1:].to(self._dtype)),)
