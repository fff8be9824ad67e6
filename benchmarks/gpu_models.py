"""Models and decoder weights of real sizes, with random numbers in them."""

from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from braind.models.ldm.model import LatentDiffusionModel
from braind.models.weights.fingerprint import EMBEDDED_LDM_PATH
from braind.models.weights.low_rank import LowRankMap, TargetStatistics, low_rank_map
from braind.models.weights.roi import mask_sha256
from braind.models.weights.weights import Weights, WeightsCard

# What is not named is diffusers' default; Stable Diffusion 1.x's published configurations, NSD's largest masks.
FULL = {
    "unet": {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8, "layers_per_block": 2,
             "block_out_channels": (320, 640, 1280, 1280),
             "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
             "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3},
    "vae": {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2},
    "vae_tiny": {},
    "text": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    "tokens": 77, "voxels": 13521, "rank": 512,
}  # fmt: skip
TINY = {
    "unet": {"sample_size": 8, "cross_attention_dim": 32, "attention_head_dim": 4, "layers_per_block": 1,
             "norm_num_groups": 8, "block_out_channels": (16, 32),
             "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
             "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D")},
    "vae": {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 8},
    "vae_tiny": {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4,
                 "num_encoder_blocks": (1,) * 4, "num_decoder_blocks": (1,) * 4},
    "text": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2},
    "tokens": 16, "voxels": 700, "rank": 16,
}  # fmt: skip


def random_model(sizes: dict[str, Any], device: torch.device, dtype: torch.dtype) -> LatentDiffusionModel:
    """Build Stable Diffusion's classes with random weights."""
    torch.manual_seed(0)
    text = CLIPTextConfig(**sizes["text"], max_position_embeddings=sizes["tokens"])
    with device:
        unet, text_encoder = UNet2DConditionModel(**sizes["unet"]), CLIPTextModel(text)
    parts: tuple[Any, ...] = (unet, text_encoder)
    for part in parts:
        part.to(dtype=dtype).eval().requires_grad_(False)
    tokenizer = CLIPTokenizer.from_pretrained(EMBEDDED_LDM_PATH / "tokenizer", model_max_length=sizes["tokens"])
    scheduler: Any = DDIMScheduler.from_pretrained(EMBEDDED_LDM_PATH / "scheduler")
    return LatentDiffusionModel(
        path=EMBEDDED_LDM_PATH, autoencoder=random_autoencoder(sizes, device, dtype, is_tiny=False),
        text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, alphas_cumprod=scheduler.alphas_cumprod.double(),
        final_alpha_cumprod=float(scheduler.final_alpha_cumprod), device=device, dtype=dtype,
    )  # fmt: skip


def random_autoencoder(sizes: dict[str, Any], device: torch.device, dtype: torch.dtype, *, is_tiny: bool) -> Any:
    """Build an autoencoder of 8 pixels a latent: Stable Diffusion's own kind or the tiny one."""
    n_levels = len(sizes["vae"]["block_out_channels"])
    levels: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * n_levels, "up_block_types": ("UpDecoderBlock2D",) * n_levels,
    }  # fmt: skip
    with device:
        autoencoder: Any = (
            AutoencoderTiny(**sizes["vae_tiny"])
            if is_tiny
            else AutoencoderKL(**sizes["vae"], **levels, latent_channels=4)
        )
    return autoencoder.to(dtype=dtype).eval().requires_grad_(False)


def random_weights(ldm: LatentDiffusionModel, n_voxels: int, rank: int) -> Weights:
    """Build a subject's weights in which z and c are decoded from half of the voxels each."""
    generator = np.random.default_rng(0)
    shape = (n_voxels, 1, 1)
    index = np.arange(n_voxels, dtype=np.int64)
    card = WeightsCard(
        subject=1, shape=shape, affine=((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0),
        (0.0, 0.0, 0.0, 1.0)), z_rois=("random",), c_rois=("random",), ldm=ldm.fingerprint,
        latent_shape=ldm.latent_shape, text_shape=ldm.text_shape, simulated=True, mask_sha256=mask_sha256(index, shape),
    )  # fmt: skip
    half = n_voxels // 2
    return Weights(
        voxel_index=index, voxel_mean=np.zeros(n_voxels, np.float32), voxel_std=np.ones(n_voxels, np.float32),
        z=_random_map(generator, index[:half], int(np.prod(ldm.latent_shape)), rank),
        c=_random_map(generator, index[half:], int(np.prod(ldm.text_shape)), rank), card=card,
    )  # fmt: skip


def _random_map(generator: np.random.Generator, positions: Any, n_targets: int, rank: int) -> LowRankMap:
    # of such size that what is predicted is about as large as a decoded latent
    left = generator.normal(size=(len(positions), rank)) / np.sqrt(len(positions))
    right = generator.normal(size=(rank, n_targets)) / np.sqrt(rank)
    zeros = np.zeros(n_targets)
    statistics = TargetStatistics(zeros, zeros + 1, zeros)
    return low_rank_map(positions, left, right, np.zeros(len(positions)), zeros, statistics)
