"""Disturbs embeddings and latents by random mixtures of how other pictures differ from the mean."""

import torch

N_MIXED = 256  # pictures that make up a batch's disturbances


class Population:
    """Values of many pictures, (n_pictures, …). A disturbance lies in the directions in which pictures differ.

    The disturbance is Gaussian, with the covariance of `N_MIXED` pictures that are drawn for each batch. Its strength
    and the shrinkage differ from example to example, as in the conditioning augmentation of cascades (Ho et al. 2022).
    Nothing of it comes from a brain.
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
            Of a factor. The disturbed difference from the mean is divided by √(1 + strength²) and multiplied by this
            factor. So a stronger disturbance leaves less of the picture's own difference, as a regression does.
        """
        n, rest = len(values), values.shape[1:]
        chosen = torch.randint(len(self._differences), (N_MIXED,))
        weights = torch.randn(n, N_MIXED) / N_MIXED**0.5
        other = (weights @ self._differences[chosen]).unflatten(1, rest)
        each = (n, *[1] * len(rest))
        strength, size = torch.empty(each).uniform_(*strengths), torch.empty(each).uniform_(*sizes)
        return self.mean + size * (values - self.mean + strength * other) / (1 + strength**2).sqrt()
