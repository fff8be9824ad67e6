"""How a simulated subject's single-trial responses vary when the picture does not.

Noise that is independent from voxel to voxel averages out over a thousand of them, and leaves decoding far easier than
it is in people. A large part of the variance here is therefore shared: ongoing activity with the spatial patterns that
pictures themselves evoke (as spontaneous activity in visual cortex has: Kenet et al. 2003), which no weighting of
voxels can remove, and smooth fluctuations over the whole brain, which some weightings can.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.sparse.linalg import svds

from ....arrays import Array
from .anatomy import STREAMS, Anatomy
from .brain import MEAN_RESPONSE, SIGNAL_SD
from .seeds import generator

# Chosen once, on left-out training pictures of subject 2 (docs/simulation.md). Later scores do not change them.
SNR_MEDIAN = 0.5  # sd of the signal over sd of the noise, median over visual voxels
SNR_LOG_SD = 0.35
ONGOING_RATIO = {"early": 0.6, "higher": 0.5}  # sd of ongoing activity in evoked patterns over sd of the signal
SMOOTH_SHARE = 0.35  # of the remaining noise variance: smooth over the whole brain
N_ONGOING = 100  # patterns of each of early and higher visual cortex
N_SMOOTH = 20  # patterns of the whole brain
SMOOTHNESS = 2.5  # voxels
SESSION_GAIN_SD = 0.08
SESSION_OFFSET_SD = 0.25  # of the signal's standard deviation
DRIFT_SD = 0.2  # of the signal's standard deviation, over a session


@dataclass(frozen=True)
class SessionResponses:
    """One session's single-trial responses, in % signal change; arrays have the shape (n_trials, n_voxels).

    `amplitude` is signal, shared noise, gain and drift: what the BOLD series is made from. `independent` is the rest,
    the error that an estimate of a single trial has in each voxel.
    """

    amplitude: Array
    independent: Array

    @property
    def betas(self) -> Array:
        """Return single-trial response estimates, as NSD publishes them: (n_trials, n_voxels) float32."""
        return self.amplitude + self.independent


@dataclass(frozen=True)
class TrialNoise:
    """One subject's noise; arrays of n_voxels are in % signal change, in the order of the brain's voxels.

    `ongoing` and `smooth` hold spatial patterns, (n_patterns, n_voxels), of independent unit-variance fluctuations.
    """

    signal_sd: Array
    mean_response: Array
    ongoing: Array
    smooth: Array
    independent_sd: Array

    def respond(self, evoked: Array, seed: int, subject: int, session: int) -> SessionResponses:
        """Return a session's responses, given the standardised evoked responses (n_trials, n_voxels)."""
        rng = generator(seed, f"subject {subject}, session {session}: trial noise")
        n_trials, n_voxels = evoked.shape
        gain = np.float32(rng.normal(1, SESSION_GAIN_SD))
        offset = rng.standard_normal(n_voxels, dtype=np.float32) * SESSION_OFFSET_SD * self.signal_sd
        slope = rng.standard_normal(n_voxels, dtype=np.float32) * DRIFT_SD * self.signal_sd
        elapsed = np.linspace(-1, 1, n_trials, dtype=np.float32)[:, None]

        amplitude = evoked * (gain * self.signal_sd) + (self.mean_response * gain + offset) + elapsed * slope
        for patterns in (self.ongoing, self.smooth):
            amplitude += rng.standard_normal((n_trials, len(patterns)), dtype=np.float32) @ patterns
        independent = rng.standard_normal((n_trials, n_voxels), dtype=np.float32) * self.independent_sd
        return SessionResponses(amplitude, independent)


def draw_trial_noise(anatomy: Anatomy, evoked: Array, seed: int, subject: int) -> TrialNoise:
    """Draw a subject's noise to go with its evoked responses (n_pictures, n_voxels)."""
    rng = generator(seed, f"subject {subject}: noise")
    streams = anatomy.streams.flat[anatomy.voxel_index]
    visual = streams > 0
    early = streams == STREAMS["early"]
    n_voxels = len(streams)

    voxel_scale = SIGNAL_SD * rng.lognormal(0, 0.3, n_voxels)
    snr = SNR_MEDIAN * rng.lognormal(0, SNR_LOG_SD, n_voxels)
    noise_variance = (voxel_scale / snr) ** 2
    signal_sd = np.where(visual, voxel_scale, 0)

    ongoing = np.zeros((2 * N_ONGOING, n_voxels), np.float32)
    for rows, voxels, group in (
        (slice(0, N_ONGOING), early, "early"),
        (slice(N_ONGOING, None), visual & ~early, "higher"),
    ):
        patterns = _evoked_patterns(evoked[:, voxels])
        ongoing[rows, voxels] = ONGOING_RATIO[group] * signal_sd[voxels] * patterns

    # voxels with a high SNR keep at least some independent noise
    left = np.maximum(noise_variance - (ongoing**2).sum(0), 0.1 * noise_variance)
    smooth = _smooth_patterns(anatomy, rng) * np.sqrt(SMOOTH_SHARE * left)
    return TrialNoise(
        signal_sd=signal_sd.astype(np.float32),
        mean_response=np.where(visual, MEAN_RESPONSE * rng.lognormal(0, 0.3, n_voxels), 0).astype(np.float32),
        ongoing=ongoing,
        smooth=smooth.astype(np.float32),
        independent_sd=np.sqrt((1 - SMOOTH_SHARE) * left).astype(np.float32),
    )


def _evoked_patterns(evoked: Array) -> Array:
    """Return the leading principal patterns of evoked responses: (N_ONGOING, n_voxels), variance 1 a voxel on average.

    Each pattern keeps its share of the evoked variance, so ongoing activity looks like responses to unseen pictures.
    """
    n_patterns = min(N_ONGOING, *[side - 1 for side in evoked.shape])
    # ARPACK starts from a random vector by default, and signs differ between processors' BLAS
    decomposed: Any = svds(evoked.astype(np.float64), n_patterns, v0=np.ones(min(evoked.shape)))
    _, values, vectors = decomposed
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    patterns = values[:, None] * vectors * np.sign(largest)
    found = np.zeros((N_ONGOING, evoked.shape[1]), np.float32)
    found[: len(patterns)] = patterns
    return found / np.sqrt((found**2).sum(0).mean())


def _smooth_patterns(anatomy: Anatomy, rng: np.random.Generator) -> Array:
    """Return smooth patterns over the whole brain: (N_SMOOTH, n_voxels), variance 1 in every voxel."""
    fields = rng.standard_normal((N_SMOOTH, *anatomy.shape))
    smooth = gaussian_filter(fields, (0, *[SMOOTHNESS] * 3), mode="nearest")[:, anatomy.brainmask]
    return smooth / np.sqrt((smooth**2).sum(0))
