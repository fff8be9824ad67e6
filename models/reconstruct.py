"""From decoded z and c to a picture: z is noised, denoised under c into zc, and decoded.

Deterministic: every picture starts from one noise tensor, fixed by the seed, so that the same z and c give the same
picture whatever was decoded before.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from .engines import Engine, TorchEngine
from .ldm import LatentDiffusionModel, resize
from .presets import Preset, Schedule, Step, compiled_steps, schedule, text_schedule

Array = NDArray[Any]
Mode = Literal["z", "c", "zc"]


class Reconstructor:
    """Makes pictures of decoded latents by one preset with one latent diffusion model, which torch runs by default."""

    def __init__(self, ldm: LatentDiffusionModel, preset: Preset, seed: int = 42, engine: Engine | None = None) -> None:
        self.ldm, self.preset, self.seed = ldm, preset, seed
        self.engine = engine or TorchEngine(ldm)
        self.schedule, self.text_schedule = schedule(preset), text_schedule(preset)
        # drawn on the CPU, so that the noise is the same on every device; the first one starts every picture, the
        # others are the fresh noise of update rules that take some
        generator = torch.Generator().manual_seed(seed)
        n_calls = max(len(self.schedule.timesteps), len(self.text_schedule.timesteps))
        noises = torch.randn((1 + n_calls, 1, *ldm.latent_shape), generator=generator).to(ldm.device, ldm.dtype)
        self.noise, self.fresh_noises = noises[0], noises[1:]
        self.empty = self._embed(ldm.encode_captions([[""]])[0])
        self.steps, self.text_steps = self.compiled(self.schedule), self.compiled(self.text_schedule)

    @torch.inference_mode()
    def coarse(self, z: Array) -> Array:
        """Decode z alone into Xz.

        Parameters
        ----------
        z : (channels, h, w) float32, times `scaling_factor`

        Returns
        -------
        (px, px, 3) uint8, at the model's picture size whatever the size of z
        """
        decoded = _pixels(self.engine.decoded(self._latents(z)))
        return resize(decoded, self.ldm.picture_px)[0]

    @torch.inference_mode()
    def picture(self, z: Array, c: Array, mode: Mode = "zc", before_call: Callable[[], object] | None = None) -> Array:
        """Make the picture: Xzc from z and c, Xz from z alone, or a picture from c and noise alone.

        Parameters
        ----------
        z : (channels, h, w) float32, times `scaling_factor`
        c : (tokens, width) float32
        before_call : called before each denoiser call; what it raises ends the picture.

        Returns
        -------
        (px, px, 3) uint8
        """
        if mode == "z":
            return self.coarse(z)
        embedding = self._embed(c)
        if mode == "c":
            latents = self.denoise(self.noise, embedding, self.text_steps, before_call)
        else:
            latents = self.denoise(self.noised(z), embedding, self.steps, before_call)
        return _pixels(self.engine.decoded(latents))[0]

    def noised(self, z: Array) -> torch.Tensor:
        """Noise z to the start of the schedule: (1, channels, h, w)."""
        if self.preset.latent_path == "reencode" or z.shape != self.ldm.latent_shape:
            clean = torch.from_numpy(self.ldm.encode_pictures(self.coarse(z)[None])).to(self.noise)
        else:
            clean = self._latents(z)
        alpha = float(self.ldm.alphas_cumprod[self.schedule.noise])
        return alpha**0.5 * clean + (1 - alpha) ** 0.5 * self.noise

    def denoise(
        self,
        latents: torch.Tensor,
        embedding: torch.Tensor,
        steps: tuple[Step, ...],
        before_call: Callable[[], object] | None = None,
    ) -> torch.Tensor:
        """Denoise latents (1, channels, h, w) under an embedding (1, tokens, width), by the preset's update rule."""
        clean = torch.zeros_like(latents)
        for n, step in enumerate(steps):
            if before_call:
                before_call()
            noise = self._predicted_noise(latents, embedding, step, guided=self._is_guided(n))
            following = step.latents_weight * latents + step.noise_weight * noise
            if step.previous_weight:
                following += step.previous_weight * clean
            if step.fresh_weight:
                following += step.fresh_weight * self.fresh_noises[n]
            if self.preset.rule == "dpm++":
                clean = (latents - step.sigma * noise) / step.alpha
            latents = following
        return latents

    def compiled(self, calls: Schedule) -> tuple[Step, ...]:
        """Return the constants of a schedule's calls."""
        return compiled_steps(
            self.preset.rule, calls.timesteps, self.ldm.alphas_cumprod.tolist(), self.ldm.final_alpha_cumprod
        )

    def _is_guided(self, call: int) -> bool:
        wanted = self.preset.guidance == "full" or (self.preset.guidance == "first" and call == 0)
        return wanted and self.preset.guidance_scale != 1

    def _predicted_noise(
        self, latents: torch.Tensor, embedding: torch.Tensor, step: Step, *, guided: bool
    ) -> torch.Tensor:
        if not guided:
            return self.engine.predicted_noise(latents, step.timestep, embedding)
        both = self.engine.predicted_noise(
            torch.cat([latents, latents]), step.timestep, torch.cat([self.empty, embedding])
        )
        without, under = both.chunk(2)
        return without + self.preset.guidance_scale * (under - without)

    def _latents(self, z: Array) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(z, np.float32))[None].to(self.ldm.device, self.ldm.dtype)

    def _embed(self, c: Array) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(c, np.float32))[None].to(self.ldm.device, self.ldm.dtype)


def _pixels(decoded: torch.Tensor) -> Array:
    """Turn (n, 3, px, px), about [−1, 1], into (n, px, px, 3) uint8."""
    scaled = (decoded.float() * 0.5 + 0.5).clamp(0, 1) * 255
    return scaled.round().byte().permute(0, 2, 3, 1).cpu().numpy()
