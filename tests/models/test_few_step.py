"""The demo's small decoder and few-step denoiser against the full ones that they were distilled from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel

from braind.models.clip import PictureClip
from braind.models.demo.scenes import captions, draw_held_out_scene, render
from braind.models.demo.train_few_step import first_noise
from braind.models.presets import PRESETS, Preset
from braind.models.reconstruct import Reconstructor

N_SCENES = 12


@pytest.fixture(scope="module")
def scenes():
    rng = np.random.default_rng(8)
    return [draw_held_out_scene(rng) for _ in range(N_SCENES)]


@pytest.fixture(scope="module")
def z(ldm, scenes):
    return ldm.encode_pictures(np.stack([render(scene) for scene in scenes]))


@pytest.fixture(scope="module")
def tiny(ldm, ldm_path):
    autoencoder = AutoencoderTiny.from_pretrained(ldm_path / "vae_tiny", torch_dtype=torch.float32)
    return replace(ldm, autoencoder=autoencoder.eval())


@pytest.fixture(scope="module")
def student(ldm, ldm_path):
    unet = UNet2DConditionModel.from_pretrained(ldm_path / "unet_few_step", torch_dtype=torch.float32)
    return replace(ldm, unet=unet.eval())


def coarse_pictures(ldm, z):
    reconstructor = Reconstructor(ldm, PRESETS["live-1"])
    return np.stack([reconstructor.coarse(one) for one in z])


def test_the_small_decoder_draws_what_the_full_one_draws(ldm, tiny, z):
    full, small = coarse_pictures(ldm, z), coarse_pictures(tiny, z)
    assert np.abs(full.astype(float) - small).mean() < 8
    clip = PictureClip()
    assert (clip.embed(full) * clip.embed(small)).sum(1).mean() > 0.9


def test_the_small_autoencoder_encodes_into_the_same_latents(ldm, tiny, scenes):
    pictures = np.stack([render(scene) for scene in scenes])
    full, small = ldm.encode_pictures(pictures), tiny.encode_pictures(pictures)
    assert np.corrcoef(full.ravel(), small.ravel())[0, 1] > 0.8


def test_the_student_has_the_teachers_shape(ldm, student):
    differing = {name for name in ldm.unet.config if ldm.unet.config[name] != student.unet.config.get(name)}
    assert differing <= {"_name_or_path", "_diffusers_version"}


def test_the_student_was_trained_from_the_noise_that_pictures_start_from(ldm):
    torch.testing.assert_close(Reconstructor(ldm, PRESETS["live-4"]).noise, first_noise())


def test_one_call_of_the_student_is_nearer_to_forty_guided_calls_than_one_guided_call(ldm, student, scenes, z):
    c = ldm.encode_captions([captions(scene) for scene in scenes])
    blurred = torch.nn.functional.avg_pool2d(torch.from_numpy(z), 5, 1, 2, count_include_pad=False).numpy()
    arms = {
        "forty": Reconstructor(ldm, Preset("forty", 799, 40)),
        "one guided": Reconstructor(ldm, PRESETS["live-1"]),
        "student": Reconstructor(student, replace(PRESETS["live-1"], guidance="none")),
    }
    pictures = {
        name: np.stack([arm.picture(*pair) for pair in zip(blurred, c, strict=True)]).astype(float)
        for name, arm in arms.items()
    }
    error = {name: np.square(pictures[name] - pictures["forty"]).mean() for name in ("one guided", "student")}
    assert error["student"] < 0.8 * error["one guided"]
