"""A recorded BOLD run, and its estimates as a daemon makes them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...arrays import Array
from ..weights.bold_prior import BoldPrior
from .estimator import CausalEstimator, Estimate


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A run that has ended, with the volumes that arrived.

    Parameters
    ----------
    volumes : array of shape (n_volumes, n_voxels), float32
        Raw signal.
    onsets_s : array of shape (n_trials,), float
        Seconds after the first volume.
    tr_s : float
    motion : array of shape (n_volumes, 6), float, optional
        Translations in mm, then rotations in rad.
    durations_s : array of shape (n_trials,), float, optional
    labels : tuple of str
        The class of each trial, "" if it is not known. Onsets after the last label have no class.
    index : array of shape (n_volumes,), int, optional
        Each volume's number in the run. Without it no volume is missing.
    """

    volumes: Array
    onsets_s: Array
    tr_s: float
    motion: Array | None = None
    durations_s: Array | None = None
    index: Array | None = None
    labels: tuple[str, ...] = ()

    def label(self, event: int) -> str:
        """Return a trial's class; "" if it is not known."""
        return self.labels[event] if event < len(self.labels) else ""

    def with_labels(self, labels: tuple[str, ...]) -> "FinishedRun":
        """Return the same run with other labels."""
        return replace(self, labels=labels)

    def add_events(self, estimator: CausalEstimator) -> None:
        """Announce all onsets to an estimator."""
        for event, onset_s in enumerate(self.onsets_s):
            duration_s = {} if self.durations_s is None else {"duration_s": float(self.durations_s[event])}
            estimator.add_event(event, float(onset_s), **duration_s)

    def add_volumes(self, estimator: CausalEstimator) -> Iterator[int]:
        """Add the volumes to an estimator one by one; yield each volume's number in the run."""
        for row, voxels in enumerate(self.volumes):
            index = row if self.index is None else int(self.index[row])
            estimator.add_volume(index, voxels, None if self.motion is None else self.motion[row])
            yield index


def estimates_of(run: FinishedRun, prior: BoldPrior) -> Iterator[Estimate]:
    """Yield a run's estimates in a daemon's order; the final estimate of a trial comes last."""
    estimator = CausalEstimator(run.tr_s, prior)
    run.add_events(estimator)
    for _ in run.add_volumes(estimator):
        yield from estimator.current_estimates()
    yield from estimator.finish()
