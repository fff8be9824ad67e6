"""The BOLD time series of a simulated run, made from the amplitudes of its trials.

As NSD's preprocessed series: one int16 volume every 4/3 s, 226 a run, raw scanner units, 0 outside the brain, neither
filtered nor cleaned.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.signal import lfilter
from scipy.stats import gamma

from .anatomy import Anatomy
from .experiment import SLOT_S
from .seeds import generator

Array = NDArray[Any]

TR_S = 4 / 3
VOLUMES_PER_RUN = 226
STIMULUS_S = 3.0
BASELINE = 1000.0  # scanner units, median over voxels
DELAY_SD_S = 0.4  # of the HRF, from voxel to voxel
DELAY_STEP_S = 0.25
N_DELAYS = 9  # from -1 s to 1 s
NOISE_RATIO = 0.9  # sd of a volume's noise over that of the voxel's single-trial estimate
AUTOCORRELATION = 0.4  # AR(1), a volume
WHITE_SHARE = 0.5  # of the noise variance
AUTOREGRESSIVE_SHARE = 0.35
PHYSIOLOGICAL_SHARE = 0.15
RESPIRATION_HZ = 0.27
CARDIAC_HZ = 1.05  # aliases at this TR
DRIFT_PERCENT = 0.8
SPIKES_PER_RUN = 0.7
SPIKE_MM = 1.5


@dataclass(frozen=True)
class BoldVoxels:
    """What a subject's voxels bring to every run; arrays have the shape (n_voxels,), float32.

    `delay` indexes the HRF's delays; `noise_sd` is in percent of the baseline; `motion_pattern` (6, n_voxels) says
    what a millimetre or a degree of each rigid motion does, in percent.
    """

    baseline: Array
    delay: Array
    noise_sd: Array
    motion_pattern: Array


@dataclass(frozen=True)
class Run:
    """One run: `volumes` (226, n_voxels) int16, `motion` (226, 6) float64 in mm and degrees."""

    volumes: Array
    motion: Array


def draw_bold_voxels(anatomy: Anatomy, independent_sd: Array, seed: int, subject: int) -> BoldVoxels:
    """Draw a subject's voxels, given the sd of its single-trial estimation error (n_voxels,) in % signal change."""
    rng = generator(seed, f"subject {subject}: BOLD voxels")
    fields = gaussian_filter(rng.standard_normal((8, *anatomy.shape)), (0, 1.5, 1.5, 1.5), mode="nearest")
    fields = fields[:, anatomy.brainmask]
    fields /= fields.std(1, keepdims=True)
    delay = np.rint(fields[0] * DELAY_SD_S / DELAY_STEP_S) + N_DELAYS // 2
    return BoldVoxels(
        baseline=(BASELINE * np.exp(0.15 * fields[1])).astype(np.float32),
        delay=np.clip(delay, 0, N_DELAYS - 1).astype(np.int64),
        noise_sd=(NOISE_RATIO * independent_sd).astype(np.float32),
        motion_pattern=(0.6 * fields[2:]).astype(np.float32),
    )


def simulate_run(voxels: BoldVoxels, amplitudes: Array, slots: Array, rng: np.random.Generator) -> Run:
    """Make one run's volumes.

    Parameters
    ----------
    voxels : BoldVoxels
    amplitudes : array of shape (n_trials, n_voxels), float32
        Peak response of each trial, % signal change.
    slots : array of shape (n_trials,), int
        The 4-second slot in which each trial's picture appears.
    rng : Generator
        The run's own.
    """
    percent = np.zeros((VOLUMES_PER_RUN, amplitudes.shape[1]), np.float32)
    for delay in range(N_DELAYS):
        chosen = voxels.delay == delay
        onsets_s = slots * SLOT_S + (delay - N_DELAYS // 2) * DELAY_STEP_S
        percent[:, chosen] = _trial_responses(onsets_s) @ amplitudes[:, chosen]
    percent += _noise(len(voxels.noise_sd), rng) * voxels.noise_sd
    percent += _drift(len(voxels.noise_sd), rng)
    motion = _motion(rng)
    percent += (motion @ voxels.motion_pattern).astype(np.float32)
    volumes = voxels.baseline * (1 + percent / 100)
    return Run(np.rint(np.clip(volumes, 0, 32767)).astype(np.int16), motion)


def haemodynamic_response(time_s: Array) -> Array:
    """Return the canonical double-gamma response to 3 s of stimulus at 0, its peak 1; same shape as `time_s`.

    Peaks at 6 s and undershoots at 16 s with a ratio of 1/6, as SPM's does, convolved with the stimulus.
    """
    step_s = 0.1
    fine_s = np.arange(0, 40, step_s)
    impulse = gamma.pdf(fine_s, 6) - gamma.pdf(fine_s, 16) / 6
    response = np.convolve(impulse, np.ones(round(STIMULUS_S / step_s)))[: len(fine_s)]
    return np.interp(time_s, fine_s, response / response.max(), left=0, right=0)


def _trial_responses(onsets_s: Array) -> Array:
    """Return each trial's response over the run: (226, n_trials) float32."""
    time_s = np.arange(VOLUMES_PER_RUN) * TR_S
    return haemodynamic_response(time_s[:, None] - onsets_s[None, :]).astype(np.float32)


def _noise(n_voxels: int, rng: np.random.Generator) -> Array:
    """Return thermal, autoregressive and physiological noise of unit variance: (226, n_voxels) float32."""
    white = rng.standard_normal((2, VOLUMES_PER_RUN, n_voxels), dtype=np.float32)
    autoregressive = lfilter([np.sqrt(1 - AUTOCORRELATION**2)], [1, -AUTOCORRELATION], white[1], axis=0)
    phase = 2 * np.pi * np.arange(VOLUMES_PER_RUN) * TR_S
    physiological = np.zeros((VOLUMES_PER_RUN, n_voxels), np.float32)
    for frequency_hz in (RESPIRATION_HZ, CARDIAC_HZ):
        wander = np.cumsum(rng.normal(0, 0.15, VOLUMES_PER_RUN))
        cycle = phase * frequency_hz * rng.normal(1, 0.05) + wander
        strengths = rng.standard_normal((2, n_voxels))
        physiological += np.outer(np.sin(cycle), strengths[0]) + np.outer(np.cos(cycle), strengths[1])
    # two rhythms, each of variance 1
    return (
        np.sqrt(WHITE_SHARE) * white[0]
        + np.sqrt(AUTOREGRESSIVE_SHARE) * autoregressive
        + np.sqrt(PHYSIOLOGICAL_SHARE / 2) * physiological
    ).astype(np.float32)


def _drift(n_voxels: int, rng: np.random.Generator) -> Array:
    """Return slow drift, cosines of up to three half cycles a run: (226, n_voxels) float32, percent."""
    position = (np.arange(VOLUMES_PER_RUN) + 0.5) / VOLUMES_PER_RUN
    cosines = np.cos(np.pi * np.outer(position, np.arange(1, 4))) / np.arange(1, 4)
    return (cosines @ rng.normal(0, DRIFT_PERCENT, (3, n_voxels))).astype(np.float32)


def _motion(rng: np.random.Generator) -> Array:
    """Return what realignment has left: slow wander, and now and then a spike of a volume or two, (226, 6)."""
    motion = np.cumsum(rng.normal(0, 0.01, (VOLUMES_PER_RUN, 6)), axis=0)
    for _ in range(rng.poisson(SPIKES_PER_RUN)):
        start = rng.integers(VOLUMES_PER_RUN - 2)
        motion[start : start + rng.integers(1, 3)] += rng.normal(0, SPIKE_MM, 6)
    return motion
