"""braind's denoising against diffusers' own StableDiffusionImg2ImgPipeline: same latents, embeddings, noise, steps."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline

from braind.models.profiles import PROFILES, Profile, Schedule, even_schedule, published_schedule
from braind.models.reconstruct import Reconstructor


@pytest.fixture(scope="module")
def pipeline(ldm_path):
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(ldm_path, safety_checker=None, feature_extractor=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def z_and_c(ldm):
    rng = np.random.default_rng(0)
    z = rng.normal(size=ldm.latent_shape).astype(np.float32)
    c = ldm.encode_captions([["a big panda at the left , red above blue"]])[0]
    return z, c


@pytest.mark.parametrize(("n_grid", "strength", "guidance"), [(5, 0.8, 3.0), (10, 0.6, 1.0), (50, 0.8, 5.0)])
def test_pictures_equal_the_img2img_pipelines(ldm, pipeline, z_and_c, monkeypatch, n_grid, strength, guidance):
    z, c = z_and_c
    n_calls = int(n_grid * strength)
    published = published_schedule(n_grid, n_calls)
    # diffusers noises at the first call's timestep, the paper's code one grid point above it
    stock = Schedule(published.timesteps[0], published.timesteps, published.targets)
    profile = Profile("stock", strength, guidance, n_calls, reencode=False, z_share=1.0)
    reconstructor = Reconstructor(ldm, profile, seed=3)
    reconstructor.schedule = stock
    monkeypatch.setattr(
        "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img.randn_tensor",
        lambda *_args, **_kwargs: reconstructor.noise,
    )
    expected = pipeline(
        image=torch.from_numpy(z)[None],
        prompt_embeds=torch.from_numpy(c)[None],
        negative_prompt_embeds=reconstructor.empty,
        strength=strength,
        num_inference_steps=n_grid,
        guidance_scale=guidance,
        output_type="np",
    ).images[0]
    with torch.inference_mode():
        latents = reconstructor.denoise(reconstructor.noised(z), reconstructor._embed(c), stock)
        picture = (ldm.decode_latents(latents) / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    assert np.abs(picture - expected).max() <= 1e-4


def test_even_schedules_follow_the_ddim_formula(ldm):
    """Each step's two constants equal what diffusers' DDIM does with the same alphas."""
    reconstructor = Reconstructor(ldm, PROFILES["live"])
    scheduler = DDIMScheduler.from_pretrained(ldm.path / "scheduler")
    scheduler.set_timesteps(1000)
    generator = torch.Generator().manual_seed(0)
    x, epsilon = torch.randn(2, 1, *ldm.latent_shape, generator=generator)
    a, b = reconstructor._coefficients(500, 499)
    torch.testing.assert_close(scheduler.step(epsilon, 500, x).prev_sample, a * x + b * epsilon, rtol=0, atol=1e-5)


def test_the_takagi_schedule_is_the_published_one():
    schedule = published_schedule(50, 40)
    assert schedule.noise == 801
    assert schedule.timesteps[:3] == (781, 761, 741)
    assert schedule.timesteps[-1] == 1
    assert len(schedule.timesteps) == 40


@pytest.mark.parametrize("n_calls", [1, 2, 4, 8, 40])
def test_a_schedule_has_exactly_as_many_calls_as_asked_for(n_calls):
    schedule = even_schedule(799, n_calls)
    assert len(schedule.timesteps) == n_calls
    assert schedule.timesteps[0] == schedule.noise == 799
    assert schedule.targets[-1] == -1
    assert list(schedule.timesteps) == sorted(set(schedule.timesteps), reverse=True)
