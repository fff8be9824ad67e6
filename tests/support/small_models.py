"""Diffusers folders of small models with random weights: Stable Diffusion's classes and files, a second to make."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from braind.models.ldm.folder import LdmError
from braind.models.ldm.model import LatentDiffusionModel
from braind.models.weights.fingerprint import EMBEDDED_LDM_PATH

UNET = {
    "sample_size": 16, "cross_attention_dim": 32, "attention_head_dim": 4, "layers_per_block": 2,
    "norm_num_groups": 8, "block_out_channels": (16, 32, 32, 32),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}  # fmt: skip
VAE = {
    "sample_size": 64, "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 8,
    "block_out_channels": (8, 8, 16), "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
}  # fmt: skip
TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


def write_model(
    folder: Path, unet: dict[str, Any] | None = None, text: dict[str, Any] | None = None, **scheduler: Any
) -> Path:
    """Write a folder in the form of Stable Diffusion 1.x, with changed settings of its parts."""
    torch.manual_seed(0)
    UNet2DConditionModel(**(UNET | (unet or {}))).save_pretrained(folder / "unet")
    AutoencoderKL(**VAE).save_pretrained(folder / "vae")
    n_tokens = json.loads((EMBEDDED_LDM_PATH / "text_encoder" / "config.json").read_text())["vocab_size"]
    config = CLIPTextConfig(**(TEXT | (text or {})), max_position_embeddings=16, vocab_size=n_tokens)
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    shutil.copytree(EMBEDDED_LDM_PATH / "tokenizer", folder / "tokenizer")
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
                "clip_sample": False, "set_alpha_to_one": False}  # fmt: skip
    DDIMScheduler(**(schedule | scheduler)).save_pretrained(folder / "scheduler")
    shutil.copy(EMBEDDED_LDM_PATH / "model_index.json", folder)
    return folder


def write_tiny_decoder(folder: Path, levels: int = 3, scaling_factor: float = 0.5) -> Path:
    """Write an AutoencoderTiny for the latents of `write_model`."""
    torch.manual_seed(1)
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(8,) * levels, decoder_block_out_channels=(8,) * levels,
        num_encoder_blocks=(1,) * levels, num_decoder_blocks=(1,) * levels, scaling_factor=scaling_factor,
    )  # fmt: skip
    tiny.save_pretrained(folder)
    return folder


def change_config(path: Path, **settings: Any) -> None:
    """Change settings in a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **settings}), encoding="utf-8")


def refusal(folder: Path, *arguments: Any) -> str:
    """Return the sentence by which a model's folder is refused."""
    with pytest.raises(LdmError) as refused:
        LatentDiffusionModel.load(folder, *arguments)
    return str(refused.value)
