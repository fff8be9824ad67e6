"""Folders of diffusion models that cannot be used, and LoRAs that do not fit: each is named in one sentence."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import change_config, refusal, write_model, write_tiny_decoder

from braind.models.ldm.folder import LdmError, class_in

ATTENTION = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_that_lack_a_tensor_are_refused_and_never_filled_at_random(model, part):
    (path,) = (model / part).glob("*.safetensors")
    tensors = load_file(path)
    lacking = sorted(tensors)[3]
    del tensors[lacking]
    save_file(tensors, path, metadata={"format": "pt"})
    assert f"{model / part}: the weights lack {lacking}" in refusal(model)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_of_another_shape_are_refused(model, part):
    (path,) = (model / part).glob("*.safetensors")
    tensors = load_file(path)
    name = next(name for name in sorted(tensors) if tensors[name].ndim == 2)
    tensors[name] = torch.zeros(3, tensors[name].shape[1])
    save_file(tensors, path, metadata={"format": "pt"})
    assert refusal(model).startswith(f"{model / part}: does not load")


def test_parts_of_different_models_are_refused(tmp_path):
    model = write_model(tmp_path / "model", unet={"cross_attention_dim": 16})
    assert "text_encoder/ makes text embeddings 32 wide, unet/ takes 16" in refusal(model)


def test_a_model_of_other_timesteps_is_refused(tmp_path):
    model = write_model(tmp_path / "model", num_train_timesteps=500)
    assert "500 timesteps; braind takes models of 1000" in refusal(model)


@pytest.mark.parametrize(("content", "words"), [("{", "not JSON"), ("[]", "no JSON object")])
def test_an_index_that_is_no_json_object_is_refused(model, content, words):
    (model / "model_index.json").write_text(content)
    assert f"model_index.json: {words}" in refusal(model)


@pytest.mark.parametrize("entry", [None, [None, None], ["diffusers", "VQModel"]])
def test_a_part_without_a_usable_class_is_refused(model, entry):
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(json.dumps({**index, "vae": entry}))
    assert "braind takes AutoencoderKL or AutoencoderTiny" in refusal(model)


def test_a_folder_without_a_noise_schedule_is_refused(model):
    (model / "scheduler/scheduler_config.json").unlink()
    assert refusal(model).startswith(f"{model / 'scheduler'}: does not load")


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
def test_a_model_that_predicts_no_noise_is_refused(model, prediction_type):
    change_config(model / "scheduler/scheduler_config.json", prediction_type=prediction_type)
    assert f"prediction_type is '{prediction_type}'" in refusal(model)


def test_a_tokenizer_without_a_vocabulary_is_refused(model):
    for path in (model / "tokenizer").iterdir():
        if path.name in ("vocab.json", "tokenizer.json"):
            path.unlink()
    assert "vocab.json is missing" in refusal(model)


def test_a_part_of_its_own_needs_its_config_and_its_class(tmp_path):
    folder = write_tiny_decoder(tmp_path / "tiny")
    assert class_in(folder, "vae") == "AutoencoderTiny"
    with pytest.raises(LdmError, match="class AutoencoderTiny; braind takes UNet2DConditionModel"):
        class_in(folder, "unet")
    (folder / "config.json").unlink()
    with pytest.raises(LdmError, match=r"config.json is missing: give a folder that diffusers"):
        class_in(folder, "vae")


@pytest.mark.parametrize("tensors", [{}, {"foo.weight": torch.zeros(3)}])
def test_a_file_that_changes_nothing_of_the_denoiser_is_no_lora(whole, tmp_path, tensors):
    path = tmp_path / "lora.safetensors"
    save_file(tensors, path)
    assert f"{path}: this LoRA changes nothing of the model's denoiser" in refusal(whole, path)


def test_a_lora_of_a_wider_denoiser_does_not_fit(whole, tmp_path):
    path = tmp_path / "lora.safetensors"
    shapes = {"lora_A": (4, 320), "lora_B": (320, 4)}
    save_file({f"{ATTENTION}.{name}.weight": torch.zeros(shape) for name, shape in shapes.items()}, path)
    assert f"{path}: this LoRA does not fit the model's denoiser" in refusal(whole, path)


def test_a_damaged_lora_does_not_fit(whole, tmp_path):
    path = tmp_path / "lora.safetensors"
    path.write_bytes(b"junk")
    assert f"{path}: this LoRA does not fit the model's denoiser" in refusal(whole, path)
