"""Disturbs embeddings and latents as uncertain ones are disturbed, by nothing but other pictures' own values."""

import torch

N_MIXED = 256  # of the others, which make up a disturbance


class Population:
    """Values of many pictures, (n_pictures, …): what is uncertain about one lies where the others differ.

    The disturbance is Gaussian with the population's covariance. Its strength and the shrinkage differ from example to
    example, as in the conditioning augmentation of cascades (Ho et al. 2022). Nothing of it comes from a brain.
    """

    def __init__(self, values: torch.Tensor) -> None:
        self.mean = values.mean(0)
        self._differences = (values - self.mean).flatten(1)

    def disturb(self, values: torch.Tensor, strengths: tuple[float, float], sizes: tuple[float, float]) -> torch.Tensor:
        """Disturb each value, (batch, …), and shrink it towards the mean.

        Parameters
        ----------
        strengths : (lowest, highest)
            Of the disturbance, in standard deviations of the population.
        sizes : (lowest, highest)
            Of the disturbed value's distance from the mean, as a share of an undisturbed value's. What is uncertain is
            therefore shrunken too, as a regression shrinks it: the stronger the disturbance, the less is left.
        """
        n, rest = len(values), values.shape[1:]
        chosen = torch.randint(len(self._differences), (N_MIXED,))
        weights = torch.randn(n, N_MIXED) / N_MIXED**0.5
        other = (weights @ self._differences[chosen]).unflatten(1, rest)
        each = (n, *[1] * len(rest))
        strength, size = torch.empty(each).uniform_(*strengths), torch.empty(each).uniform_(*sizes)
        return self.mean + size * (values - self.mean + strength * other) / (1 + strength**2).sqrt()
