"""The demo's small decoder against the full one that it was distilled from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny

from braind.models.demo.scenes import draw_held_out_scene, render
from braind.models.demo.training.train_few_step import first_noise
from braind.models.ldm.reconstruct import Reconstructor
from braind.models.presets import PRESETS
from braind.models.scores.clip import PictureClip

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


def coarse_pictures(ldm, z):
    reconstructor = Reconstructor(ldm, PRESETS["live-1"])
    return np.stack([reconstructor.coarse(one) for one in z])


def test_the_small_decoder_draws_what_the_full_one_draws(ldm, tiny, z):
    full, small = coarse_pictures(ldm, z), coarse_pictures(tiny, z)
    assert np.abs(full.astype(float) - small).mean() < 8
    clip = PictureClip()
    assert (clip.embed(full) * clip.embed(small)).sum(1).mean() > 0.95


def test_the_small_autoencoder_encodes_into_the_same_latents(ldm, tiny, scenes):
    pictures = np.stack([render(scene) for scene in scenes])
    full, small = ldm.encode_pictures(pictures), tiny.encode_pictures(pictures)
    assert np.corrcoef(full.ravel(), small.ravel())[0, 1] > 0.9


def test_few_step_training_starts_from_the_noise_that_pictures_start_from(ldm):
    torch.testing.assert_close(Reconstructor(ldm, PRESETS["live-4"]).noise, first_noise())
