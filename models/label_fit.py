"""Fits a label map: a ridge regression of one-hot classes on estimates, and calibrated probabilities.

A block is decoded while it goes on, so the regression learns from every estimate of a training trial, the
provisional estimates too. The folds of the cross-validation are whole runs, because neighbouring volumes share noise.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from ..arrays import Array
from .fit_profiles import FitError
from .ridge.design import make_design, standardise
from .ridge.fit import RidgeFit, fit_targets
from .ridge.folds import Folds, picture_folds
from .ridge.problem import RidgeProblem, RidgeTargets
from .weights.label_map import LabelMap
from .weights.low_rank import low_rank_map

PENALTIES = tuple(float(penalty) for penalty in np.logspace(0, 6, 13))
MOST_FOLDS = 12
SLOPES = (0.1, 1000.0)
"""Limits of the slope. Scores differ by about 1 between two classes, and by about 0.01 between hundreds."""


@dataclass(frozen=True, eq=False)
class LabelledEstimates:
    """Estimates of trials whose class is known.

    Parameters
    ----------
    classes : tuple of str
    voxels : array of shape (n_estimates, n_voxels), float32
        % signal change.
    class_of, run_of, trial_of : arrays of shape (n_estimates,), int
        Position in `classes`, and numbers of the estimate's run and trial.
    """

    classes: tuple[str, ...]
    voxels: Array
    class_of: Array
    run_of: Array
    trial_of: Array

    def check(self) -> None:
        """Refuse estimates that no label map can be fitted on.

        Raises
        ------
        FitError
            If no trial has an estimate, there is only one run or one class, or all trials of a class are in one run.
            No cross-validation can score a class of one run.
        """
        if not len(self.class_of):
            raise FitError(
                "no trial with a class has an estimate: give runs that go on for 4 s after the onsets, and onsets in "
                "seconds after the first volume"
            )
        if len(np.unique(self.run_of)) < 2:
            raise FitError("the classes occur in one run only; labels are cross-validated over runs: give two or more")
        if len(self.classes) < 2:
            raise FitError(f"the trials are of one class, {', '.join(self.classes)}; give trials of two or more")
        for number, name in enumerate(self.classes):
            n_runs = len(np.unique(self.run_of[self.class_of == number]))
            if n_runs < 2:
                where = "one training run only" if n_runs else "no training run that goes on for 4 s after the onset"
                raise FitError(
                    f"class {name!r} occurs in {where}; show it in two or more runs, or leave its trials "
                    "out (n/a in the events table)"
                )


@dataclass(frozen=True, eq=False)
class FittedLabels:
    """A label map, the voxels' mean and standard deviation over training estimates, and cross-validated scores.

    `mean`, `std`: arrays of shape (n_voxels,), float64. `scores`: "labels_top1" and "labels_log_loss" (nats), mean over
    trials of left-out runs.
    """

    map: LabelMap
    mean: Array
    std: Array
    scores: dict[str, float]


def fit_label_map(estimates: LabelledEstimates, device: str = "cpu") -> FittedLabels:
    """Fit a label map on all voxels of the estimates.

    Raises
    ------
    FitError
        If `LabelledEstimates.check` refuses the estimates.
    """
    estimates.check()
    z_scored, mean, std = standardise(estimates.voxels)
    ridge, folds = fit_classes(z_scored, estimates, device)
    held_out = _held_out_scores(ridge, z_scored, folds)
    weights = 1 / np.bincount(estimates.trial_of)[estimates.trial_of]
    slope = _calibrated_slope(held_out, estimates.class_of, weights)
    scores = low_rank_map(
        np.arange(len(mean)),
        ridge.coefficients / std[:, None],
        np.eye(len(estimates.classes)),
        mean,
        ridge.targets.value_at_mean,
        ridge.target_statistics,
    )
    right = held_out.argmax(axis=1) == estimates.class_of
    return FittedLabels(
        LabelMap(scores, slope),
        mean,
        std,
        {
            "labels_top1": float(np.average(right, weights=weights)),
            "labels_log_loss": _log_loss(slope, held_out, estimates.class_of, weights),
        },
    )


def fit_classes(z_scored: Array, estimates: LabelledEstimates, device: str = "cpu") -> tuple[RidgeFit, Folds]:
    """Fit the one-hot classes on z-scored voxels; each class has its own penalty. Each fold leaves out runs.

    Parameters
    ----------
    z_scored : array of shape (n_estimates, n_voxels), float32
        From `standardise`.
    """
    n_classes = len(estimates.classes)
    design = make_design(z_scored, estimates.class_of, n_classes, device=device)
    folds = picture_folds(estimates.run_of, min(len(np.unique(estimates.run_of)), MOST_FOLDS), grouped=True)
    return fit_targets(RidgeProblem(design, folds, PENALTIES), np.eye(n_classes, dtype=np.float32)), folds


def _held_out_scores(ridge: RidgeFit, z_scored: Array, folds: Folds) -> Array:
    """Return the scores of each estimate by a fit without the estimate's run: (n_estimates, n_classes) float64."""
    class_of, n_classes = ridge.design.picture_of_trial, len(ridge.targets)
    held_out = np.empty((len(z_scored), n_classes))
    for training, left_out in folds:
        design = make_design(z_scored[training], class_of[training], n_classes, device=str(ridge.design.device))
        targets = RidgeTargets.of(ridge.targets.by_picture, design)
        # A class that is missing in the fold's training runs is constant there, and scores its mean, 0.
        penalties = np.where(np.isin(np.arange(n_classes), targets.varying), ridge.penalties, np.nan)
        fit = RidgeFit(design, targets, penalties, *np.zeros((3, n_classes)))
        centred = z_scored[left_out] - z_scored[training].mean(axis=0)
        held_out[left_out] = centred @ fit.coefficients + targets.value_at_mean
    return held_out


def _calibrated_slope(scores: Array, class_of: Array, weights: Array) -> float:
    """Return the slope that gives the smallest log loss on left-out runs."""
    found = minimize_scalar(
        lambda log_slope: _log_loss(float(np.exp(log_slope)), scores, class_of, weights),
        bounds=np.log(SLOPES),
        method="bounded",
    )
    return float(np.exp(found.x))


def _log_loss(slope: float, scores: Array, class_of: Array, weights: Array) -> float:
    own = log_softmax(slope * scores, axis=1)[np.arange(len(scores)), class_of]
    return float(-np.average(own, weights=weights))
