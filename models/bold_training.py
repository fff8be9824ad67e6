"""What training runs say of a subject's BOLD before a run begins: each voxel's HRF, noise, mean response, and drift.

Everything is chosen by one measure: how well each volume of the training runs is foreseen from the volumes before it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bold_prior import HRF_SHIFTS_S, BoldPrior, likeness
from .causal import FIRST_ESTIMATE_S, CausalEstimator, Estimate
from .streaming import StreamingError

Array = NDArray[Any]

# tried in turn, each with what was best of those before
SHARED = {
    "amplitude_variance": (0.3, 1.0, 3.0, 10.0),
    "slope_variance": (0.0, 1e-7, 1e-6, 1e-5),
    "drift_variance": (0.0, 0.003, 0.01, 0.03),
}
SETTLED_VOLUMES = 12
"""The first volumes of a run are foreseen badly by every prior."""


@dataclass(frozen=True, eq=False)
class BoldRun:
    """A run that is over.

    Parameters
    ----------
    volumes : array of shape (n_volumes, n_voxels), float32
        Raw signal.
    index : array of shape (n_volumes,), int, optional
        Each volume's number in the run; without it none is missing.
    onsets_s : array of shape (n_trials,), float
        Seconds after the first volume.
    tr_s : float
    motion : array of shape (n_volumes, 6), float, optional
        mm and rad.
    durations_s : array of shape (n_trials,), float, optional
    """

    volumes: Array
    onsets_s: Array
    tr_s: float
    motion: Array | None = None
    durations_s: Array | None = None
    index: Array | None = None

    def announce(self, estimator: CausalEstimator) -> None:
        """Give an estimator all onsets."""
        for event, onset_s in enumerate(self.onsets_s):
            duration_s = {} if self.durations_s is None else {"duration_s": float(self.durations_s[event])}
            estimator.add_event(event, float(onset_s), **duration_s)

    def give(self, estimator: CausalEstimator) -> Iterator[int]:
        """Give an estimator the volumes, one by one; yield each one's number in the run."""
        for row, voxels in enumerate(self.volumes):
            index = row if self.index is None else int(self.index[row])
            estimator.add_volume(index, voxels, None if self.motion is None else self.motion[row])
            yield index


def fit_prior(runs: Sequence[BoldRun], progress: Callable[[str, int, int], None] | None = None) -> BoldPrior:
    """Learn a subject's prior from training runs; a few are enough.

    Raises
    ------
    StreamingError
        Without any run.
    """
    if not runs:
        raise StreamingError("no BOLD run to learn the prior from; give runs with volumes and onsets")
    n_voxels = runs[0].volumes.shape[1]
    n_steps = 1 + len(HRF_SHIFTS_S) + sum(len(values) for values in SHARED.values())
    done = 0

    def foreseen(prior: BoldPrior) -> _Foreseen:
        nonlocal done
        answer = _foresee(runs, prior)
        done += 1
        if progress:
            progress("learning from BOLD runs", done, n_steps)
        return answer

    # 1. amplitudes and noise, as somebody sees them who knows nothing
    first = foreseen(BoldPrior.vague(n_voxels))
    prior = replace(
        BoldPrior.vague(n_voxels),
        amplitude_mean=first.amplitude_mean,
        noise_std=first.noise_std,
        amplitude_variance=1.0,
    )
    # 2. each voxel's HRF
    scores = [foreseen(replace(prior, hrf_of_voxel=np.full(n_voxels, n))).score for n in range(len(HRF_SHIFTS_S))]
    prior = replace(prior, hrf_of_voxel=np.argmin(scores, axis=0))
    # 3. what all voxels share
    for name, values in SHARED.items():
        variants = [replace(prior, **{name: value}) for value in values]
        prior = min(variants, key=lambda variant: float(foreseen(variant).score.mean()))
    last = _foresee(runs, prior)
    return replace(prior, amplitude_mean=last.amplitude_mean, noise_std=last.noise_std)


@dataclass(frozen=True, eq=False)
class _Foreseen:
    """How runs went under a prior, per voxel: minus twice the mean log likelihood of a volume, up to a constant."""

    score: Array
    noise_std: Array
    amplitude_mean: Array


def _foresee(runs: Sequence[BoldRun], prior: BoldPrior) -> _Foreseen:
    misses, amplitudes, n_volumes, n_trials = np.zeros((2, len(prior.noise_std))), np.zeros(len(prior.noise_std)), 0, 0
    for run in runs:
        estimator = CausalEstimator(run.tr_s, prior)
        run.announce(estimator)
        for index in run.give(estimator):
            if index >= SETTLED_VOLUMES:
                misses += estimator.misses
                n_volumes += 1
        for event in range(len(run.onsets_s)):
            estimate = estimator.estimate(event)
            if estimate and estimate.since_onset_s > FIRST_ESTIMATE_S:
                amplitudes += estimate.betas
                n_trials += 1
    squares, logs = misses / n_volumes
    # with the noise variance that suits the voxel best
    score = np.log(np.maximum(squares, 1e-12)) + logs
    return _Foreseen(score, np.sqrt(squares).astype(np.float32), (amplitudes / max(n_trials, 1)).astype(np.float32))


def with_reference(prior: BoldPrior, mean_volume: Array, voxel_index: Array, lowest_likeness: float) -> BoldPrior:
    """Return the prior with what later volumes are compared with, to tell whether they lie elsewhere in the head.

    Parameters
    ----------
    mean_volume : array of shape (X, Y, Z), float32
        Raw signal, over the training runs; NaN where none was recorded.
    voxel_index : array of shape (n_voxels,), int64
    lowest_likeness : float
        Of a training run's volume.
    """
    mean_signal = mean_volume.reshape(-1)[voxel_index].astype(np.float32)
    shifted = max(_likeness_shifted(mean_volume, voxel_index, axis, step) for axis in range(3) for step in (-1, 1))
    # halfway between the least alike of those that lie right and one that lies a voxel away
    return replace(
        prior, mean_signal=mean_signal, misaligned_below=min((lowest_likeness + shifted) / 2, lowest_likeness)
    )


def _likeness_shifted(mean_volume: Array, voxel_index: Array, axis: int, step: int) -> float:
    """Return how alike the mean volume and itself, moved by a voxel, are, over the voxels where both are known."""
    signal, moved = (volume.reshape(-1)[voxel_index] for volume in (mean_volume, np.roll(mean_volume, step, axis)))
    known = np.isfinite(moved)
    return likeness(moved[known], signal[known]) if known.sum() > 1 else 0.0


def estimates_of(run: BoldRun, prior: BoldPrior) -> Iterator[Estimate]:
    """Yield a run's estimates as they are made while it goes on: each trial's at every volume, the final one last."""
    estimator = CausalEstimator(run.tr_s, prior)
    run.announce(estimator)
    for _ in run.give(estimator):
        yield from estimator.unfolding()
    yield from estimator.finish()
