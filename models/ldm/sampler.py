"""The sampler: noises z to the start of a preset's schedule, and denoises latents under c.

One seed fixes all noise. Every picture starts from the same noise, so the same z and c give the same picture whatever
was decoded before.
"""

from collections.abc import Callable

import numpy as np
import torch

from ..presets import Preset, Schedule, Step, compiled_steps, schedule, text_schedule
from .denoiser import Context, joined
from .engine import Engine


class Sampler:
    """Noises and denoises latents by one preset's schedule, update rule and classifier-free guidance.

    Parameters
    ----------
    engine : runs the denoiser
    preset : Preset
    seed : of the noise, which is drawn on the CPU: the noise is the same on every device
    """

    def __init__(self, engine: Engine, preset: Preset, seed: int) -> None:
        ldm = engine.networks.ldm
        self.engine, self.networks, self.ldm, self.preset = engine, engine.networks, ldm, preset
        self.schedule, self.text_schedule = schedule(preset), text_schedule(preset)
        # The first tensor starts every picture. Some update rules add one of the others after each call.
        generator = torch.Generator().manual_seed(seed)
        n_calls = max(len(self.schedule.timesteps), len(self.text_schedule.timesteps))
        noises = torch.randn((1 + n_calls, 1, *ldm.latent_shape), generator=generator).to(ldm.device)
        self.noise, self.fresh_noises = noises[0], noises[1:]
        empty = np.ascontiguousarray(ldm.encode_captions([[""]])[0], np.float32)
        self.empty = torch.from_numpy(empty)[None].to(ldm.device).to(ldm.dtype)
        self._start_alpha = float(ldm.alphas_cumprod[self.schedule.noise])
        self.steps, self.text_steps = self.compiled(self.schedule), self.compiled(self.text_schedule)
        self._unconditional: Context | None = None
        self._time_embeddings: dict[tuple[int, float], torch.Tensor] = {}

    def noised(self, clean: torch.Tensor) -> torch.Tensor:
        """Noise clean latents (1, channels, h, w) float32 to the start of the schedule."""
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
