"""What the latent diffusion model makes of a seen picture: z, c, zc under noise and at denoising steps, U-Net blocks.

The denoiser is diffusers' own, unmodified: forward hooks read what its blocks put out. Every picture has noise of its
own. With one noise for all, as reconstruction has it, noised z would be z plus a constant, and no linear model could
tell them apart.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import BraindError
from ..presets import N_TRAIN_TIMESTEPS, compiled_steps, even_schedule

if TYPE_CHECKING:
    from ..ldm.model import LatentDiffusionModel

Array = NDArray[Any]

MOMENTS = ("early", "middle", "late")


class FeatureError(BraindError):
    """Settings that no features can be computed with."""

    code = "features"


@dataclass(frozen=True)
class FeatureSettings:
    """Which features are computed.

    Parameters
    ----------
    strengths : tuple of float
        Shares of the noise schedule, in (0, 1], that z is noised to before it is denoised into zc.
    strength : float
        The one of `strengths` whose denoising steps and blocks are looked into, and whose result is called zc.
    n_calls : int
        Denoiser calls at `strength`, at least 3; in proportion at the others. DDIM, under c, without guidance.
    seed : int
        Of the pictures' noises and of the random projections.
    n_projected : int
        Features of more dimensions than this are projected to so many.
    """

    strengths: tuple[float, ...] = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
    strength: float = 0.8
    n_calls: int = 4
    seed: int = 42
    n_projected: int = 2048

    def __post_init__(self) -> None:
        if self.strength not in self.strengths or not all(0 < strength <= 1 for strength in self.strengths):
            raise FeatureError(
                f"strengths {self.strengths}: give shares of the noise schedule in (0, 1], {self.strength} among them"
            )
        if self.n_calls < len(MOMENTS):
            raise FeatureError(f"{self.n_calls} denoiser calls; at least 3 have an early, a middle and a late one")

    def calls_at(self, strength: float) -> int:
        """Return the denoiser calls for a strength."""
        return max(1, round(self.n_calls * strength / self.strength))

    @property
    def moments(self) -> dict[int, str]:
        """Return which calls at `strength` are the early, the middle and the late one: position → name."""
        return dict(zip((0, (self.n_calls - 1) // 2, self.n_calls - 1), MOMENTS, strict=True))


def strength_feature(strength: float) -> str:
    """Return the name of zc from z noised to a strength."""
    return f"zc_strength-{strength:g}"


def step_feature(part: str, moment: str) -> str:
    """Return the name of zc, or of a block's output, at a denoising step."""
    return f"{part}_step-{moment}"


def tapped_blocks(unet: Any) -> tuple[str, ...]:
    """Name the blocks that are looked into: two on the way down, the bottleneck, their two mirror images on the way up.

    They are the first block and the one before the deepest, which is as coarse as the bottleneck.
    """
    n_blocks = len(unet.down_blocks)
    down = sorted({0, max(n_blocks - 2, 0)})
    up = sorted(n_blocks - 1 - position for position in down)
    return (
        *(f"down_blocks.{position}" for position in down),
        "mid_block",
        *(f"up_blocks.{position}" for position in up),
    )


@contextmanager
def block_outputs(unet: Any, names: tuple[str, ...]) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the newest output of each named block, kept by forward hooks: (n, channels, h, w)."""
    outputs: dict[str, torch.Tensor] = {}
    hooks = [unet.get_submodule(name).register_forward_hook(partial(_keep, outputs, name)) for name in names]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def _keep(outputs: dict[str, torch.Tensor], name: str, _module: Any, _given: Any, output: Any) -> None:
    # blocks on the way down give the outputs of their parts too
    outputs[name] = output[0] if isinstance(output, tuple) else output


def picture_noise(pictures: Array, shape: tuple[int, ...], seed: int) -> Array:
    """Draw each picture's own noise, which depends on its pixels and the seed alone: (n_pictures, *shape) float32.

    So a picture has the same features by whatever number a data set calls it.

    Parameters
    ----------
    pictures : array of shape (n_pictures, px, px, 3), uint8
    """
    contents = [list(sha256(np.ascontiguousarray(picture).tobytes()).digest()) for picture in pictures]
    return np.stack(
        [np.random.default_rng([seed, *content]).standard_normal(shape, np.float32) for content in contents]
    )


@torch.inference_mode()
def picture_features(
    ldm: "LatentDiffusionModel", z: Array, c: Array, noise: Array, settings: FeatureSettings
) -> Iterator[tuple[str, Array]]:
    """Compute all features of some pictures, one after the other: pairs of a name and (n_pictures, …) float32.

    Parameters
    ----------
    z, noise : arrays of shape (n_pictures, channels, h, w), float32
    c : array of shape (n_pictures, tokens, width), float32
    """
    yield "z", z
    yield "c", c
    embedding = torch.from_numpy(c).to(ldm.device, ldm.dtype)
    names = tapped_blocks(ldm.unet)
    with block_outputs(ldm.unet, names) as outputs:
        for strength in settings.strengths:
            is_looked_into = strength == settings.strength
            calls = even_schedule(round(strength * (N_TRAIN_TIMESTEPS - 1)), settings.calls_at(strength))
            alpha = float(ldm.alphas_cumprod[calls.noise])
            noised = alpha**0.5 * z + (1 - alpha) ** 0.5 * noise
            latents = torch.from_numpy(noised.astype(np.float32)).to(ldm.device, ldm.dtype)
            steps = compiled_steps("ddim", calls.timesteps, ldm.alphas_cumprod.tolist(), ldm.final_alpha_cumprod)
            for position, step in enumerate(steps):
                predicted = ldm.unet(latents, step.timestep, embedding, return_dict=False)[0]
                latents = step.latents_weight * latents + step.noise_weight * predicted
                moment = settings.moments.get(position) if is_looked_into else None
                if moment:
                    for name in names:
                        yield step_feature(name, moment), _to_array(outputs[name])
                    if moment != "late":  # the late one is the strength's zc
                        yield step_feature("zc", moment), _to_array(latents)
            yield strength_feature(strength), _to_array(latents)


def _to_array(tensor: torch.Tensor) -> Array:
    return tensor.float().cpu().numpy()


@dataclass(eq=False)
class Projector:
    """Makes large features small: sparse random projections (Li et al. 2006), the same for the same name and seed."""

    n_projected: int
    seed: int
    _projections: dict[str, Any] = field(default_factory=dict)

    def __call__(self, name: str, features: Array) -> Array:
        """Return features of pictures, flat: (n_pictures, at most `n_projected`) float32."""
        # scikit-learn: 1 s to import
        from sklearn.random_projection import SparseRandomProjection

        flat = np.ascontiguousarray(features.reshape(len(features), -1), np.float32)
        if flat.shape[1] <= self.n_projected:
            return flat
        if name not in self._projections:
            seed = (self.seed + crc32(name.encode())) % 2**31
            sparse: Any = SparseRandomProjection  # annotated without numbers of components
            self._projections[name] = sparse(self.n_projected, random_state=seed).fit(flat[:1])
        return self._projections[name].transform(flat)
