"""Stable Diffusion 1.x at full size, with random weights: loading, one denoiser call and the decoder.

tests/models/ldm/test_reconstruct.py makes the same calls with a small model in the ordinary suite.

Run by `make test-full-size`: it takes minutes, 10 GB of memory and 4 GB of disk.
"""

import json

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from one_denoiser_call import pictures_by_one_call
from transformers import CLIPTextConfig, CLIPTextModel

pytestmark = pytest.mark.full_size

# The published configurations of Stable Diffusion 1.x's parts; what is not named is diffusers' default.
UNET = {
    "sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8, "layers_per_block": 2,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}  # fmt: skip
VAE = {
    "sample_size": 512, "latent_channels": 4, "layers_per_block": 2, "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip
TEXT = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory):
    """A diffusers folder of Stable Diffusion 1.x's classes, sizes and files, with random weights in half precision."""
    folder = tmp_path_factory.mktemp("stable-diffusion")
    torch.manual_seed(0)
    for part, model in (
        ("unet", lambda: UNet2DConditionModel(**UNET)),
        ("vae", lambda: AutoencoderKL(**VAE)),
        ("text_encoder", lambda: CLIPTextModel(TEXT)),
    ):
        model().half().save_pretrained(folder / part, variant="fp16")
    DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
                  clip_sample=False, set_alpha_to_one=False).save_pretrained(folder / "scheduler")  # fmt: skip
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir()
    letters = [chr(code) for code in range(97, 123)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (tokenizer / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (tokenizer / "merges.txt").write_text("#version: 0.2\n")
    (tokenizer / "tokenizer_config.json").write_text(
        json.dumps({"model_max_length": 77, "tokenizer_class": "CLIPTokenizer"})
    )
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
             "vae": ["diffusers", "AutoencoderKL"], "text_encoder": ["transformers", "CLIPTextModel"],
             "tokenizer": ["transformers", "CLIPTokenizer"], "scheduler": ["diffusers", "DDIMScheduler"]}  # fmt: skip
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.timeout(1500)
def test_a_full_size_model_makes_a_picture_by_one_denoiser_call(stable_diffusion):
    ldm, pictures = pictures_by_one_call(stable_diffusion)
    assert ldm.latent_shape == (4, 64, 64)
    assert ldm.text_shape == (77, 768)
    assert 859e6 < sum(parameter.numel() for parameter in ldm.unet.parameters()) < 860e6
    assert {picture.shape for picture in pictures.values()} == {(512, 512, 3)}
    assert pictures["one call"].std() > 0
