"""From decoded z and c to a picture: z is noised, denoised under c into zc, and decoded.

Pictures are deterministic. Every picture starts from one noise tensor, which the seed fixes, so the same z and c give
the same picture whatever was decoded before.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..pipeline_settings import Mode
from ..presets import Preset, Schedule, Step, compiled_steps, schedule, text_schedule
from .denoiser import Context, joined
from .engine import Engine
from .model import LatentDiffusionModel
from .networks import networks_of
from .resize import lanczos_weights, resized
from .torch_engine import TorchEngine

Array = NDArray[Any]


class Reconstructor:
    """Makes pictures of decoded latents by one preset, with one latent diffusion model; torch runs it by default."""

    def __init__(self, ldm: LatentDiffusionModel, preset: Preset, seed: int = 42, engine: Engine | None = None) -> None:
        self.ldm, self.preset, self.seed = ldm, preset, seed
        self.engine = engine or TorchEngine(networks_of(ldm, preset))
        self.networks = self.engine.networks
        self.schedule, self.text_schedule = schedule(preset), text_schedule(preset)
        # The noise is drawn on the CPU, so that it is the same on every device. The first tensor starts every picture;
        # the others are the fresh noise that some update rules add.
        generator = torch.Generator().manual_seed(seed)
        n_calls = max(len(self.schedule.timesteps), len(self.text_schedule.timesteps))
        noises = torch.randn((1 + n_calls, 1, *ldm.latent_shape), generator=generator).to(ldm.device)
        self.noise, self.fresh_noises = noises[0], noises[1:]
        self.empty = self._embed(ldm.encode_captions([[""]])[0])
        self._start_alpha = float(ldm.alphas_cumprod[self.schedule.noise])
        self.steps, self.text_steps = self.compiled(self.schedule), self.compiled(self.text_schedule)
        self._unconditional: Context | None = None
        self._time_embeddings: dict[tuple[int, float], torch.Tensor] = {}
        self._resampling: dict[int, torch.Tensor] = {}

    @property
    def engine_words(self) -> str:
        """Return a description of the engine and its networks."""
        return f"{self.engine.name}, {self.networks.words}"

    @torch.inference_mode()
    def coarse(self, z: Array) -> Array:
        """Decode z alone into Xz.

        Parameters
        ----------
        z : (channels, h, w) float32, times `scaling_factor`

        Returns
        -------
        (px, px, 3) uint8, at the model's picture size for every size of z
        """
        return self.coarse_of(self._tensor(z))[0].cpu().numpy()

    @torch.inference_mode()
    def picture(self, z: Array, c: Array, mode: Mode = "zc", before_call: Callable[[], object] | None = None) -> Array:
        """Make the picture: Xzc from z and c, Xz from z alone, or a picture from c and noise alone.

        Parameters
        ----------
        z : (channels, h, w) float32, times `scaling_factor`
        c : (tokens, width) float32
        before_call : called before each denoiser call; an exception that it raises ends the picture.

        Returns
        -------
        (px, px, 3) uint8
        """
        return self.picture_of(self._tensor(z), self._tensor(c), mode, before_call)[0].cpu().numpy()

    def coarse_of(self, z: torch.Tensor) -> torch.Tensor:
        """Decode z alone, (1, channels, h, w) float32, into Xz, (1, px, px, 3) uint8, on the model's device."""
        return self._in_model_size(self._decoded(z))

    def picture_of(
        self,
        z: torch.Tensor,
        c: torch.Tensor,
        mode: Mode = "zc",
        before_call: Callable[[], object] | None = None,
        *,
        coarse: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Make the picture on the model's device: as `picture`, each with a leading 1.

        Parameters
        ----------
        coarse : Xz of the same z, (1, px, px, 3) uint8, if it is made already: z is then not decoded again.
        """
        if mode == "z":
            return self.coarse_of(z) if coarse is None else coarse
        embedding = c.to(self.ldm.dtype)
        if mode == "c":
            latents = self.denoise(self.noise, embedding, self.text_steps, before_call)
        else:
            latents = self.denoise(self._noised(z, coarse), embedding, self.steps, before_call)
        return self._decoded(latents)

    def noised(self, z: Array) -> torch.Tensor:
        """Noise z to the start of the schedule: (1, channels, h, w)."""
        return self._noised(self._tensor(z))

    def _noised(self, z: torch.Tensor, coarse: torch.Tensor | None = None) -> torch.Tensor:
        clean = z
        if self.preset.latent_path == "reencode" or z.shape[1:] != self.ldm.latent_shape:
            coarse = self.coarse_of(z) if coarse is None else coarse
            signed = coarse.permute(0, 3, 1, 2).float() / 127.5 - 1
            clean = self.ldm.encode_signed(signed.to(self.ldm.dtype)).float()
        return self._start_alpha**0.5 * clean + (1 - self._start_alpha) ** 0.5 * self.noise

    def denoise(
        self,
        latents: torch.Tensor,
        embedding: torch.Tensor,
        steps: tuple[Step, ...],
        before_call: Callable[[], object] | None = None,
    ) -> torch.Tensor:
        """Denoise latents (1, channels, h, w) under an embedding (1, tokens, width), by the preset's update rule.

        Latents stay float32 between the calls at every precision of the networks: rounding errors would add up.
        """
        clean = torch.zeros_like(latents)
        context = self.engine.conditioned(embedding)
        both = joined(self._empty_context(), context) if self._is_doubled(0) else context
        for n, step in enumerate(steps):
            if before_call:
                before_call()
            noise = self._predicted_noise(latents, step, both if self._is_doubled(n) else context, n)
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
        return wanted and self.preset.guidance_scale != 1 and not self.networks.is_few_step

    def _is_doubled(self, call: int) -> bool:
        """Return whether the call also predicts the noise without c, as classifier-free guidance needs it."""
        return self._is_guided(call) and not self.networks.denoiser.takes_guidance

    def _predicted_noise(self, latents: torch.Tensor, step: Step, context: Context, call: int) -> torch.Tensor:
        time_embedding = self._time_embedding(step.timestep, self.preset.guidance_scale if self._is_guided(call) else 1)
        latents = latents.to(self.ldm.dtype)
        if not self._is_doubled(call):
            return self.engine.predicted_noise(latents, time_embedding, context).float()
        both = self.engine.predicted_noise(torch.cat([latents, latents]), time_embedding, context)
        without, under = both.float().chunk(2)
        return without + self.preset.guidance_scale * (under - without)

    def _empty_context(self) -> Context:
        if self._unconditional is None:
            self._unconditional = self.engine.conditioned(self.empty)
        return self._unconditional

    def _time_embedding(self, timestep: int, guidance_scale: float) -> torch.Tensor:
        if (timestep, guidance_scale) not in self._time_embeddings:
            embedding = self.networks.denoiser.time_embedding(timestep, guidance_scale)
            self._time_embeddings[timestep, guidance_scale] = embedding
        return self._time_embeddings[timestep, guidance_scale]

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        return self.engine.decoded(latents.to(self.ldm.dtype))

    def _in_model_size(self, pictures: torch.Tensor) -> torch.Tensor:
        side, px = pictures.shape[1], self.ldm.picture_px
        if side == px:
            return pictures
        if side not in self._resampling:
            self._resampling[side] = torch.from_numpy(lanczos_weights(side, px)).to(pictures.device)
        return resized(pictures, self._resampling[side])

    def _tensor(self, array: Array) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32))[None].to(self.ldm.device)

    def _embed(self, c: Array) -> torch.Tensor:
        return self._tensor(c).to(self.ldm.dtype)
