"""The published ways of scoring decoded pictures, as data: which measures, of which layers, at which sizes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[Any]

Kind = Literal[
    "pixcorr", "ssim", "among_seen", "among_decoded", "distance",  # of pictures, published
    "same_kind", "named", "caption", "forward", "backward",  # braind's own
]  # fmt: skip
Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]

IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP: Statistics = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
MINDEYE_PX, MINDEYE_PIXELS_PX = 256, 425


class Measure(NamedTuple):
    """One number for each decoded picture; `name` is also that of the feature it compares, `k` of the best k."""

    name: str
    title: str
    kind: Kind
    k: int = 0

    @property
    def better(self) -> str:
        """Say which way is better."""
        return "lower" if self.kind == "distance" else "higher"


class Network(NamedTuple):
    """A published network: for each measure the layer that it compares, and what its pictures are turned into.

    `resize` is `tensor` (float pictures, 256 px first, bilinear: MindEye) or `bilinear` or `bicubic` (8-bit pictures by
    Pillow: Takagi); `px` the side of its pictures; `statistics` the mean and standard deviation that are taken out.
    """

    name: Literal["alexnet", "inception_v3", "efficientnet_b1", "swav", "clip"]
    layers: Mapping[str, str]
    px: int
    resize: Literal["tensor", "bilinear", "bicubic"]
    statistics: Statistics = IMAGENET


@dataclass(frozen=True)
class Protocol:
    """A published protocol, and the rows of the table that it is made for."""

    name: str
    measures: tuple[Measure, ...]
    networks: tuple[Network, ...]
    identify: Literal["among_seen", "among_decoded"]
    n_samples: int
    rows: tuple[str, ...]


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        # MedARC-AI/fMRI-reconstruction-NSD, src/Reconstruction_Metrics.py
        Protocol(
            "mindeye",
            (
                Measure("pixcorr", "PixCorr", "pixcorr"),
                Measure("ssim", "SSIM", "ssim"),
                Measure("alexnet_2", "AlexNet(2)", "among_seen"),
                Measure("alexnet_5", "AlexNet(5)", "among_seen"),
                Measure("inception", "Inception", "among_seen"),
                Measure("clip", "CLIP", "among_seen"),
                Measure("efficientnet", "EffNet-B", "distance"),
                Measure("swav", "SwAV", "distance"),
            ),
            (
                Network("alexnet", {"alexnet_2": "features.4", "alexnet_5": "features.11"}, 256, "tensor"),
                Network("inception_v3", {"inception": "avgpool"}, 342, "tensor"),
                Network("clip", {"clip": "image_embeds"}, 224, "tensor", CLIP),
                Network("efficientnet_b1", {"efficientnet": "avgpool"}, 255, "tensor"),
                Network("swav", {"swav": "avgpool"}, 224, "tensor"),
            ),
            "among_seen",
            n_samples=1,
            rows=("single", "averaged", "running", "bold"),
        ),
        # yu-takagi/StableDiffusionReconstruction, codes/utils/img2feat_decoded.py and identification.py; averaged
        # repeats only, as published
        Protocol(
            "takagi",
            (
                Measure("inception", "Inception v3", "among_decoded"),
                Measure("alexnet_pool2", "AlexNet pool2", "among_decoded"),
                Measure("alexnet_pool5", "AlexNet pool5", "among_decoded"),
                Measure("alexnet_fc7", "AlexNet fc7", "among_decoded"),
                Measure("clip", "CLIP", "among_decoded"),
                Measure("clip_h6", "CLIP hidden 6", "among_decoded"),
                Measure("clip_h12", "CLIP hidden 12", "among_decoded"),
            ),
            (
                Network("inception_v3", {"inception": "avgpool"}, 299, "bilinear"),
                Network(
                    "alexnet",
                    {"alexnet_pool2": "features.5", "alexnet_pool5": "features.12", "alexnet_fc7": "classifier.5"},
                    299,
                    "bilinear",
                ),
                Network(
                    "clip",
                    {"clip": "image_embeds", "clip_h6": "hidden_states.6", "clip_h12": "hidden_states.12"},
                    224,
                    "bicubic",
                    CLIP,
                ),
            ),
            "among_decoded",
            n_samples=5,
            rows=("averaged",),
        ),
    )
}


def own_measures(protocol: Protocol) -> tuple[Measure, ...]:
    """Return what braind measures beside a protocol's own: `clip_two_way` by the protocol's identification."""
    return (
        Measure("clip_two_way", "two-way CLIP (own)", protocol.identify),
        Measure("clip_two_way_same_kind", "two-way CLIP among its kind", "same_kind"),
        Measure("object_named", "object named", "named"),
        Measure("caption_top1", "caption top-1", "caption", 1),
        Measure("caption_top5", "caption top-5", "caption", 5),
        Measure("forward_top1", "picture top-1", "forward", 1),
        Measure("forward_top5", "picture top-5", "forward", 5),
        Measure("backward_top1", "decode top-1", "backward", 1),
        Measure("backward_top5", "decode top-5", "backward", 5),
    )


def mindeye_pixels(pictures: Array, px: int = MINDEYE_PIXELS_PX) -> Array:
    """Resize as MindEye does before its pixel measures: 256 px, then `px`.

    Parameters
    ----------
    pictures : array of shape (n, height, width, 3), uint8

    Returns
    -------
    pixels : array of shape (n, px, px, 3), float32, [0, 1]
    """
    return _tensor_resized(pictures, px).permute(0, 2, 3, 1).contiguous().numpy()


def network_input(pictures: Array, network: Network) -> torch.Tensor:
    """Turn pictures (n, height, width, 3) uint8 into a network's (n, 3, px, px) float32."""
    if network.resize == "tensor":
        pixels = _tensor_resized(pictures, network.px)
    else:
        pixels = _pillow_resized(pictures, network.px, network.resize)
    mean, std = (torch.tensor(statistic)[:, None, None] for statistic in network.statistics)
    return (pixels - mean) / std


def _tensor_resized(pictures: Array, px: int) -> torch.Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255
    for side in (MINDEYE_PX, px):
        # torchvision's Resize of a tensor, which leaves one of the right size alone
        if pixels.shape[2:] != (side, side):
            pixels = torch.nn.functional.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
    return pixels


def _pillow_resized(pictures: Array, px: int, filter_name: str) -> torch.Tensor:
    from PIL import Image

    resample = Image.Resampling.BILINEAR if filter_name == "bilinear" else Image.Resampling.BICUBIC
    resized = np.stack([np.asarray(Image.fromarray(picture).resize((px, px), resample)) for picture in pictures])
    return torch.from_numpy(resized).permute(0, 3, 1, 2).float() / 255
