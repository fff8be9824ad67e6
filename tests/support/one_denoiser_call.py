"""The whole way of a model from its folder to a picture, with one denoiser call: for models of any size."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braind.models.ldm.model import LatentDiffusionModel
from braind.models.ldm.reconstruct import Reconstructor
from braind.models.presets import preset_with


def pictures_by_one_call(folder: Path) -> tuple[LatentDiffusionModel, dict[str, NDArray[Any]]]:
    """Load a model; make a picture by one denoiser call, and the coarse picture of a z of takagi's size."""
    ldm = LatentDiffusionModel.load(folder)
    reconstructor = Reconstructor(ldm, preset_with("live-1", guidance_scale=1.0))
    channels, side, _ = ldm.latent_shape
    z = np.random.default_rng(0).normal(size=ldm.latent_shape).astype(np.float32)
    smaller = np.zeros((channels, side * 5 // 8, side * 5 // 8), np.float32)  # 320 of Stable Diffusion's 512 px
    c = ldm.encode_captions([["a b c", "d e"]])[0]
    return ldm, {"one call": reconstructor.picture(z, c), "coarse": reconstructor.coarse(smaller)}
