"""From decoded z and c to a picture: z is noised, denoised under c into zc, and decoded.

The same z and c give the same picture whatever was decoded before: the seed fixes the sampler's noise.
"""

from collections.abc import Callable

import numpy as np
import torch

from ...arrays import Array
from ...choices import Mode
from ..presets import Preset
from .engine import Engine
from .model import LatentDiffusionModel
from .networks import networks_of
from .resize import bicubic_weights, resized
from .sampler import Sampler
from .torch_engine import TorchEngine


class Reconstructor:
    """Makes pictures of decoded latents by one preset, with one latent diffusion model; torch runs it by default."""

    def __init__(self, ldm: LatentDiffusionModel, preset: Preset, seed: int = 42, engine: Engine | None = None) -> None:
        self.ldm, self.preset, self.seed = ldm, preset, seed
        self.engine = engine or TorchEngine(networks_of(ldm, preset))
        self.networks = self.engine.networks
        self.sampler = Sampler(self.engine, preset, seed)
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
        (px, px, 3) uint8, at the model's picture size for every size of z; resized as in the paper's code, bicubic
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
        """Make the picture on the model's device: as `picture`, all arrays with a leading 1.

        Parameters
        ----------
        coarse : Xz of the same z, (1, px, px, 3) uint8; if given, z is not decoded again.
        """
        if mode == "z":
            return self.coarse_of(z) if coarse is None else coarse
        embedding = c.to(self.ldm.dtype)
        if mode == "c":
            latents = self.sampler.denoise(self.sampler.noise, embedding, self.sampler.text_steps, before_call)
        else:
            latents = self.sampler.denoise(self._noised(z, coarse), embedding, self.sampler.steps, before_call)
        return self._decoded(latents)

    def noised(self, z: Array) -> torch.Tensor:
        """Noise z to the start of the schedule, after encoding it again if the preset does: (1, channels, h, w)."""
        return self._noised(self._tensor(z))

    def _noised(self, z: torch.Tensor, coarse: torch.Tensor | None = None) -> torch.Tensor:
        clean = z
        if self.preset.latent_path == "reencode" or z.shape[1:] != self.ldm.latent_shape:
            coarse = self.coarse_of(z) if coarse is None else coarse
            signed = coarse.permute(0, 3, 1, 2).float() / 127.5 - 1
            clean = self.ldm.encode_signed(signed.to(self.ldm.dtype)).float()
        return self.sampler.noised(clean)

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        return self.engine.decoded(latents.to(self.ldm.dtype))

    def _in_model_size(self, pictures: torch.Tensor) -> torch.Tensor:
        side, px = pictures.shape[1], self.ldm.picture_px
        if side == px:
            return pictures
        if side not in self._resampling:
            self._resampling[side] = torch.from_numpy(bicubic_weights(side, px)).to(pictures.device)
        return resized(pictures, self._resampling[side])

    def _tensor(self, array: Array) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32))[None].to(self.ldm.device)
