"""From decoded z and c to a picture: z is noised, denoised under c by DDIM into zc, and decoded.

Deterministic: every picture starts from one noise tensor, fixed by the seed, so that the same z and c give the same
picture whatever was decoded before.
"""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from .ldm import LatentDiffusionModel, resize
from .profiles import Profile, Schedule, schedule, text_schedule

Array = NDArray[Any]
Mode = Literal["z", "c", "zc"]


class Reconstructor:
    """Makes pictures of decoded latents with one latent diffusion model and one profile, through torch."""

    def __init__(self, ldm: LatentDiffusionModel, profile: Profile, seed: int = 42) -> None:
        self.ldm, self.profile, self.seed = ldm, profile, seed
        self.engine = f"torch-{ldm.device.type}"
        # drawn on the CPU, so that the noise is the same on every device
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn((1, *ldm.latent_shape), generator=generator)
        self.noise = noise.to(ldm.device, ldm.dtype)
        self.schedule, self.text_schedule = schedule(profile), text_schedule(profile)
        self.empty = self._embed(ldm.encode_captions([[""]])[0])

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
        decoded = _pixels(self.ldm.decode_latents(self._latents(z)))
        return resize(decoded, self.ldm.picture_px)[0]

    @torch.inference_mode()
    def picture(self, z: Array, c: Array, mode: Mode = "zc") -> Array:
        """Make the picture: Xzc from z and c, Xz from z alone, or a picture from c and noise alone.

        Parameters
        ----------
        z : (channels, h, w) float32, times `scaling_factor`
        c : (tokens, width) float32

        Returns
        -------
        (px, px, 3) uint8
        """
        if mode == "z":
            return self.coarse(z)
        embedding = self._embed(c)
        if mode == "c":
            latents = self.denoise(self.noise, embedding, self.text_schedule)
        else:
            latents = self.denoise(self.noised(z), embedding, self.schedule)
        return _pixels(self.ldm.decode_latents(latents))[0]

    def noised(self, z: Array) -> torch.Tensor:
        """Noise z to the start of the schedule: (1, channels, h, w)."""
        if self.profile.reencode or z.shape != self.ldm.latent_shape:
            clean = torch.from_numpy(self.ldm.encode_pictures(self.coarse(z)[None])).to(self.noise)
        else:
            clean = self._latents(z)
        alpha = float(self.ldm.alphas_cumprod[self.schedule.noise])
        return alpha**0.5 * clean + (1 - alpha) ** 0.5 * self.noise

    def denoise(self, latents: torch.Tensor, embedding: torch.Tensor, steps: Schedule) -> torch.Tensor:
        """Denoise latents (1, channels, h, w) under an embedding (1, tokens, width) by DDIM (Song et al. 2021, eta 0).

        Each step is x ← a·x + b·epsilon with constants of the schedule: a = √(ᾱ_target / ᾱ_t),
        b = √(1 − ᾱ_target) − a·√(1 − ᾱ_t).
        """
        guided = self.profile.guidance_scale != 1
        embeddings = torch.cat([self.empty, embedding]) if guided else embedding
        for timestep, target in zip(steps.timesteps, steps.targets, strict=True):
            doubled = torch.cat([latents, latents]) if guided else latents
            epsilon = self.ldm.unet(doubled, timestep, embeddings, return_dict=False)[0]
            if guided:
                without, under = epsilon.chunk(2)
                epsilon = without + self.profile.guidance_scale * (under - without)
            a, b = self._coefficients(timestep, target)
            latents = a * latents + b * epsilon
        return latents

    def _coefficients(self, timestep: int, target: int) -> tuple[float, float]:
        alpha = float(self.ldm.alphas_cumprod[timestep])
        alpha_target = float(self.ldm.alphas_cumprod[target]) if target >= 0 else self.ldm.final_alpha_cumprod
        a = (alpha_target / alpha) ** 0.5
        return a, (1 - alpha_target) ** 0.5 - a * (1 - alpha) ** 0.5

    def _latents(self, z: Array) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(z, np.float32))[None].to(self.ldm.device, self.ldm.dtype)

    def _embed(self, c: Array) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(c, np.float32))[None].to(self.ldm.device, self.ldm.dtype)


def _pixels(decoded: torch.Tensor) -> Array:
    """Turn (n, 3, px, px), about [−1, 1], into (n, px, px, 3) uint8."""
    scaled = (decoded.float() * 0.5 + 0.5).clamp(0, 1) * 255
    return scaled.round().byte().permute(0, 2, 3, 1).cpu().numpy()
