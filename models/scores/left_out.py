"""How well trials are identified by decoders that were fitted without their pictures: what an operator is told."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from ..constant_features import is_varying
from ..ridge.design import standardise
from ..ridge.folds import Folds, picture_folds
from ..ridge.training_trials import TrainingTrials
from ..weights.weights import Weights
from .metrics import bootstrap_ci, identified_among_seen, mean_by_picture, unit_rows

Array = NDArray[Any]


class TwoWay(NamedTuple):
    """A share, 0–1, chance 0.5, with its 95 % interval over pictures."""

    mean: float
    low: float
    high: float


def two_way_left_out(weights: Weights, trials: TrainingTrials, n_folds: int, seed: int = 0) -> TwoWay:
    """Return the share of other left-out pictures that fit left-out trials' z and c worse than the pictures seen do.

    The likeness is the retrieval's (`models/weights/candidates.py`). Rivals are the pictures that were left out
    together: predictions resemble the pictures that they were fitted on. Each target has the median penalty of the
    weights' own fit on all trials.

    Parameters
    ----------
    weights : Weights
        Fitted on these trials: which voxels z and c are decoded from, and the penalties.
    trials : TrainingTrials
    n_folds : int
        All trials of a picture are left out together.
    """
    picture_of_trial = trials.picture_of_trial
    folds = picture_folds(picture_of_trial, n_folds, grouped=True)
    parts = ((weights.z, trials.z, weights.card.alphas_z), (weights.c, trials.c, weights.card.alphas_c))
    likeness = np.zeros((len(trials), len(trials.z)))
    for part, targets, (_, penalty, _) in parts:
        own = np.ascontiguousarray(trials.voxels[:, part.positions])
        likeness += _likeness_left_out(own, picture_of_trial, _standardised(targets), penalty, folds) / len(parts)
    rivals = np.zeros(likeness.shape, bool)
    for _, held_out in folds:
        rivals[np.ix_(held_out, np.unique(picture_of_trial[held_out]))] = True
    scores = identified_among_seen(likeness, picture_of_trial, rivals)
    identified = mean_by_picture(scores, picture_of_trial, len(trials.z))
    seen = identified[np.isfinite(identified)]
    return TwoWay(float(seen.mean()), *bootstrap_ci(seen, seed))


def _likeness_left_out(voxels: Array, picture_of_trial: Array, targets: Array, penalty: float, folds: Folds) -> Array:
    """Return the correlation of left-out trials' predictions with every picture's targets: (n_trials, n_pictures)."""
    likeness, rows = np.empty((len(voxels), len(targets))), unit_rows(targets)
    for training, held_out in folds:
        x, mean, std = standardise(voxels[training])
        new = (voxels[held_out] - mean) / std
        inner = x.astype(np.float64) @ x.T
        inner[np.diag_indices_from(inner)] += max(penalty, np.finfo(np.float32).eps * float(np.trace(inner)))
        share = cho_solve(cho_factor(inner, overwrite_a=True), x @ new.T).T
        # share.shape = (n_held_out, n_training): how much of each training trial's targets is in a prediction
        seen, own = np.unique(picture_of_trial[training], return_inverse=True)
        of_picture = np.zeros((len(seen), len(held_out)))
        np.add.at(of_picture, own, share.T)
        shown = targets[seen]
        # Without the mean that predictions are about: it is the same for all trials, and a decoder whose scale was
        # restored hardly feels it.
        shown = shown - np.bincount(own) / len(own) @ shown
        likeness[held_out] = unit_rows(of_picture.T @ shown) @ rows.T
    return likeness


def _standardised(targets: Array) -> Array:
    """Return targets as the retrieval compares them: those that vary, standardised over pictures, float32."""
    targets = targets.reshape(len(targets), -1).astype(np.float32)
    spread = targets.std(axis=0)
    varying = is_varying(spread)
    return (targets[:, varying] - targets[:, varying].mean(axis=0)) / spread[varying]
