"""Reconstruction: the same z and c give the same picture, whatever came before."""

import numpy as np
import pytest
from one_denoiser_call import pictures_by_one_call
from small_models import write_model

from braind.models.ldm.reconstruct import Reconstructor
from braind.models.presets import PRESETS, Preset, PresetError, preset_with, schedule, text_schedule


@pytest.fixture(scope="module")
def reconstructor(ldm):
    return Reconstructor(ldm, PRESETS["live-4"])


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
    again = Reconstructor(ldm, PRESETS["live-4"]).picture(z[0], c[0])
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, reconstructor.picture(z[0], c[0]))


def test_another_seed_gives_another_picture(ldm, reconstructor, decoded):
    z, c = decoded
    assert not np.array_equal(
        reconstructor.picture(z[0], c[0]), Reconstructor(ldm, PRESETS["live-4"], 7).picture(z[0], c[0])
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
    short = preset_with("takagi", n_calls=2)
    assert Reconstructor(ldm, short).picture(z, c[0]).shape == (ldm.picture_px, ldm.picture_px, 3)


def test_a_model_of_stable_diffusions_form_makes_a_picture_by_one_denoiser_call(tmp_path):
    """As tests/full_size does it with Stable Diffusion's own size, which the ordinary suite leaves out."""
    ldm, pictures = pictures_by_one_call(write_model(tmp_path / "ldm"))
    assert {picture.shape for picture in pictures.values()} == {(ldm.picture_px, ldm.picture_px, 3)}
    assert pictures["one call"].std() > 0


def test_a_changed_setting_is_named_in_the_preset():
    assert preset_with("live-4").name == "live-4"
    assert preset_with("live-4", guidance_scale=1.5).name != "live-4"
    assert preset_with("live-4", guidance_scale=1.5).guidance_scale == 1.5


def test_an_unknown_preset_is_refused_with_those_there_are():
    with pytest.raises(PresetError, match="takagi"):
        preset_with("takagy")


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"n_calls": 0}, "n_calls 0"), ({"start": 1000}, "start 1000"), ({"start": 0}, "start 0"),
     ({"guidance_scale": 0.0}, "guidance_scale 0")],
)  # fmt: skip
def test_a_preset_that_makes_no_picture_is_refused(settings, named):
    with pytest.raises(PresetError, match=f"preset mine: {named}"):
        Preset("mine", **{"start": 800, "n_calls": 4, **settings})


@pytest.mark.parametrize("rule", ["ddim", "dpm++", "lcm", "tcd"])
@pytest.mark.parametrize("guidance", ["none", "first", "full"])
def test_every_rule_makes_exactly_as_many_calls_as_asked_for(ldm, decoded, monkeypatch, rule, guidance):
    z, c = decoded
    reconstructor = Reconstructor(ldm, Preset("mine", 800, 3, rule=rule, guidance=guidance))
    batches = []
    engine = reconstructor.engine
    predicted = engine.predicted_noise
    monkeypatch.setattr(engine, "predicted_noise", lambda x, *given: (batches.append(len(x)), predicted(x, *given))[1])
    picture = reconstructor.picture(z[0], c[0])
    assert batches == {"none": [1, 1, 1], "first": [2, 1, 1], "full": [2, 2, 2]}[guidance]
    assert picture.std() > 0


def test_takagi_has_forty_calls_and_fifty_from_noise():
    assert len(schedule(PRESETS["takagi"]).timesteps) == 40
    assert len(text_schedule(PRESETS["takagi"]).timesteps) == 50
