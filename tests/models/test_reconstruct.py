"""Reconstruction: the same z and c give the same picture, whatever came before."""

import numpy as np
import pytest

from braind.models.profiles import PROFILES, ProfileError, profile_with, schedule, text_schedule
from braind.models.reconstruct import Reconstructor


@pytest.fixture(scope="module")
def reconstructor(ldm):
    return Reconstructor(ldm, PROFILES["live"])


@pytest.fixture(scope="module")
def decoded(ldm):
    rng = np.random.default_rng(1)
    z = rng.normal(size=(2, *ldm.latent_shape)).astype(np.float32)
    c = ldm.encode_captions(
        [["a big panda at the left , red above blue"], ["a small key at the right , teal above red"]]
    )
    return z, c


def test_a_picture_does_not_depend_on_those_before_it(ldm, reconstructor, decoded):
    z, c = decoded
    first = reconstructor.picture(z[0], c[0])
    reconstructor.picture(z[1], c[1])
    again = Reconstructor(ldm, PROFILES["live"]).picture(z[0], c[0])
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, reconstructor.picture(z[0], c[0]))


def test_another_seed_gives_another_picture(ldm, reconstructor, decoded):
    z, c = decoded
    assert not np.array_equal(
        reconstructor.picture(z[0], c[0]), Reconstructor(ldm, PROFILES["live"], 7).picture(z[0], c[0])
    )


@pytest.mark.parametrize("mode", ["z", "c", "zc"])
def test_every_mode_gives_a_picture_of_the_models_size(ldm, reconstructor, decoded, mode):
    z, c = decoded
    picture = reconstructor.picture(z[0], c[0], mode)
    assert picture.shape == (ldm.picture_px, ldm.picture_px, 3)
    assert picture.dtype == np.uint8


def test_mode_c_ignores_z_and_mode_z_ignores_c(reconstructor, decoded):
    z, c = decoded
    np.testing.assert_array_equal(reconstructor.picture(z[0], c[0], "c"), reconstructor.picture(z[1], c[0], "c"))
    np.testing.assert_array_equal(reconstructor.picture(z[0], c[0], "z"), reconstructor.picture(z[0], c[1], "z"))
    assert not np.array_equal(reconstructor.picture(z[0], c[0]), reconstructor.picture(z[0], c[1]))


def test_takagis_smaller_z_is_decoded_and_encoded_again(ldm, decoded):
    _, c = decoded
    side = round(ldm.latent_shape[1] * 320 / 512)
    z = np.zeros((ldm.latent_shape[0], side, side), np.float32)
    short = profile_with("takagi", num_inference_steps=2)
    assert Reconstructor(ldm, short).picture(z, c[0]).shape == (ldm.picture_px, ldm.picture_px, 3)


def test_a_changed_setting_is_named_in_the_profile():
    assert profile_with("live").name == "live"
    assert profile_with("live", guidance_scale=1.5).name != "live"
    assert profile_with("live", guidance_scale=1.5).guidance_scale == 1.5


def test_an_unknown_profile_is_refused_with_those_there_are():
    with pytest.raises(ProfileError, match="takagi"):
        profile_with("takagy")


def test_takagi_has_forty_calls_and_fifty_from_noise():
    assert len(schedule(PROFILES["takagi"]).timesteps) == 40
    assert len(text_schedule(PROFILES["takagi"]).timesteps) == 50
