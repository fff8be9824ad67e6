"""What the denoiser is trained on: embeddings and latents disturbed by other pictures' own values."""

import pytest
import torch

from braind.models.demo.training.population import Population
from braind.models.demo.training.train_unet import UNCERTAIN_FROM, new_scheduler, uncertain


@pytest.fixture
def latents():
    """Latents of 600 pictures, two directions of which vary most."""
    values = torch.randn(600, 64, generator=torch.Generator().manual_seed(1))
    values[:, :2] *= 10
    return values.unflatten(1, (4, 4, 4)) + 1


@pytest.fixture
def snr():
    share = new_scheduler().alphas_cumprod
    return share / (1 - share)


def test_a_disturbance_of_no_strength_changes_nothing(latents):
    torch.manual_seed(0)
    assert torch.allclose(Population(latents).disturb(latents[:50], (0, 0), (1, 1)), latents[:50], atol=1e-5)


def test_a_disturbance_lies_where_pictures_differ(latents):
    torch.manual_seed(0)
    disturbed = Population(latents).disturb(latents, (1, 1), (1, 1))
    # as strong as the pictures themselves: what is left of a picture correlates with it by 1/√2
    spread = disturbed.flatten(1).std(0)
    assert torch.allclose(spread[:2], latents.flatten(1).std(0)[:2], rtol=0.15)
    assert float(spread[2:].mean()) == pytest.approx(float(latents.flatten(1).std(0)[2:].mean()), rel=0.1)
    for direction in range(2):
        both = torch.stack([disturbed.flatten(1)[:, direction], latents.flatten(1)[:, direction]])
        assert float(torch.corrcoef(both)[0, 1]) == pytest.approx(0.5**0.5, abs=0.1)


def test_an_uncertain_value_shrinks_towards_the_mean(latents):
    torch.manual_seed(0)
    population = Population(latents)
    halved = population.disturb(latents[:50], (0, 0), (0.5, 0.5))
    assert torch.allclose(halved - population.mean, (latents[:50] - population.mean) / 2, atol=1e-5)


def test_denoising_takes_the_uncertainty_of_latents_away_as_it_takes_noise_away(latents, snr):
    population = Population(latents)

    def change(timestep: int) -> torch.Tensor:
        torch.manual_seed(2)
        t = torch.full((len(latents),), timestep)
        return (uncertain(latents, t, snr, population) - latents).flatten(1)

    at_start = change(UNCERTAIN_FROM)
    assert torch.allclose(change(UNCERTAIN_FROM + 200), at_start, atol=1e-5)
    left = float((snr[UNCERTAIN_FROM] / snr[300]).sqrt())
    assert left < 0.3
    assert torch.allclose(change(300), left * at_start, atol=1e-4)
    is_certain = (at_start == 0).all(1)
    assert 0.25 < is_certain.float().mean() < 0.55
