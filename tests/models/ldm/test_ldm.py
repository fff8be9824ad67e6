"""Loading diffusers folders: what is refused, and what z and c come out as."""

import json
import platform
import resource
import shutil

import numpy as np
import pytest

from braind.models.demo.captions import captions
from braind.models.demo.scenes import draw_held_out_scene, render
from braind.models.ldm.model import LatentDiffusionModel, LdmError
from braind.models.weights.fingerprint import denoiser_fingerprint, meaning_fingerprint


@pytest.fixture
def copied(ldm_path, tmp_path):
    """A copy of the demo's diffusers folder to break."""
    folder = tmp_path / "ldm"
    for part in ("vae", "unet", "text_encoder", "tokenizer", "scheduler"):
        shutil.copytree(ldm_path / part, folder / part)
    shutil.copy(ldm_path / "model_index.json", folder)
    return folder


@pytest.mark.parametrize("missing", ["model_index.json", "unet", "tokenizer"])
def test_a_folder_with_a_part_missing_is_refused_by_name(copied, missing):
    path = copied / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(LdmError, match=missing):
        LatentDiffusionModel.load(copied)


def test_a_class_that_cannot_be_used_is_refused_by_name(copied):
    index = json.loads((copied / "model_index.json").read_text())
    index["unet"][1] = "FluxTransformer2DModel"
    (copied / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(LdmError, match="FluxTransformer2DModel"):
        LatentDiffusionModel.load(copied)


def test_pickled_weights_are_never_loaded(copied):
    weights = copied / "vae" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(LdmError, match="can run code"):
        LatentDiffusionModel.load(copied)


def test_a_truncated_weights_file_is_refused_in_one_sentence(copied):
    weights = copied / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(LdmError, match="does not load"):
        LatentDiffusionModel.load(copied)


def test_a_model_that_predicts_velocity_is_refused(copied):
    config = json.loads((copied / "scheduler" / "scheduler_config.json").read_text())
    config["prediction_type"] = "v_prediction"
    (copied / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    with pytest.raises(LdmError, match="v_prediction"):
        LatentDiffusionModel.load(copied)


def test_another_denoiser_leaves_the_meaning_of_z_and_c_as_it_is(copied, ldm_path):
    config = json.loads((copied / "unet" / "config.json").read_text())
    (copied / "unet" / "config.json").write_text(json.dumps({**config, "sample_size": 8}))
    assert meaning_fingerprint(copied) == meaning_fingerprint(ldm_path)
    assert denoiser_fingerprint(copied) != denoiser_fingerprint(ldm_path)


def test_a_round_trip_through_z_keeps_the_picture(ldm):
    import torch

    rng = np.random.default_rng(5)
    pictures = np.stack([render(draw_held_out_scene(rng)) for _ in range(8)])
    z = ldm.encode_pictures(pictures)
    assert z.shape == (8, *ldm.latent_shape)
    assert z.dtype == np.float32
    with torch.inference_mode():
        decoded = ldm.decode_latents(torch.from_numpy(z)).permute(0, 2, 3, 1).numpy()
    assert np.abs(decoded - (pictures / 127.5 - 1)).mean() < 0.08


def test_pictures_are_encoded_few_at_once_if_they_are_large(ldm, monkeypatch):
    """Stable Diffusion's autoencoder takes 1 GB for each picture: 32 at once would not fit into most machines."""
    at_once = []
    encode = type(ldm).encode_signed
    monkeypatch.setattr(type(ldm), "encode_signed", lambda self, one: at_once.append(len(one)) or encode(self, one))
    pictures = np.random.default_rng(7).integers(0, 255, (5, 128, 128, 3), dtype=np.uint8)
    expected = ldm.encode_pictures(pictures)
    monkeypatch.setattr("braind.models.ldm.model.ENCODED_PIXELS", 2 * 128 * 128)
    np.testing.assert_allclose(ldm.encode_pictures(pictures), expected, atol=1e-4)
    assert at_once == [5, 2, 2, 1]
    ldm.encode_pictures(pictures[:1], 256)
    assert at_once[4:] == [1]


def test_c_is_the_mean_over_a_pictures_captions(ldm):
    scene = draw_held_out_scene(np.random.default_rng(6))
    said = captions(scene)
    together = ldm.encode_captions([said, said[:1]])
    alone = np.stack([ldm.encode_captions([[caption]])[0] for caption in said])
    assert together.shape == (2, *ldm.text_shape)
    np.testing.assert_allclose(together[0], alone.mean(0), atol=1e-5)
    np.testing.assert_allclose(together[1], alone[0], atol=1e-5)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's memory is kept")
def test_memory_of_one_picture_serves_for_the_next(ldm):
    pictures = np.zeros((2, 128, 128, 3), np.uint8)
    activations_bytes = 2 * 128 * 128 * 64 * 4
    for _ in range(2):
        ldm.encode_pictures(pictures)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        ldm.encode_pictures(pictures)
    n_pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert n_pages * resource.getpagesize() < activations_bytes
