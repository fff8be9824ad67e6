"""Which denoiser and which decoder a preset takes, and that a context says all a UNet needs of c."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from safetensors.torch import save_file
from small_models import UNET, change_config, write_model, write_tiny_decoder

from braind.models.ldm.denoiser import Denoiser, DenoiserError, joined
from braind.models.ldm.model import LatentDiffusionModel, LdmError
from braind.models.ldm.networks import networks_of
from braind.models.ldm.reconstruct import Reconstructor
from braind.models.ldm.torch_engine import TorchEngine
from braind.models.pipeline.choose import engine_for, load_engine
from braind.models.presets import PRESETS, Preset, preset_with


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Stable Diffusion 1.x's form, small, with nothing beside its parts."""
    return write_model(tmp_path_factory.mktemp("plain") / "ldm")


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    """The same with a tiny decoder and a few-step denoiser."""
    folder = write_model(tmp_path_factory.mktemp("rich") / "ldm")
    write_tiny_decoder(folder / "vae_tiny")
    torch.manual_seed(2)
    UNet2DConditionModel(**UNET).save_pretrained(folder / "unet_few_step")
    return folder


@pytest.fixture(scope="module")
def rich_ldm(rich):
    return LatentDiffusionModel.load(rich)


@pytest.fixture(scope="module")
def z_and_c(rich_ldm):
    rng = np.random.default_rng(1)
    return (rng.normal(size=rich_ldm.latent_shape).astype(np.float32),
            rng.normal(size=rich_ldm.text_shape).astype(np.float32))  # fmt: skip


@torch.inference_mode()
@pytest.mark.parametrize("which", ["embedded", "plain"])
def test_a_context_says_all_that_the_unet_needs_of_c(ldm, plain, which):
    model = ldm if which == "embedded" else LatentDiffusionModel.load(plain)
    latents, embeddings = torch.randn(2, *model.latent_shape), torch.randn(2, *model.text_shape)
    denoiser, before = Denoiser(model.unet), dict(model.unet.attn_processors)
    context = joined(denoiser.context(embeddings[:1]), denoiser.context(embeddings[1:]))
    ours = denoiser(latents, denoiser.time_embedding(701), context.pooled, *context.keys_values)
    torch.testing.assert_close(ours, model.unet(latents, 701, embeddings).sample, rtol=0, atol=1e-5)
    assert model.unet.attn_processors == before


@pytest.mark.parametrize(
    ("preset", "words"),
    [
        (PRESETS["live-2"], "few-step denoiser, tiny decoder"),
        (PRESETS["live-8"], "tiny decoder"),
        (PRESETS["quality-20"], "full decoder"),
        (PRESETS["takagi"], "full decoder"),
        (PRESETS["live-4"], "tiny decoder"),
        (preset_with("live-2", guidance_scale=2), "tiny decoder"),
        (Preset("mine", 700, 3), "full decoder"),
    ],
)
def test_presets_take_the_networks_that_they_name(rich_ldm, preset, words):
    assert networks_of(rich_ldm, preset).words == words
    assert words in Reconstructor(rich_ldm, preset).engine_words


def test_live_presets_take_the_full_ones_where_there_are_no_others(plain):
    networks = networks_of(LatentDiffusionModel.load(plain), PRESETS["live-4"])
    assert networks.words == "full decoder"
    assert networks.fingerprint == networks.ldm.denoiser_fingerprint


def test_fingerprints_tell_what_is_really_used(rich_ldm):
    presets = [Preset("a", 700, 3, decoder=decoder, few_step=few) for decoder in ("full", "tiny") for few in (0, 1)]
    assert len({networks_of(rich_ldm, preset).fingerprint for preset in presets}) == 4


def test_a_preset_that_demands_a_tiny_decoder_is_refused_without_one(plain):
    with pytest.raises(LdmError, match="no vae_tiny/; give one with --tiny-decoder"):
        networks_of(LatentDiffusionModel.load(plain), Preset("mine", 700, 3, decoder="tiny"))


@torch.inference_mode()
def test_the_tiny_decoder_decodes_by_its_own_scale(rich, rich_ldm, z_and_c):
    latents = torch.from_numpy(z_and_c[0])[None]
    stock = AutoencoderTiny.from_pretrained(rich / "vae_tiny").decode(latents / 0.5).sample
    expected = ((stock / 2 + 0.5).clamp(0, 1) * 255).round()[0].permute(1, 2, 0).numpy()
    coarse = Reconstructor(rich_ldm, PRESETS["live-4"]).coarse(z_and_c[0])
    assert np.abs(coarse - expected).max() <= 1
    assert not np.array_equal(coarse, Reconstructor(rich_ldm, PRESETS["takagi"]).coarse(z_and_c[0]))


def test_a_folder_of_ones_own_goes_before_the_models(rich, tmp_path, z_and_c):
    own = LatentDiffusionModel.load(rich, tiny_decoder=write_tiny_decoder(tmp_path / "taesd", scaling_factor=1.0))
    pictures = [Reconstructor(model, PRESETS["live-8"]).coarse(z_and_c[0])
                for model in (own, LatentDiffusionModel.load(rich))]  # fmt: skip
    assert not np.array_equal(*pictures)


def test_the_few_step_denoiser_is_called_unguided(rich_ldm, z_and_c, monkeypatch):
    batches = []
    for unet in (rich_ldm.few_step_unet, rich_ldm.unet):
        forward = unet.conv_in.forward
        monkeypatch.setattr(
            unet.conv_in, "forward",
            lambda x, forward=forward, unet=unet: (batches.append((unet is rich_ldm.unet, len(x))), forward(x))[1],
        )  # fmt: skip
    Reconstructor(rich_ldm, PRESETS["live-2"]).picture(*z_and_c)
    assert batches == [(False, 1)] * 2
    batches.clear()
    Reconstructor(rich_ldm, replace(PRESETS["live-2"], few_step=False)).picture(*z_and_c)
    assert batches == [(True, 2)] * 2


def test_with_a_lora_the_plain_denoiser_is_taken(rich, tmp_path):
    attention = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    lora = tmp_path / "lora.safetensors"
    save_file({f"{attention}.lora_A.weight": torch.ones(2, 32), f"{attention}.lora_B.weight": torch.ones(32, 2)}, lora)
    model = LatentDiffusionModel.load(rich, lora)
    networks = networks_of(model, PRESETS["live-2"])
    assert networks.words == "tiny decoder"
    assert networks.denoiser.unet.conv_in.weight is model.unet.conv_in.weight


def test_presets_with_the_same_networks_share_an_engine(rich_ldm, tmp_path):
    engine = load_engine("torch", rich_ldm, PRESETS["live-1"], tmp_path)
    assert engine_for(PRESETS["live-2"], engine, tmp_path) is engine
    other = engine_for(PRESETS["quality-20"], engine, tmp_path)
    assert isinstance(other, TorchEngine)
    assert other.networks.words == "full decoder"


@pytest.mark.parametrize(
    ("levels", "settings", "sentence"),
    [
        (4, {}, "8 pixels a latent, the model's own decoder has 4"),
        (3, {"_class_name": "AutoencoderDC"}, "class AutoencoderDC; braind takes AutoencoderKL or AutoencoderTiny"),
    ],
)
def test_a_tiny_decoder_that_does_not_fit_is_refused(plain, tmp_path, levels, settings, sentence):
    folder = write_tiny_decoder(tmp_path / "tiny", levels)
    change_config(folder / "config.json", **settings)
    with pytest.raises(LdmError, match=sentence):
        networks_of(LatentDiffusionModel.load(plain, tiny_decoder=folder), PRESETS["live-4"])


def test_a_missing_tiny_decoder_is_refused_by_name(plain, tmp_path):
    with pytest.raises(LdmError, match="nowhere/config.json is missing"):
        networks_of(LatentDiffusionModel.load(plain, tiny_decoder=tmp_path / "nowhere"), PRESETS["live-4"])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"in_channels": 9}, "takes 9 channels and gives 4"), ({"class_embed_type": "timestep"}, "class_embed_type")],
)
def test_a_denoiser_with_other_inputs_is_refused(settings, sentence):
    with pytest.raises(DenoiserError, match=sentence):
        Denoiser(UNet2DConditionModel(**(UNET | settings)))
