"""Learns a subject's BOLD prior from training runs: each voxel's HRF, noise and mean response, and the drift.

Each choice maximises the likelihood of the training runs' volumes, each predicted from the volumes before it. Where
the trials' classes are known, the classes of left-out runs choose the drift (`models/bold/baseline.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ...arrays import Array
from ..weights.bold_prior import HRF_SHIFTS_S, BoldPrior, spatial_correlation
from .baseline import can_choose_baseline, choose_baseline
from .estimator import FIRST_ESTIMATE_S, CausalEstimator, StreamingError
from .finished_run import FinishedRun, estimates_of

# chosen one after another, each with the best values of the earlier ones
SHARED = {
    "adaptation_rate": (0.0, 0.025, 0.05, 0.07, 0.1, 0.14, 0.2),
    "amplitude_variance": (0.3, 1.0, 3.0, 10.0),
    "slope_variance": (0.0, 1e-7, 1e-6, 1e-5),
    "drift_variance": (0.0, 0.003, 0.01, 0.03),
}
DRIFT = ("slope_variance", "drift_variance")
BRIEF_S = 6.0
"""Adaptation to a shorter stimulus cannot be told from the shape of the HRF, and is left out."""
SETTLING_VOLUMES = 12
"""The first volumes of a run do not count: every prior predicts them badly."""


def fit_prior(
    runs: Sequence[FinishedRun],
    progress: Callable[[str, int, int], None] | None = None,
    labelled: Sequence[FinishedRun] = (),
) -> BoldPrior:
    """Learn a subject's prior from a few training runs.

    Parameters
    ----------
    runs : sequence of FinishedRun
    progress : called with words, the number of finished steps, and the number of steps
    labelled : sequence of FinishedRun
        Training runs whose classes choose the baseline's freedom. Without final estimates of two runs and two classes,
        the likelihood of `runs` chooses it.

    Raises
    ------
    StreamingError
        Without any run, or if no run is longer than the first `SETTLING_VOLUMES` volumes.
    """
    if not runs:
        raise StreamingError("no BOLD run to learn the prior from; give runs with volumes and onsets")
    n_voxels = runs[0].volumes.shape[1]
    is_labelled = can_choose_baseline(labelled, n_voxels)
    searched = {name: values for name, values in SHARED.items() if not (is_labelled and name in DRIFT)}
    if not _has_long_events(runs):
        del searched["adaptation_rate"]
    n_steps = 1 + len(HRF_SHIFTS_S) + sum(len(values) for values in searched.values())
    done = 0

    def fit_of(prior: BoldPrior) -> _PriorFit:
        nonlocal done
        fit = _fit_of(runs, prior)
        done += 1
        if progress:
            progress("learning from BOLD runs", done, n_steps)
        return fit

    # 1. amplitudes and noise under the vague prior
    first = fit_of(BoldPrior.vague(n_voxels))
    prior = replace(
        BoldPrior.vague(n_voxels),
        amplitude_mean=first.amplitude_mean,
        noise_std=first.noise_std,
        amplitude_variance=1.0,
    )
    # 2. each voxel's HRF
    deviances = [fit_of(replace(prior, hrf_of_voxel=np.full(n_voxels, n))).deviance for n in range(len(HRF_SHIFTS_S))]
    prior = replace(prior, hrf_of_voxel=np.argmin(deviances, axis=0))
    # 3. the values that all voxels share
    for name, values in searched.items():
        variants = [replace(prior, **{name: value}) for value in values]
        prior = min(variants, key=lambda variant: float(fit_of(variant).deviance.mean()))
    if is_labelled:
        prior = choose_baseline(labelled, _with_responses(prior, _fit_of(runs, prior)))
    return _with_responses(prior, _fit_of(runs, prior))


def _with_responses(prior: BoldPrior, fit: "_PriorFit") -> BoldPrior:
    return replace(prior, amplitude_mean=fit.amplitude_mean, noise_std=fit.noise_std)


def _has_long_events(runs: Sequence[FinishedRun]) -> bool:
    return any(run.durations_s is not None and (run.durations_s > BRIEF_S).any() for run in runs)


@dataclass(frozen=True, eq=False)
class _PriorFit:
    """How well a prior fits runs, for each voxel.

    `deviance`: minus twice the mean log likelihood of a volume, up to a constant.
    """

    deviance: Array
    noise_std: Array
    amplitude_mean: Array


def _fit_of(runs: Sequence[FinishedRun], prior: BoldPrior) -> _PriorFit:
    terms, amplitudes, n_volumes, n_trials = np.zeros((2, len(prior.noise_std))), np.zeros(len(prior.noise_std)), 0, 0
    for run in runs:
        estimator = CausalEstimator(run.tr_s, prior)
        run.add_events(estimator)
        for index in run.add_volumes(estimator):
            if index >= SETTLING_VOLUMES:
                terms += estimator.likelihood_terms
                n_volumes += 1
        for event in range(len(run.onsets_s)):
            estimate = estimator.estimate(event)
            if estimate and estimate.since_onset_s > FIRST_ESTIMATE_S:
                amplitudes += estimate.betas
                n_trials += 1
    if not n_volumes:
        raise StreamingError(f"no BOLD run has more than {SETTLING_VOLUMES} volumes; give longer runs")
    squares, logs = terms / n_volumes
    # at the voxel's maximum-likelihood noise variance
    deviance = np.log(np.maximum(squares, 1e-12)) + logs
    # a constant voxel says nothing about its noise
    noise_std = np.where(squares > 0, np.sqrt(squares), 1).astype(np.float32)
    return _PriorFit(deviance, noise_std, (amplitudes / max(n_trials, 1)).astype(np.float32))


def with_reference(prior: BoldPrior, mean_volume: Array, voxel_index: Array, lowest_correlation: float) -> BoldPrior:
    """Return the prior with a reference volume and a threshold that detect misaligned volumes.

    Parameters
    ----------
    mean_volume : array of shape (X, Y, Z), float32
        Mean raw signal of the training runs; NaN outside the recorded voxels.
    voxel_index : array of shape (n_voxels,), int64
    lowest_correlation : float
        The lowest spatial correlation of a training volume with the mean volume.
    """
    mean_signal = mean_volume.reshape(-1)[voxel_index].astype(np.float32)
    shifted = max(_shifted_correlation(mean_volume, voxel_index, axis, step) for axis in range(3) for step in (-1, 1))
    # halfway between the worst training volume and the mean volume shifted by one voxel
    return replace(
        prior, mean_signal=mean_signal, misaligned_below=min((lowest_correlation + shifted) / 2, lowest_correlation)
    )


def _shifted_correlation(mean_volume: Array, voxel_index: Array, axis: int, step: int) -> float:
    """Return the correlation of the mean volume with itself shifted by one voxel, where both are recorded."""
    signal, shifted = (volume.reshape(-1)[voxel_index] for volume in (mean_volume, np.roll(mean_volume, step, axis)))
    recorded = np.isfinite(shifted)
    return spatial_correlation(shifted[recorded], signal[recorded]) if recorded.sum() > 1 else 0.0


class FinalEstimates(NamedTuple):
    """A run's final estimates: `event_number` (n,) int64, `betas` (n, n_voxels) float32, % signal change."""

    event_number: Array
    betas: Array


def learn_prior(
    training: Sequence[FinishedRun],
    mean_volume: Array,
    voxel_index: Array,
    progress: Callable[[str, int, int], None] | None = None,
    labelled: Sequence[FinishedRun] = (),
) -> BoldPrior:
    """Learn a subject's prior, with the reference that detects misaligned volumes, from a few training runs.

    Parameters
    ----------
    mean_volume, voxel_index : arrays
        As in `with_reference`.
    labelled : sequence of FinishedRun
        As in `fit_prior`.
    """
    prior = fit_prior(training, progress, labelled)
    mean_signal = mean_volume.reshape(-1)[voxel_index]
    lowest = min(spatial_correlation(volume, mean_signal) for run in training for volume in run.volumes)
    return with_reference(prior, mean_volume, voxel_index, lowest)


def final_estimates_of(run: FinishedRun, prior: BoldPrior) -> FinalEstimates:
    """Return a run's final estimates, in the order in which a daemon makes them."""
    finals = [(estimate.event_number, estimate.betas) for estimate in estimates_of(run, prior) if estimate.is_final]
    betas = np.array([betas for _, betas in finals], np.float32).reshape(len(finals), run.volumes.shape[1])
    return FinalEstimates(np.array([event for event, _ in finals], np.int64), betas)
