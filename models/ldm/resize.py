"""Pillow's Lanczos resampling as matrix products, for pictures that stay on a GPU."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[Any]


def lanczos_weights(side: int, px: int) -> Array:
    """Return how much each of `side` pixels in a row adds to each of `px`: (side, px) float32, as Pillow has it."""
    from PIL import Image

    return np.array(Image.fromarray(np.eye(side, dtype=np.float32)).resize((px, side), Image.Resampling.LANCZOS))


def resized(pictures: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Resize (n, side, side, 3) uint8 pictures to (n, px, px, 3), rows first, rounding after either, as Pillow does."""
    wide = _rounded(torch.einsum("nhwc,wp->nhpc", pictures.float(), weights))
    return _rounded(torch.einsum("nhpc,hq->nqpc", wide, weights)).to(torch.uint8)


def _rounded(values: torch.Tensor) -> torch.Tensor:
    return (values + 0.5).floor().clamp(0, 255)
