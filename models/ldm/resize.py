"""Pillow's bicubic resampling as matrix products, for pictures that stay on a GPU."""

import numpy as np
import torch

from ...arrays import Array


def bicubic_weights(side: int, px: int) -> Array:
    """Return Pillow's bicubic weights of `side` source pixels for `px` target pixels: (side, px) float32."""
    from PIL import Image

    return np.array(Image.fromarray(np.eye(side, dtype=np.float32)).resize((px, side), Image.Resampling.BICUBIC))


def resized(pictures: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Resize (n, side, side, 3) uint8 pictures to (n, px, px, 3): rows, then columns, each rounded as in Pillow."""
    wide = _rounded(torch.einsum("nhwc,wp->nhpc", pictures.float(), weights))
    return _rounded(torch.einsum("nhpc,hq->nqpc", wide, weights)).to(torch.uint8)


def _rounded(values: torch.Tensor) -> torch.Tensor:
    return (values + 0.5).floor().clamp(0, 255)
