"""The published protocols for scoring decoded pictures, as data: measures, networks, layers and sizes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch

from ...arrays import Array
from .metrics import SsimWindow

MeasureKind = Literal[
    "pixcorr", "ssim", "among_seen", "among_decoded", "distance",  # published measures of pictures
    "ssim_detail", "background_pixcorr", "same_kind", "named", "caption", "forward", "backward",  # braind's own
]  # fmt: skip
Resize = Literal["tensor", "bilinear", "bicubic"]
"""`tensor`: MindEye's (float pictures, 256 px first); `bilinear`, `bicubic`: Pillow's, of 8-bit pictures."""
Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]

IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP: Statistics = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
MINDEYE_PX = 256
PIXELS_PX = 425  # side of NSD's pictures; both protocols with pixel measures take them at this size


class Measure(NamedTuple):
    """One score per decoded picture. `name` also names the compared feature; `k` is the k of top-k measures."""

    name: str
    title: str
    kind: MeasureKind
    k: int = 0

    @property
    def better(self) -> str:
        """Return which values are better: `lower` or `higher`."""
        return "lower" if self.kind == "distance" else "higher"


class Network(NamedTuple):
    """A published network, the layer of each measure, and the network's preprocessing.

    `px` is the side of the input. `statistics` are the mean and standard deviation that normalise the input.
    """

    name: Literal["alexnet", "inception_v3", "efficientnet_b1", "efficientnet_b1_v1", "swav", "clip"]
    layers: Mapping[str, str]
    px: int
    resize: Resize
    statistics: Statistics = IMAGENET


class Pixels(NamedTuple):
    """How a protocol compares pixels: pictures are resized to 425 px first; `window` is the shape of SSIM's window."""

    resize: Resize
    window: SsimWindow


MINDEYE_PIXELS = Pixels("tensor", "square")


@dataclass(frozen=True)
class Protocol:
    """A published protocol, and the rows of the evaluation that it scores."""

    name: str
    measures: tuple[Measure, ...]
    networks: tuple[Network, ...]
    identify: Literal["among_seen", "among_decoded"]
    n_samples: int
    rows: tuple[str, ...]
    pixels: Pixels = MINDEYE_PIXELS


PIXEL_AND_NETWORK_MEASURES = (
    Measure("pixcorr", "PixCorr", "pixcorr"),
    Measure("ssim", "SSIM", "ssim"),
    Measure("alexnet_2", "AlexNet(2)", "among_seen"),
    Measure("alexnet_5", "AlexNet(5)", "among_seen"),
    Measure("inception", "Inception", "among_seen"),
    Measure("clip", "CLIP", "among_seen"),
    Measure("efficientnet", "EffNet-B", "distance"),
    Measure("swav", "SwAV", "distance"),
)
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        # MedARC-AI/fMRI-reconstruction-NSD at 6b30ea5, src/Reconstruction_Metrics.py; src/environment.yaml pins
        # torchvision 0.15.2 and scikit-image 0.20.0
        Protocol(
            "mindeye",
            PIXEL_AND_NETWORK_MEASURES,
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
        # ozcelikfu/brain-diffuser at 31d52c0, scripts/eval_extract_features.py and evaluate_reconstruction.py;
        # environment.yml pins Pillow 9.2.0, torchvision 0.13.1 and scikit-image 0.17.2; averaged repeats only
        Protocol(
            "brain-diffuser",
            PIXEL_AND_NETWORK_MEASURES,
            (
                Network("alexnet", {"alexnet_2": "features.4", "alexnet_5": "features.11"}, 224, "bilinear"),
                Network("inception_v3", {"inception": "avgpool"}, 224, "bilinear"),
                Network("clip", {"clip": "image_embeds"}, 224, "bilinear", CLIP),
                Network("efficientnet_b1_v1", {"efficientnet": "avgpool"}, 224, "bilinear"),
                Network("swav", {"swav": "avgpool"}, 224, "bilinear"),
            ),
            "among_seen",
            n_samples=1,
            rows=("averaged",),
            # version 0.17.2 of structural_similarity takes the columns of a grey picture for channels
            pixels=Pixels("bicubic", "column"),
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
    """Return braind's own measures, added to a protocol's. `clip_two_way` uses the protocol's identification."""
    has_pixels = any(measure.kind == "ssim" for measure in protocol.measures)
    return (
        *([Measure("ssim_detail", "SSIM of detail", "ssim_detail")] if has_pixels else []),
        Measure("background_pixcorr", "PixCorr of the background", "background_pixcorr"),
        Measure("clip_two_way", "two-way CLIP (own)", protocol.identify),
        Measure("clip_two_way_same_kind", "two-way CLIP among its kind", "same_kind"),
        Measure("kind_named", "kind named", "named"),
        Measure("category_named", "category named", "named"),
        Measure("colours_named", "background colours named", "named"),
        Measure("place_named", "place named", "named"),
        Measure("size_named", "size named", "named"),
        Measure("caption_top1", "caption top-1", "caption", 1),
        Measure("caption_top5", "caption top-5", "caption", 5),
        Measure("forward_top1", "picture top-1", "forward", 1),
        Measure("forward_top5", "picture top-5", "forward", 5),
        Measure("backward_top1", "decode top-1", "backward", 1),
        Measure("backward_top5", "decode top-5", "backward", 5),
    )


def measured_pixels(pictures: Array, resize: Resize = "tensor") -> Array:
    """Resize pictures as a protocol does before its pixel measures.

    Parameters
    ----------
    pictures : array of shape (n, height, width, 3), uint8
    resize : `pixels` of the protocol; MindEye's by default

    Returns
    -------
    pixels : array of shape (n, 425, 425, 3), float32, [0, 1]
    """
    return _resized(pictures, PIXELS_PX, resize).permute(0, 2, 3, 1).contiguous().numpy()


def network_input(pictures: Array, network: Network) -> torch.Tensor:
    """Turn pictures (n, height, width, 3) uint8 into a network's (n, 3, px, px) float32."""
    mean, std = (torch.tensor(statistic)[:, None, None] for statistic in network.statistics)
    return (_resized(pictures, network.px, network.resize) - mean) / std


def _resized(pictures: Array, px: int, resize: Resize) -> torch.Tensor:
    return _tensor_resized(pictures, px) if resize == "tensor" else _pillow_resized(pictures, px, resize)


def _tensor_resized(pictures: Array, px: int) -> torch.Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255
    for side in (MINDEYE_PX, px):
        # Up to version 0.16, torchvision's Resize of a tensor does not antialias unless it is told to; Pillow does.
        if pixels.shape[2:] != (side, side):
            pixels = torch.nn.functional.interpolate(pixels, (side, side), mode="bilinear", align_corners=False)
    return pixels


def _pillow_resized(pictures: Array, px: int, filter_name: str) -> torch.Tensor:
    from PIL import Image

    resample = Image.Resampling.BILINEAR if filter_name == "bilinear" else Image.Resampling.BICUBIC
    resized = np.stack([np.asarray(Image.fromarray(picture).resize((px, px), resample)) for picture in pictures])
    return torch.from_numpy(resized).permute(0, 3, 1, 2).float() / 255
