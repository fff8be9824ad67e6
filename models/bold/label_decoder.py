"""Fits a decoder of classes from BOLD: the prior, and the label map on estimates under this prior."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from ...arrays import Array
from ..label_fit import fit_label_map
from ..weights.bold_prior import BoldPrior
from ..weights.label_map import LabelMap
from .baseline import labelled_estimates
from .estimator import Estimate
from .finished_run import FinishedRun
from .fit_prior import fit_prior

N_PRIOR_RUNS = 4
"""The fit learns HRFs and noise from so many runs. All labelled runs choose the baseline."""


Run = TypeVar("Run")


class LabelDecoder(NamedTuple):
    """The prior, the classes, the map to them, and the voxels' mean over training trials, (n_voxels,) float32."""

    prior: BoldPrior
    classes: tuple[str, ...]
    map: LabelMap
    voxel_mean: Array

    def probabilities(self, estimate: Estimate) -> Array:
        """Return the probability of each class: (n_classes,) float64. Voxels without signal count as their mean."""
        return self.map.probabilities(np.where(estimate.has_signal, estimate.betas, self.voxel_mean))


def fit_label_decoder(runs: Sequence[FinishedRun]) -> LabelDecoder:
    """Learn the prior from training runs, and fit the label map on all their estimates.

    Parameters
    ----------
    runs : sequence of FinishedRun
        Training runs with labels, without the runs that will be scored.

    Raises
    ------
    StreamingError
        If the runs are too short.
    FitError
        If a class occurs in one run only, or there are too few runs or classes.
    """
    prior = fit_prior(spread(runs, N_PRIOR_RUNS), labelled=runs)
    estimates = labelled_estimates(runs, prior)
    fitted = fit_label_map(estimates)
    return LabelDecoder(prior, estimates.classes, fitted.map, fitted.mean.astype(np.float32))


def spread(runs: Sequence[Run], n: int) -> list[Run]:
    """Return at most `n` runs, spread evenly over all runs."""
    return [runs[at] for at in np.unique(np.linspace(0, len(runs) - 1, n).round().astype(int))] if runs else []
