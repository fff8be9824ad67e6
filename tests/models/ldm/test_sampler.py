"""The sampler against closed forms: a denoiser that knows the noise in its latents."""

import numpy as np
import pytest
import torch

from braind.models.ldm.denoiser import Context
from braind.models.ldm.networks import networks_of
from braind.models.ldm.sampler import Sampler
from braind.models.presets import PRESETS, Preset


class KnowingEngine:
    """Predicts the noise that `answer` gives for the n-th call's latents."""

    name = "knowing"

    def __init__(self, ldm, answer=lambda n, latents: torch.zeros_like(latents)):
        self.networks = networks_of(ldm, PRESETS["live-4"])
        self.answer = answer
        self.batches = []

    def conditioned(self, embedding):
        return Context(embedding.mean((1, 2))[:, None], (embedding,))

    def predicted_noise(self, latents, time_embedding, context):
        self.batches.append(len(latents))
        return self.answer(len(self.batches) - 1, latents)

    def decoded(self, latents):
        raise AssertionError("a sampler decodes nothing")


@pytest.fixture(scope="module")
def z(ldm):
    return torch.from_numpy(np.random.default_rng(0).normal(size=(1, *ldm.latent_shape)).astype(np.float32))


@pytest.fixture(scope="module")
def embedding(ldm):
    return torch.ones((1, *ldm.text_shape))


def unguided(rule, n_calls=4):
    return Preset("mine", 799, n_calls, rule=rule, guidance="none")


def test_z_is_noised_to_the_variance_of_its_start(ldm, z):
    sampler = Sampler(KnowingEngine(ldm), unguided("ddim"), seed=3)
    alpha = float(ldm.alphas_cumprod[799])
    expected = alpha**0.5 * z + (1 - alpha) ** 0.5 * sampler.noise
    torch.testing.assert_close(sampler.noised(z), expected)


@pytest.mark.parametrize("rule", ["ddim", "dpm++", "lcm", "tcd"])
@pytest.mark.parametrize("n_calls", [1, 3, 8])
def test_a_denoiser_that_knows_the_noise_leads_back_to_z(ldm, z, embedding, rule, n_calls):
    engine = KnowingEngine(ldm)
    sampler = Sampler(engine, unguided(rule, n_calls), seed=3)
    engine.answer = lambda n, x: (x - sampler.steps[n].alpha * z) / sampler.steps[n].sigma
    denoised = sampler.denoise(sampler.noised(z), embedding, sampler.steps)
    # DDIM and TCD end at the schedule's smallest noise, LCM and DPM-Solver++ at none
    left = (1 - ldm.final_alpha_cumprod) ** 0.5
    assert (denoised - z).abs().max() <= 6 * left


@pytest.mark.parametrize("rule", ["ddim", "dpm++"])
def test_deterministic_rules_follow_the_straight_path_between_noise_and_z(ldm, z, embedding, rule):
    engine = KnowingEngine(ldm)
    sampler = Sampler(engine, unguided(rule, 6), seed=3)
    engine.answer = lambda n, x: sampler.noise
    *earlier, last = sampler.steps
    expected = last.alpha * z + last.sigma * sampler.noise
    torch.testing.assert_close(sampler.denoise(sampler.noised(z), embedding, tuple(earlier)), expected)


@pytest.mark.parametrize(
    ("guidance", "scale", "batches"),
    [("full", 3.0, [2, 2, 2, 2]), ("first", 3.0, [2, 1, 1, 1]), ("none", 3.0, [1] * 4), ("full", 1.0, [1] * 4)],
)
def test_only_guided_calls_predict_the_noise_without_c_too(ldm, z, embedding, guidance, scale, batches):
    engine = KnowingEngine(ldm)
    sampler = Sampler(engine, Preset("mine", 799, 4, guidance=guidance, guidance_scale=scale), seed=3)
    sampler.denoise(sampler.noised(z), embedding, sampler.steps)
    assert engine.batches == batches


def test_guidance_extrapolates_from_the_noise_without_c_to_the_noise_under_c(ldm, z, embedding):
    engine = KnowingEngine(ldm, lambda _, x: torch.tensor([0.5, 2.0])[:, None, None, None].expand_as(x))
    sampler = Sampler(engine, Preset("mine", 799, 1, guidance_scale=3.0), seed=3)
    (step,), start = sampler.steps, sampler.noised(z)
    expected = step.latents_weight * start + step.noise_weight * (0.5 + 3 * (2.0 - 0.5))
    torch.testing.assert_close(sampler.denoise(start, embedding, sampler.steps), expected)


def test_an_exception_before_a_call_ends_the_picture_without_that_call(ldm, z, embedding):
    engine, calls = KnowingEngine(ldm), iter([None, None])
    sampler = Sampler(engine, unguided("ddim"), seed=3)
    with pytest.raises(StopIteration):
        sampler.denoise(sampler.noised(z), embedding, sampler.steps, lambda: next(calls))
    assert engine.batches == [1, 1]


def test_one_seed_draws_the_same_noise_whatever_the_number_of_calls(ldm):
    few, many = (Sampler(KnowingEngine(ldm), unguided("ddim", n), seed=3) for n in (1, 40))
    torch.testing.assert_close(few.noise, many.noise, rtol=0, atol=0)
    other = Sampler(KnowingEngine(ldm), unguided("ddim", 1), seed=4)
    assert not torch.equal(few.noise, other.noise)
