"""A fused LoRA against diffusers' own loading of it, in both formats that files come in."""

import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from braind.models.ldm.model import LatentDiffusionModel, LdmError


@pytest.fixture(scope="module")
def lora_state(ldm_path):
    """A LoRA of rank 4 with random weights."""
    torch.manual_seed(0)
    unet = LatentDiffusionModel.load(ldm_path).unet
    unet.add_adapter(LoraConfig(r=4, lora_alpha=8, init_lora_weights=False, target_modules=["to_q", "to_k", "to_v"]))
    return {name: value.contiguous() for name, value in get_peft_model_state_dict(unet).items()}


@pytest.fixture(scope="module")
def diffusers_file(lora_state, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lora")
    save_file({f"unet.{name}": value for name, value in lora_state.items()}, folder / "lora.safetensors")
    return folder / "lora.safetensors"


@pytest.fixture(scope="module")
def kohya_file(lora_state, tmp_path_factory):
    tensors = {}
    for name, value in lora_state.items():
        module, part = name.rsplit(".lora_", 1)
        module = f"lora_unet_{module.replace('.', '_')}"
        tensors[f"{module}.lora_{'down' if part.startswith('A') else 'up'}.weight"] = value
        tensors[f"{module}.alpha"] = torch.tensor(4.0)
    path = tmp_path_factory.mktemp("kohya") / "lora.safetensors"
    save_file(tensors, path)
    return path


def noise_of(unet):
    generator = torch.Generator().manual_seed(0)
    latents, embeddings = torch.randn(1, 4, 16, 16, generator=generator), torch.randn(1, 16, 96, generator=generator)
    with torch.inference_mode():
        return unet(latents, 500, embeddings).sample


@pytest.mark.parametrize("file", ["diffusers_file", "kohya_file"])
def test_a_fused_lora_predicts_the_noise_that_diffusers_does(ldm, ldm_path, file, request):
    path = request.getfixturevalue(file)
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(ldm_path, safety_checker=None, feature_extractor=None)
    pipeline.load_lora_weights(str(path.parent), weight_name=path.name)
    fused = LatentDiffusionModel.load(ldm_path, path)
    pipeline.fuse_lora()
    torch.testing.assert_close(noise_of(fused.unet), noise_of(pipeline.unet), rtol=0, atol=1e-5)
    assert (noise_of(fused.unet) - noise_of(ldm.unet)).abs().max() > 0.01
    assert fused.fingerprint == ldm.fingerprint
    assert fused.denoiser_fingerprint != ldm.denoiser_fingerprint


def test_what_is_no_lora_of_this_denoiser_is_refused(ldm_path, tmp_path):
    with pytest.raises(LdmError, match="no such .safetensors file"):
        LatentDiffusionModel.load(ldm_path, tmp_path / "lora.bin")
    save_file({"unet.some.module.lora_A.weight": torch.zeros(4, 4)}, tmp_path / "other.safetensors")
    with pytest.raises(LdmError, match="does not fit the model's denoiser"):
        LatentDiffusionModel.load(ldm_path, tmp_path / "other.safetensors")
    save_file({"text_encoder.layer.lora_A.weight": torch.zeros(4, 4)}, tmp_path / "text.safetensors")
    with pytest.raises(LdmError, match="changes the text encoder"):
        LatentDiffusionModel.load(ldm_path, tmp_path / "text.safetensors")
