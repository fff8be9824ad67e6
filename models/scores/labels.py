"""Scores of decoded classes: accuracy by seconds after onset, confusion, and calibration of the probabilities."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...arrays import Array
from .metrics import bootstrap_ci

N_BINS = 10
"""Number of bins of the calibration curve, by the probability of the most probable class."""


@dataclass(frozen=True, eq=False)
class DecodedClasses:
    """Decodes of trials whose class is known; arrays have a row for each estimate of a trial.

    Parameters
    ----------
    classes : tuple of str
    probabilities : array of shape (n_estimates, n_classes), float64
    class_of, trial_of : arrays of shape (n_estimates,), int
    since_onset_s : array of shape (n_estimates,), float
    is_final : array of shape (n_estimates,), bool
    """

    classes: tuple[str, ...]
    probabilities: Array
    class_of: Array
    trial_of: Array
    since_onset_s: Array
    is_final: Array

    @property
    def is_right(self) -> Array:
        """Return whether the most probable class is the trial's class: (n_estimates,) bool."""
        return self.probabilities.argmax(axis=1) == self.class_of

    def of(self, chosen: Array) -> "DecodedClasses":
        """Return the chosen estimates, by mask or by index."""
        arrays = ("probabilities", "class_of", "trial_of", "since_onset_s", "is_final")
        return DecodedClasses(self.classes, *(getattr(self, name)[chosen] for name in arrays))

    def after(self, delay_s: float) -> "DecodedClasses":
        """Return each trial's first estimate that is at least `delay_s` after onset."""
        late = np.flatnonzero(self.since_onset_s >= delay_s - 1e-6)
        by_time = late[np.lexsort((self.since_onset_s[late], self.trial_of[late]))]
        return self.of(by_time[np.unique(self.trial_of[by_time], return_index=True)[1]])


def score_classes(decoded: DecodedClasses, tr_s: float, seed: int = 0) -> dict[str, Any]:
    """Score decoded classes.

    Parameters
    ----------
    decoded : DecodedClasses
    tr_s : float
        Delays are multiples of the TR.
    seed : int
        Seed of the bootstrap over trials.

    Returns
    -------
    scores : dict, JSON-ready
        `top1` of final estimates: `mean`, its `ci95`, `n` trials. `chance`: the share of the most frequent class.
        `seconds_after_onset`: by delay, the same accuracy and a `calibration_error`; a trial counts up to its last
        estimate. `confusion`:
        rows are true classes, columns decoded classes, counts of final estimates. `calibration_error`: the mean
        difference between the most probable class's probability and its accuracy, over bins weighted by their trials
        (expected calibration error; Guo et al. 2017). `calibration`: these bins.
    """
    finals = decoded.of(decoded.is_final)
    n_classes = len(decoded.classes)
    confusion = np.zeros((n_classes, n_classes), int)
    np.add.at(confusion, (finals.class_of, finals.probabilities.argmax(axis=1)), 1)
    delays_s = np.unique(np.floor(decoded.since_onset_s / tr_s + 1e-6).astype(int)) * tr_s
    curve, error = calibration(finals)
    return {
        "classes": list(decoded.classes),
        "n_trials": len(finals.class_of),
        "top1": accuracy(finals, seed),
        "chance": float(np.bincount(finals.class_of, minlength=n_classes).max() / max(len(finals.class_of), 1)),
        "seconds_after_onset": {
            f"{delay_s:g}": accuracy(at_delay, seed) | {"calibration_error": calibration(at_delay)[1]}
            for delay_s in delays_s.tolist()
            if len((at_delay := decoded.after(delay_s)).class_of)
        },
        "confusion": confusion.tolist(),
        "calibration_error": error,
        "calibration": curve,
    }


def accuracy(decoded: DecodedClasses, seed: int) -> dict[str, Any]:
    """Return the share of trials whose most probable class is right: `mean`, `ci95` over trials, and `n`."""
    right = decoded.is_right.astype(float)
    return {"mean": float(right.mean()), "ci95": list(bootstrap_ci(right, seed)), "n": len(right)}


def calibration(decoded: DecodedClasses) -> tuple[list[dict[str, float]], float]:
    """Return the calibration curve, by bins that hold trials, and the expected calibration error."""
    best, right = decoded.probabilities.max(axis=1), decoded.is_right
    bins = np.minimum((best * N_BINS).astype(int), N_BINS - 1)
    curve, error = [], 0.0
    for number in np.unique(bins):
        own = bins == number
        probability, share = float(best[own].mean()), float(right[own].mean())
        curve.append({"probability": probability, "accuracy": share, "n": int(own.sum())})
        error += abs(probability - share) * own.mean()
    return curve, float(error)
