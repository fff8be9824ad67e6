"""Fits everything that decodes classes from BOLD: the prior, and the label map on estimates under this prior."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ...arrays import Array
from ..label_fit import FittedLabels, fit_label_map
from ..weights.bold_prior import BoldPrior
from .baseline import labelled_estimates
from .estimator import Estimate
from .finished_run import FinishedRun
from .fit_prior import fit_prior

N_PRIOR_RUNS = 4
"""Runs that the HRFs and the noise are learned from. All labelled runs choose the baseline."""


class LabelDecoder(NamedTuple):
    """The prior, the classes, and the fit of the label map."""

    prior: BoldPrior
    classes: tuple[str, ...]
    fitted: FittedLabels

    def probabilities(self, estimate: Estimate) -> Array:
        """Return the probability of each class: (n_classes,) float64. Voxels without signal count as their mean."""
        return self.fitted.map.probabilities(
            np.where(estimate.has_signal, estimate.betas, self.fitted.mean.astype(np.float32))
        )


def fit_label_decoder(
    runs: Sequence[FinishedRun], progress: Callable[[str, int, int], None] | None = None, device: str = "cpu"
) -> LabelDecoder:
    """Learn the prior from training runs, and fit the label map on all their estimates.

    Parameters
    ----------
    runs : sequence of FinishedRun
        Training runs with labels; no run that is to be scored.
    progress : called with words, the number of finished steps, and the number of steps
    device : torch's name of the device

    Raises
    ------
    StreamingError
        If the runs are too short.
    FitError
        If a class occurs in one run only, or there are too few runs or classes.
    """
    prior = fit_prior(spread(runs, N_PRIOR_RUNS), progress, runs)
    estimates = labelled_estimates(runs, prior)
    return LabelDecoder(prior, estimates.classes, fit_label_map(estimates, device))


def spread(runs: Sequence[FinishedRun], n: int) -> list[FinishedRun]:
    """Return at most `n` runs, spread evenly over all runs."""
    return [runs[at] for at in np.unique(np.linspace(0, len(runs) - 1, n).round().astype(int))] if runs else []
