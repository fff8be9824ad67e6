"""Stable Diffusion folders and LoRAs as users have them: read, or named as they are with a remedy."""

import json
import shutil

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from small_models import change_config, refusal, write_model

from braind.config import load_config
from braind.errors import BraindError
from braind.models.ldm.folder import LdmError
from braind.models.ldm.model import LatentDiffusionModel
from braind.models.ldm.networks import networks_of
from braind.models.presets import PRESETS, Preset
from braind.models.weights.fingerprint import denoiser_fingerprint, meaning_fingerprint
from braind.offline.from_settings import ldm_fingerprint

PARTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}


def prints(folder):
    return meaning_fingerprint(folder), denoiser_fingerprint(folder)


# ── weights ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_folder_of_the_fp16_variant_loads(whole, model):
    for part, stem in PARTS.items():
        (model / part / f"{stem}.safetensors").rename(model / part / f"{stem}.fp16.safetensors")
    loaded, plain = LatentDiffusionModel.load(model), LatentDiffusionModel.load(whole)
    for part in ("unet", "autoencoder", "text_encoder"):
        expected = getattr(plain, part).state_dict()
        for name, tensor in getattr(loaded, part).state_dict().items():
            torch.testing.assert_close(tensor, expected[name])
    assert loaded.fingerprint != plain.fingerprint  # another file name, as another file


def test_plain_weights_go_before_variants_and_what_lies_beside_them_changes_no_fingerprint(model):
    before = prints(model)
    for part, stem in PARTS.items():
        for name in (f"{stem}.fp16.safetensors", f"{stem}.non_ema.safetensors", "other.safetensors"):
            save_file({"x": torch.ones(1)}, model / part / name)
        (model / part / "notes.txt").write_text("mine")
        (model / part / "old_config.json").write_text("{}")
    for part in ("tokenizer", "scheduler"):
        (model / part / "README.txt").write_text("mine")
        (model / part / "notes.json").write_text("{}")
    assert prints(model) == before
    assert LatentDiffusionModel.load(model).fingerprint == before[0]
    (model / "tokenizer/vocab.json").write_text((model / "tokenizer/vocab.json").read_text() + " ")
    change_config(model / "scheduler/scheduler_config.json", beta_end=0.013)
    assert not set(prints(model)) & set(before)


def test_variants_of_no_known_name_are_taken_alone_and_never_guessed(model):
    unet = model / "unet"
    (unet / "diffusion_pytorch_model.safetensors").rename(unet / "diffusion_pytorch_model.bf16.safetensors")
    LatentDiffusionModel.load(model)
    shutil.copy(unet / "diffusion_pytorch_model.bf16.safetensors", unet / "diffusion_pytorch_model.non_ema.safetensors")
    assert f"{unet} holds the weights bf16, non_ema: leave one" in refusal(model)


def test_sharded_weights_load(model):
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    for variant in (None, "fp16"):
        shutil.rmtree(model / "unet")
        unet.save_pretrained(model / "unet", max_shard_size="100KB", variant=variant)
        assert len(list((model / "unet").glob("*.safetensors"))) > 1
        loaded = LatentDiffusionModel.load(model).unet.state_dict()
        torch.testing.assert_close(loaded["conv_out.weight"], unet.state_dict()["conv_out.weight"])


def test_weights_under_a_name_that_diffusers_does_not_load_are_named(model):
    unet = model / "unet"
    (unet / "diffusion_pytorch_model.safetensors").rename(unet / "unet.safetensors")
    assert f"{unet} holds unet.safetensors, and no diffusion_pytorch_model.safetensors" in refusal(model)


# ── what is given in place of a folder ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("StableDiffusionXLPipeline", "is Stable Diffusion XL (StableDiffusionXLPipeline)"),
        ("StableDiffusionXLImg2ImgPipeline", "is Stable Diffusion XL"),
        ("StableDiffusion3Pipeline", "is Stable Diffusion 3"),
        ("FluxPipeline", "is Flux (FluxPipeline)"),
        ("StableDiffusionInpaintPipeline", "is a Stable Diffusion for inpainting"),
        ("UnheardOfPipeline", "is a diffusion transformer (UnheardOfPipeline)"),
    ],
)
def test_another_model_is_named_as_it_is(model, name, words):
    extra = {"transformer": ["diffusers", "T"]} if name == "UnheardOfPipeline" else {}
    change_config(model / "model_index.json", _class_name=name, **extra)
    assert words in refusal(model)
    assert "braind takes text-conditioned models of Stable Diffusion 1.x's form" in refusal(model)


def places(tmp_path, whole):
    snapshot = tmp_path / "cache/models--runwayml--stable-diffusion/snapshots/abc"
    shutil.copytree(whole, snapshot)
    (tmp_path / "one.safetensors").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    return {
        "one.safetensors": "is a single file: give a diffusers folder; .*from_single_file",
        "cache": f"is a cache of the Hugging Face hub: give the folder of a model, {snapshot}",
        "cache/models--runwayml--stable-diffusion": f"is a cache of the .*, {snapshot}",
        "empty": "model_index.json is missing: give a diffusers folder",
        "nowhere": "nowhere does not exist: give a diffusers folder .with model_index.json",
    }


def test_what_is_no_diffusers_folder_gets_a_sentence_that_says_what_to_give(tmp_path, whole, monkeypatch):
    for name, words in places(tmp_path, whole).items():
        config = load_config(None, {"paths": {"ldm": str(tmp_path / name)}})
        for ask in (lambda path=tmp_path / name: LatentDiffusionModel.load(path), lambda c=config: ldm_fingerprint(c)):
            with pytest.raises(BraindError, match=words) as refused:
                ask()
            assert refused.value.code == "ldm"
    monkeypatch.chdir(tmp_path)
    config = load_config(None, {"paths": {"ldm": "runwayml/stable-diffusion-v1-5"}})
    with pytest.raises(BraindError, match="downloaded first: hf download runwayml/stable-diffusion-v1-5 --local-dir"):
        ldm_fingerprint(config)


# ── schedules ─────────────────────────────────────────────────────────────────────────────────────────────────────────

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SCHEDULERS = (
    DDIMScheduler,
    PNDMScheduler,
    EulerDiscreteScheduler,
    DPMSolverMultistepScheduler,
    UniPCMultistepScheduler,
    LMSDiscreteScheduler,
    LCMScheduler,
)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers' LMS
def test_the_noise_schedule_does_not_hang_on_the_scheduler_that_the_folder_names(whole, model):
    expected = LatentDiffusionModel.load(whole)
    for scheduler in SCHEDULERS:
        shutil.rmtree(model / "scheduler")
        scheduler(**BETAS).save_pretrained(model / "scheduler")
        loaded = LatentDiffusionModel.load(model)
        torch.testing.assert_close(loaded.alphas_cumprod, expected.alphas_cumprod)
        assert loaded.final_alpha_cumprod == expected.final_alpha_cumprod == float(expected.alphas_cumprod[0])


def test_a_key_that_a_schedule_leaves_out_is_the_default_of_its_own_class(whole, model):
    (model / "scheduler/scheduler_config.json").write_text(json.dumps({"_class_name": "LCMScheduler"}))
    loaded = LatentDiffusionModel.load(model).alphas_cumprod
    torch.testing.assert_close(loaded, LatentDiffusionModel.load(whole).alphas_cumprod)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr leaves no signal at the last timestep"),
        ({"prediction_type": "v_prediction"}, "prediction_type is 'v_prediction'"),
        ({"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}, "prediction_type is 'v_prediction'"),
    ],
)
def test_schedules_that_braind_cannot_denoise_are_refused_in_a_sentence(model, settings, words):
    change_config(model / "scheduler/scheduler_config.json", **settings)
    assert words in refusal(model)


def test_a_scheduler_without_betas_is_refused(model):
    (model / "scheduler/scheduler_config.json").write_text(
        json.dumps({"_class_name": "FlowMatchEulerDiscreteScheduler"})
    )
    assert "FlowMatchEulerDiscreteScheduler has no schedule of betas" in refusal(model)


def test_a_consistency_model_takes_presets_that_are_for_it(tmp_path):
    ldm = LatentDiffusionModel.load(write_model(tmp_path / "lcm", unet={"time_cond_proj_dim": 32}))
    for name in ("live-4", "quality-20", "takagi", "live-1"):
        with pytest.raises(LdmError, match=f"preset {name} denoises it by ddim.*write a preset with rule = .lcm"):
            networks_of(ldm, PRESETS[name])
    assert networks_of(ldm, Preset("lcm-4", 799, 4, rule="lcm", guidance_scale=8.0)).denoiser.takes_guidance


# ── LoRAs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def adapted(whole, tmp_path):
    """A denoiser with a random LoRA that peft saved, and the merged weights that peft gives."""
    torch.manual_seed(3)
    config = LoraConfig(r=4, lora_alpha=10, init_lora_weights=False, target_modules=["to_q", "to_v"])
    with_lora = get_peft_model(LatentDiffusionModel.load(whole).unet, config)
    with_lora.save_pretrained(tmp_path / "peft")
    return tmp_path / "peft/adapter_model.safetensors", with_lora.merge_and_unload().state_dict()


def test_a_lora_with_pefts_keys_and_scale_is_applied_as_peft_does(whole, adapted):
    path, merged = adapted
    assert all(key.startswith("base_model.model.") for key in load_file(path))
    fused = LatentDiffusionModel.load(whole, path).unet.state_dict()
    plain = LatentDiffusionModel.load(whole).unet.state_dict()
    for name, tensor in fused.items():
        torch.testing.assert_close(tensor, merged[name])
    assert any((fused[name] - plain[name]).abs().max() > 1e-3 for name in plain)


def test_an_adapter_of_several_ranks_is_refused(whole, adapted):
    path, _ = adapted
    change_config(path.with_name("adapter_config.json"), rank_pattern={"to_q": 8})
    assert 'rank_pattern is {"to_q": 8}; give a plain LoRA of one rank' in refusal(whole, path)


def test_a_lora_that_changes_no_tensor_is_an_error(whole, adapted, tmp_path):
    path, _ = adapted
    zeros = {key: tensor * 0 if "lora_B" in key else tensor for key, tensor in load_file(path).items()}
    save_file(zeros, tmp_path / "zeros.safetensors")
    elsewhere = {key.replace("attn1", "attn9"): tensor for key, tensor in load_file(path).items()}  # half of the layers
    foreign = {f"transformer.{key}": tensor for key, tensor in load_file(path).items()}
    save_file(elsewhere, tmp_path / "elsewhere.safetensors")
    save_file(foreign, tmp_path / "foreign.safetensors")
    assert "this LoRA changes nothing of the model's denoiser" in refusal(whole, tmp_path / "zeros.safetensors")
    assert "this LoRA changes nothing of the model's denoiser" in refusal(whole, tmp_path / "foreign.safetensors")
    words = refusal(whole, tmp_path / "elsewhere.safetensors")
    assert "does not fit the model's denoiser, which has no layer of unet.down_blocks.0.attentions.0" in words
