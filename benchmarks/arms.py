"""The competitors: ways from one decoded (z, c) to one picture with a given number of guided denoiser calls.

All have the same weights and, but for diffusers as written, the same noise, timesteps and update rule (DDIM), so their
pictures are the same but for rounding, which `pictures.py` checks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionImg2ImgPipeline
from diffusers.utils.logging import disable_progress_bar
from numpy.typing import NDArray
from PIL import Image

from braind.models.ldm.model import LatentDiffusionModel
from braind.models.ldm.reconstruct import Reconstructor
from braind.models.pipeline.decoding_pipeline import DecodingPipeline
from braind.models.pipeline_settings import PipelineSettings
from braind.models.presets import Preset

Array = NDArray[Any]

SEED = 42
STRENGTH = 0.8  # diffusers' own default, and the paper's


@dataclass(frozen=True)
class Arm:
    """One way to a picture.

    Parameters
    ----------
    run : z (*latent_shape), c (*text_shape) → picture (px, px, 3) uint8
    start : timestep of the first denoiser call
    batch : rows of each denoiser call
    lag : how many volumes later a volume's picture comes out
    """

    run: Callable[[Array, Array], Array]
    start: int
    batch: int
    lag: int = 0


def timesteps_of(preset: Preset) -> list[int]:
    """Return the calls' timesteps, spread evenly below the start."""
    return [round(preset.start * (preset.n_calls - n) / preset.n_calls) for n in range(preset.n_calls)]


def braind_arm(ldm: LatentDiffusionModel, settings: PipelineSettings) -> Arm:
    """Return braind with the settings' engine."""
    reconstructor = DecodingPipeline.around(ldm, settings).reconstructor
    return Arm(lambda z, c: reconstructor.picture(z, c), settings.preset.start, 2)


# ── stock diffusers ─────────────────────────────────────────────────────────────────────────────────────────────────


def as_written(pipeline: Any, ldm: LatentDiffusionModel, preset: Preset) -> Arm:
    """Return diffusers as its documentation has it: a PIL picture in and out, the folder's scheduler, a strength.

    z becomes the picture by the same autoencoder. Only as many inference steps are asked for as make `n_calls` calls
    of `int(steps × strength)`: where they start is diffusers' choice.
    """
    n_steps = next(n for n in range(preset.n_calls, 10 * preset.n_calls) if int(n * STRENGTH) == preset.n_calls)
    pipeline.scheduler.set_timesteps(n_steps)
    timesteps, n_calls = pipeline.get_timesteps(n_steps, STRENGTH, ldm.device)
    assert n_calls == preset.n_calls

    def run(z: Array, c: Array) -> Array:
        with torch.no_grad():
            decoded = ldm.decode_latents(torch.from_numpy(z)[None])
        (picture,) = pipeline(
            image=Image.fromarray(pixels(decoded)), prompt_embeds=torch.from_numpy(c)[None], negative_prompt="",
            strength=STRENGTH, num_inference_steps=n_steps, guidance_scale=preset.guidance_scale,
            generator=torch.Generator().manual_seed(SEED),
        ).images  # fmt: skip
        return np.asarray(picture)

    return Arm(run, int(timesteps[0]), 2)


def pipeline_at_its_best(ldm: LatentDiffusionModel, *, compiled: bool) -> Any:
    """Load diffusers' pipeline in channels_last, compiled by inductor or not.

    Its DPM-Solver of first order is DDIM, and is the one that takes timesteps of one's own.
    """
    pipeline = stock_pipeline(ldm)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
        pipeline.scheduler.config, solver_order=1, algorithm_type="dpmsolver++", final_sigmas_type="sigma_min"
    )
    for network in (pipeline.unet, pipeline.vae):
        network.to(memory_format=torch.channels_last)
    if compiled:
        pipeline.unet.forward = compile_frozen(pipeline.unet.forward)
        pipeline.vae.decode = compile_frozen(pipeline.vae.decode)
    return pipeline


def at_its_best(pipeline: Any, ldm: LatentDiffusionModel, preset: Preset) -> Arm:
    """Return diffusers with tensors in and out, at exactly the preset's timesteps."""
    timesteps = timesteps_of(preset)
    empty = torch.from_numpy(ldm.encode_captions([[""]]))

    def run(z: Array, c: Array) -> Array:
        (picture,) = pipeline(
            image=torch.from_numpy(z)[None], prompt_embeds=torch.from_numpy(c)[None], negative_prompt_embeds=empty,
            strength=1.0, timesteps=timesteps, guidance_scale=preset.guidance_scale, output_type="pt",
            generator=torch.Generator().manual_seed(SEED),
        ).images  # fmt: skip
        return pixels(2 * picture[None] - 1)

    return Arm(run, preset.start, 2)


def stock_pipeline(ldm: LatentDiffusionModel) -> Any:
    """Load diffusers' own pipeline, its networks apart from braind's."""
    disable_progress_bar()
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(ldm.path, safety_checker=None, feature_extractor=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def compile_frozen(function: Any) -> Any:
    """Compile by inductor, with the weights as constants."""
    import torch._inductor.config

    torch._inductor.config.freezing = True
    return torch.compile(function)


def pixels(decoded: torch.Tensor) -> Array:
    """Turn (1, 3, px, px), about [−1, 1], into (px, px, 3) uint8."""
    scaled = (decoded[0].float() * 0.5 + 0.5).clamp(0, 1) * 255
    return scaled.round().byte().permute(1, 2, 0).cpu().numpy()


# ── StreamDiffusion's schedule ──────────────────────────────────────────────────────────────────────────────────────


class StreamBatch:
    """StreamDiffusion's stream batch (Kodaira et al. 2023, §3.1), rebuilt here around the same networks.

    Pictures in flight share one denoiser call, each at its own timestep: a call ends one picture, but a volume's
    picture comes out `n_calls` − 1 volumes later. Unlike theirs, every picture has an embedding of its own.
    """

    def __init__(self, ldm: LatentDiffusionModel, preset: Preset) -> None:
        self._unet, self._ldm, self._scale = ldm.unet, ldm, preset.guidance_scale
        self._start = Reconstructor(ldm, preset, SEED)
        timesteps = timesteps_of(preset)
        now = [float(ldm.alphas_cumprod[t]) for t in timesteps]
        ahead = [*now[1:], ldm.final_alpha_cumprod]
        pairs = list(zip(now, ahead, strict=True))
        self._latents_weight = _column(sqrt(after / before) for before, after in pairs)
        self._noise_weight = _column(sqrt(1 - after) - sqrt(after * (1 - before) / before) for before, after in pairs)
        self._timesteps = torch.tensor(timesteps).repeat(2)
        n_waiting = preset.n_calls - 1
        self._empty = self._start.empty.repeat(preset.n_calls, 1, 1)
        self._latents = self._start.noise.repeat(n_waiting, 1, 1, 1)
        self._embeddings = self._start.empty.repeat(n_waiting, 1, 1)

    @torch.inference_mode()
    def push(self, z: Array, c: Array) -> Array:
        """Take a volume's z and c; return the picture that this call ends."""
        latents = torch.cat([self._start.noised(z), self._latents])
        embeddings = torch.cat([torch.from_numpy(c)[None], self._embeddings])
        both = self._unet(
            torch.cat([latents, latents]), self._timesteps, torch.cat([self._empty, embeddings]), return_dict=False
        )[0]
        without, under = both.chunk(2)
        noise = without + self._scale * (under - without)
        latents = self._latents_weight * latents + self._noise_weight * noise
        self._latents, self._embeddings = latents[:-1], embeddings[:-1]
        return pixels(self._ldm.decode_latents(latents[-1:]))


def stream_batch(ldm: LatentDiffusionModel, preset: Preset) -> Arm:
    """Return the stream-batch schedule."""
    return Arm(StreamBatch(ldm, preset).push, preset.start, 2 * preset.n_calls, lag=preset.n_calls - 1)


def _column(values: Any) -> torch.Tensor:
    return torch.tensor(list(values), dtype=torch.float32)[:, None, None, None]
