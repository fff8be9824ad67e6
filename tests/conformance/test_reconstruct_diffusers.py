"""braind's denoising against diffusers' own StableDiffusionImg2ImgPipeline: same latents, embeddings, noise, steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    LCMScheduler,
    StableDiffusionImg2ImgPipeline,
    TCDScheduler,
)

from braind.models.ldm.reconstruct import Reconstructor
from braind.models.presets import PRESETS, Preset, Schedule, even_schedule, published_schedule


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
    timesteps = published_schedule(n_grid, int(n_grid * strength)).timesteps
    # diffusers noises at the first call's timestep, the paper's code one grid point above it
    reconstructor = Reconstructor(ldm, Preset("stock", timesteps[0], len(timesteps), guidance_scale=guidance), seed=3)
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
    steps = reconstructor.compiled(Schedule(timesteps[0], timesteps))
    with torch.inference_mode():
        latents = reconstructor.denoise(reconstructor.noised(z), reconstructor._embed(c), steps)
        picture = (ldm.decode_latents(latents) / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    assert np.abs(picture - expected).max() <= 1e-4


@torch.inference_mode()
def test_takagi_equals_a_reference_written_from_the_paper(ldm, z_and_c):
    """Takagi & Nishimoto 2023, §3.3 and their diffusion_decoding.py, in plain numpy and PIL around the network."""
    z, c = z_and_c
    preset = replace(PRESETS["takagi"], n_calls=5)  # the same grid, from 101 on
    reconstructor = Reconstructor(ldm, preset)
    picture = ldm.decode_latents(torch.from_numpy(z)[None])[0].permute(1, 2, 0).numpy()
    coarse = np.rint(255 * np.clip(picture / 2 + 0.5, 0, 1)).astype(np.uint8)
    z0 = ldm.encode_signed(torch.from_numpy(coarse.transpose(2, 0, 1)[None] / np.float32(127.5) - 1)).numpy()
    alphas = ldm.alphas_cumprod.numpy()
    x = np.sqrt(alphas[101]) * z0 + np.sqrt(1 - alphas[101]) * reconstructor.noise.numpy()
    for t, t_next in zip((81, 61, 41, 21, 1), (61, 41, 21, 1, None), strict=True):
        without, under = (
            ldm.unet(torch.from_numpy(x.astype(np.float32)), t, embedding).sample.numpy()
            for embedding in (reconstructor.empty, torch.from_numpy(c)[None])
        )
        e = without + 5 * (under - without)
        x0 = (x - np.sqrt(1 - alphas[t]) * e) / np.sqrt(alphas[t])
        a_next = alphas[0] if t_next is None else alphas[t_next]
        x = np.sqrt(a_next) * x0 + np.sqrt(1 - a_next) * e
    ours = reconstructor.denoise(reconstructor.noised(z), torch.from_numpy(c)[None], reconstructor.steps)
    assert np.abs(ours.numpy() - x).max() <= 1e-4 * np.abs(x).max()


def stock_scheduler(ldm, rule):
    settings = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    if rule == "dpm++":
        return DPMSolverMultistepScheduler(**settings, algorithm_type="dpmsolver++", final_sigmas_type="zero")
    if rule == "lcm":
        return LCMScheduler(**settings)
    if rule == "tcd":
        return TCDScheduler(**settings)
    return DDIMScheduler.from_pretrained(ldm.path / "scheduler")


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # in diffusers' DPM-Solver, under numpy 2
@torch.inference_mode()
@pytest.mark.parametrize("rule", ["ddim", "dpm++", "lcm", "tcd"])
@pytest.mark.parametrize("n_calls", [1, 2, 4, 8])
def test_every_rule_equals_diffusers_own_scheduler(ldm, z_and_c, monkeypatch, rule, n_calls):
    """The same timesteps and the same fresh noise; the denoiser is the demo's."""
    z, c = z_and_c
    reconstructor = Reconstructor(ldm, Preset("mine", 799, n_calls, rule=rule, guidance="none"))
    timesteps = list(reconstructor.schedule.timesteps)
    scheduler = stock_scheduler(ldm, rule)
    if rule == "ddim":  # takes no timesteps of one's own: each step is asked for by its stride
        scheduler.set_timesteps(1000)
    else:
        scheduler.set_timesteps(timesteps=timesteps, **({"original_inference_steps": 1000} if rule == "lcm" else {}))
        assert scheduler.timesteps.tolist() == timesteps
    fresh = iter(reconstructor.fresh_noises)
    for name in ("lcm", "tcd"):
        monkeypatch.setattr(f"diffusers.schedulers.scheduling_{name}.randn_tensor", lambda *_a, **_k: next(fresh))
    x = start = reconstructor.noised(z)
    embedding = torch.from_numpy(c)[None]
    for n, t in enumerate(timesteps):
        noise = ldm.unet(x, t, embedding).sample
        if rule == "ddim":
            ahead = timesteps[n + 1] if n + 1 < n_calls else -1
            x = stock_ddim_step(scheduler, noise, t, ahead, x)
        else:
            x = scheduler.step(noise, t, x, return_dict=False)[0]
    ours = reconstructor.denoise(start, embedding, reconstructor.steps)
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-4)


def stock_ddim_step(scheduler, noise, t, ahead, x):
    """One step of diffusers' DDIM over any stride: it takes the target from `num_train / num_inference_steps`."""
    scheduler.num_inference_steps = _Stride(t - ahead)
    return scheduler.step(noise, t, x).prev_sample


class _Stride:
    def __init__(self, stride):
        self.stride = stride

    def __rfloordiv__(self, _):
        return self.stride


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
    assert list(schedule.timesteps) == sorted(set(schedule.timesteps), reverse=True)
