"""Faults of a diffusers folder: each is refused by the name of its file."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import change_config

from braind.models.ldm.folder import LdmError, check_folder, check_sizes, load_part, load_scheduler, load_tokenizer
from braind.models.weights.fingerprint import EMBEDDED_LDM_PATH

CPU = torch.device("cpu")


@pytest.fixture
def part(tmp_path):
    """Copies a part of the demo's folder, to break it."""
    return lambda name: shutil.copytree(EMBEDDED_LDM_PATH / name, tmp_path / name)


@pytest.mark.parametrize(("content", "words"), [("{", "not JSON"), ("[]", "no JSON object")])
def test_a_damaged_index_is_named(tmp_path, content, words):
    (tmp_path / "model_index.json").write_text(content)
    with pytest.raises(LdmError, match=rf"model_index\.json: {words}"):
        check_folder(tmp_path)


def test_a_text_encoder_without_one_of_its_tensors_is_refused_before_random_numbers_stand_in(part):
    path = part("text_encoder")
    weights = path / "model.safetensors"
    tensors = load_file(weights)
    lost = next(name for name in tensors if name.endswith("final_layer_norm.weight"))
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, weights, metadata={"format": "pt"})
    with pytest.raises(LdmError, match=r"the weights lack .*final_layer_norm\.weight"):
        load_part(path, "CLIPTextModel", CPU, torch.float32)


def test_a_tokenizer_without_a_vocabulary_is_refused(part):
    path = part("tokenizer")
    for name in ("vocab.json", "tokenizer.json"):
        (path / name).unlink(missing_ok=True)
    with pytest.raises(LdmError, match=r"vocab\.json is missing"):
        load_tokenizer(path)


def test_a_schedule_of_another_length_is_refused(part):
    path = part("scheduler")
    change_config(path / "scheduler_config.json", num_train_timesteps=500)
    with pytest.raises(LdmError, match="500 timesteps; braind takes models of 1000"):
        load_scheduler(path)


def test_parts_of_different_models_are_refused(ldm):
    config = json.loads((EMBEDDED_LDM_PATH / "unet" / "config.json").read_text())
    text_encoder = type(ldm.text_encoder)(type(ldm.text_encoder.config)(hidden_size=24, num_attention_heads=2))
    with pytest.raises(LdmError, match=rf"24 wide, unet/ takes {config['cross_attention_dim']}.*different models"):
        check_sizes(EMBEDDED_LDM_PATH, ldm.autoencoder, ldm.unet, text_encoder)
