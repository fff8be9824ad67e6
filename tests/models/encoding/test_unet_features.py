"""Features of seen pictures: what the hooks read is what the denoiser computed, and projections keep distances."""

from collections import Counter

import numpy as np
import pytest
import torch

from braind.models.encoding.unet_features import (
    FeatureError,
    FeatureSettings,
    Projector,
    picture_features,
    picture_noise,
    tapped_blocks,
)
from braind.models.presets import compiled_steps, even_schedule

PICTURES = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
SETTINGS = FeatureSettings(strengths=(0.3, 0.8), n_calls=3)


@pytest.fixture(scope="module")
def computed(ldm):
    """Two pictures' z, c, noise and features."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2, *ldm.latent_shape)).astype(np.float32)
    c = ldm.encode_captions([["a big koala at the left , red above blue"], ["one small pizza near the right"]])
    noise = picture_noise(PICTURES, ldm.latent_shape, 42)
    pairs = list(picture_features(ldm, z, c, noise, SETTINGS))
    assert max(Counter(name for name, _ in pairs).values()) == 1
    return z, c, noise, dict(pairs)


def test_zc_is_z_noised_and_denoised_by_ddim(ldm, computed):
    z, c, noise, features = computed
    for strength, n_calls in ((0.3, 1), (0.8, 3)):
        start = round(strength * 999)
        alpha = float(ldm.alphas_cumprod[start])
        latents = torch.from_numpy(alpha**0.5 * z + (1 - alpha) ** 0.5 * noise).float()
        timesteps = even_schedule(start, n_calls).timesteps
        for step in compiled_steps("ddim", timesteps, ldm.alphas_cumprod.tolist(), ldm.final_alpha_cumprod):
            with torch.no_grad():
                predicted = ldm.unet(latents, step.timestep, torch.from_numpy(c)).sample
            latents = step.latents_weight * latents + step.noise_weight * predicted
        assert features[f"zc_strength-{strength}"] == pytest.approx(latents.numpy(), abs=1e-4)


def test_blocks_outputs_are_those_of_the_named_modules_at_that_call(ldm, computed):
    z, c, noise, features = computed
    assert tapped_blocks(ldm.unet) == ("down_blocks.0", "down_blocks.1", "mid_block", "up_blocks.1", "up_blocks.2")
    alpha = float(ldm.alphas_cumprod[799])
    latents = torch.from_numpy(alpha**0.5 * z + (1 - alpha) ** 0.5 * noise).float()
    # diffusers gives the last block's output to the convolution that follows it
    given = {}
    hook = ldm.unet.conv_norm_out.register_forward_pre_hook(lambda _module, inputs: given.update(last=inputs[0]))
    with torch.no_grad():
        ldm.unet(latents, 799, torch.from_numpy(c))
    hook.remove()
    assert features["up_blocks.2_step-early"] == pytest.approx(given["last"].numpy(), abs=1e-4)
    names = [f"{block}_step-{moment}" for block in tapped_blocks(ldm.unet) for moment in ("early", "middle", "late")]
    assert set(names) < set(features)
    assert not np.allclose(features["mid_block_step-early"], features["mid_block_step-late"])
    hooked = [module for module in ldm.unet.modules() if module._forward_hooks]
    assert hooked == []


def test_a_pictures_features_depend_on_no_other_picture(ldm, computed):
    z, c, noise, features = computed
    alone = dict(picture_features(ldm, z[1:], c[1:], noise[1:], SETTINGS))
    assert alone.keys() == features.keys()
    for name, rows in alone.items():
        assert rows[0] == pytest.approx(features[name][1], abs=1e-3)


def test_noise_belongs_to_the_picture_and_the_seed():
    both, one = picture_noise(PICTURES, (4, 8), 1), picture_noise(PICTURES[1:], (4, 8), 1)
    assert (both[1] == one[0]).all()
    assert (both[0] != both[1]).any()
    assert (picture_noise(PICTURES[1:], (4, 8), 2) != one).any()


def test_projections_keep_inner_products_and_are_drawn_once():
    features = np.random.default_rng(0).normal(size=(20, 5, 400)).astype(np.float32)
    project = Projector(1500, seed=1)
    projected = project("block", features)
    assert projected.shape == (20, 1500)
    exact, kept = (rows.reshape(20, -1) @ rows.reshape(20, -1).T / 2000 for rows in (features, projected))
    assert kept == pytest.approx(exact, abs=0.12)
    assert (Projector(1500, seed=1)("block", features[:3]) == projected[:3]).all()
    assert (Projector(1500, seed=1)("other", features[:3]) != projected[:3]).any()
    assert (project("small", features[:, 0]) == features[:, 0]).all()


@pytest.mark.parametrize("wrong", [{"strengths": (0.2, 1.0)}, {"strengths": (0.8, 1.5)}, {"n_calls": 2}])
def test_settings_without_features_are_refused(wrong):
    with pytest.raises(FeatureError, match=r"0\.8|at least 3"):
        FeatureSettings(**wrong)
