"""NSD's noise-ceiling signal-to-noise ratio, `ncsnr`, gathered session by session."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

REPEATS = 3


class NoiseCeiling:
    """Estimates per voxel the signal's standard deviation over the noise's, as the NSD paper defines them.

    Betas are z-scored per session; the noise variance is the variance over a picture's three showings, averaged over
    pictures; what is left of the total variance of 1 is signal (Allen et al. 2022, methods).
    """

    def __init__(self, order: Array, n_voxels: int) -> None:
        """Prepare for trials that show pictures in the given order, (n_trials,) int64."""
        seen = np.bincount(order)
        self._whole = seen == REPEATS
        self._sums = np.zeros((len(seen), n_voxels), np.float32)
        self._squares = np.zeros(n_voxels, np.float64)

    def add(self, session_order: Array, betas: Array) -> None:
        """Take one session: pictures (n_trials,) and responses (n_trials, n_voxels)."""
        spread = betas.std(0)
        normalised = (betas - betas.mean(0)) / np.where(spread > 0, spread, 1)
        used = self._whole[session_order]
        np.add.at(self._sums, session_order[used], normalised[used])
        self._squares += (normalised[used].astype(np.float32) ** 2).sum(0, dtype=np.float64)

    def ncsnr(self) -> Array:
        """Return the ratio: (n_voxels,) float32, 0 where no signal is found."""
        within = self._squares - (self._sums[self._whole] ** 2).sum(0, dtype=np.float64) / REPEATS
        noise_variance = within / max((REPEATS - 1) * int(self._whole.sum()), 1)
        signal_variance = np.maximum(1 - noise_variance, 0)
        ratio = np.sqrt(signal_variance / np.where(noise_variance > 0, noise_variance, 1))
        return np.where(noise_variance > 0, ratio, 0).astype(np.float32)
