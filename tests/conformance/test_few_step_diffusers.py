"""Distilled models of small sizes and random weights, against diffusers' own pipelines."""

import numpy as np
import pytest
import torch
from diffusers import LatentConsistencyModelImg2ImgPipeline, LCMScheduler, StableDiffusionImg2ImgPipeline
from small_models import write_model

from braind.models.ldm.model import LatentDiffusionModel
from braind.models.ldm.reconstruct import Reconstructor
from braind.models.presets import Preset, even_schedule


def z_and_c(ldm):
    rng = np.random.default_rng(0)
    return (rng.normal(size=ldm.latent_shape).astype(np.float32),
            rng.normal(size=ldm.text_shape).astype(np.float32))  # fmt: skip


@pytest.mark.parametrize("scale", [1.0, 8.5])
def test_an_lcm_directory_equals_the_lcm_pipeline(tmp_path, monkeypatch, scale):
    """The guidance scale enters as a condition of the timestep's embedding, in a batch of one."""
    folder = write_model(tmp_path / "ldm", unet={"time_cond_proj_dim": 32})
    ldm = LatentDiffusionModel.load(folder)
    z, c = z_and_c(ldm)
    ours = Reconstructor(ldm, Preset("mine", 799, 4, rule="lcm", guidance_scale=scale))
    timesteps = list(ours.schedule.timesteps)
    pipeline = LatentConsistencyModelImg2ImgPipeline(
        ldm.autoencoder, ldm.text_encoder, ldm.tokenizer, ldm.unet,
        LCMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"), None, None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    noises = iter([ours.noise, *ours.fresh_noises])
    for module in ("pipelines.latent_consistency_models.pipeline_latent_consistency_img2img",
                   "schedulers.scheduling_lcm"):  # fmt: skip
        monkeypatch.setattr(f"diffusers.{module}.randn_tensor", lambda *_a, **_k: next(noises))
    expected = pipeline(
        image=torch.from_numpy(z)[None], prompt_embeds=torch.from_numpy(c)[None], guidance_scale=scale,
        timesteps=timesteps, original_inference_steps=1000, strength=1.0, output_type="np",
    ).images[0]  # fmt: skip
    assert np.abs(ours.picture(z, c) / 255 - expected).max() <= 0.5 / 255 + 1e-3


@pytest.mark.parametrize("width", [32, 48])
def test_a_turbo_type_directory_equals_the_img2img_pipeline(tmp_path, monkeypatch, width):
    """Unguided, few calls, and a text encoder of another width than Stable Diffusion 1.x's is as good."""
    folder = write_model(
        tmp_path / "ldm", unet={"cross_attention_dim": width}, text={"hidden_size": width},
        timestep_spacing="trailing",
    )  # fmt: skip
    ldm = LatentDiffusionModel.load(folder)
    assert ldm.text_shape == (16, width)
    z, c = z_and_c(ldm)
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(folder, safety_checker=None, feature_extractor=None)
    pipeline.set_progress_bar_config(disable=True)
    ours = Reconstructor(ldm, Preset("mine", 499, 1, guidance="none"))
    assert even_schedule(499, 1).timesteps == (499,)
    monkeypatch.setattr(
        "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img.randn_tensor",
        lambda *_args, **_kwargs: ours.noise,
    )
    expected = pipeline(
        image=torch.from_numpy(z)[None], prompt_embeds=torch.from_numpy(c)[None], guidance_scale=0.0,
        strength=0.5, num_inference_steps=2, output_type="np",
    ).images[0]  # fmt: skip
    assert np.abs(ours.picture(z, c) / 255 - expected).max() <= 0.5 / 255 + 1e-3
