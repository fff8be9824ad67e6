"""A ridge regression that is to be solved: a design, folds, penalties to choose from, and the targets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...arrays import Array
from ..constant_features import is_varying
from .design import Design
from .folds import Folds
from .memory_maps import read_columns

Progress = Callable[[float], None]
"""Takes the finished share of the work, 0–1."""

TARGETS_PER_CHUNK = 2048


@dataclass(frozen=True, eq=False)
class RidgeProblem:
    """Everything that determines a ridge regression but its targets.

    Parameters
    ----------
    design : Design
    folds : list of (training trials, held-out trials)
        From `picture_folds`, of the design's trials.
    penalties : sequence of float
        Candidate penalties, one of which is chosen for each target. They add to the sum of squared errors over trials.
    """

    design: Design
    folds: Folds
    penalties: Sequence[float]

    @property
    def falling_penalties(self) -> Array:
        """Return the penalties, largest first: (n_penalties,) float64."""
        return np.sort(np.asarray(self.penalties, float))[::-1]


@dataclass(frozen=True, eq=False)
class RidgeTargets:
    """Targets of pictures, read a chunk at a time: z or c of 10,000 pictures may exceed the memory.

    Parameters
    ----------
    by_picture : array of shape (n_pictures, n_targets), float
        May be a memory map.
    mean, std : arrays of shape (n_targets,), float64
        Over trials.
    value_at_mean : array of shape (n_targets,), float64
        Prediction for a trial whose voxels are all at their mean: the targets' mean, or 0 without an intercept.
    device : torch.device
    """

    by_picture: Array
    mean: Array
    std: Array
    value_at_mean: Array
    device: torch.device

    @classmethod
    def of(cls, by_picture: Array, design: Design) -> "RidgeTargets":
        """Describe the targets, (n_pictures, n_targets), of the pictures that the design's trials showed."""
        mean, std = _moments_over_trials(by_picture, design.picture_of_trial)
        value_at_mean = mean if design.intercept else np.zeros(by_picture.shape[1])
        return cls(by_picture, mean, std, value_at_mean, design.device)

    def __len__(self) -> int:
        """Return the number of targets."""
        return len(self.mean)

    @property
    def varying(self) -> Array:
        """Return the numbers of the targets that vary, (n_varying,) int."""
        return np.flatnonzero(is_varying(self.std))

    def deviations(self, numbers: Array) -> torch.Tensor:
        """Return some targets minus `value_at_mean`, (n_pictures, n) float32.

        Subtracting first preserves small differences in float32.

        Parameters
        ----------
        numbers : array of shape (n,), int
            In rising order.
        """
        values = read_columns(self.by_picture, numbers) - self.value_at_mean[numbers].astype(np.float32)
        return torch.as_tensor(values, device=self.device)


def in_chunks(targets: Array) -> list[Array]:
    """Split target numbers into chunks that are read and solved at once."""
    return np.split(targets, range(TARGETS_PER_CHUNK, len(targets), TARGETS_PER_CHUNK))


def _moments_over_trials(targets: Array, picture_of_trial: Array) -> tuple[Array, Array]:
    """Return the targets' mean and standard deviation over trials, float64."""
    share_of_trials = np.bincount(picture_of_trial, minlength=len(targets)).astype(np.float32) / len(picture_of_trial)
    mean, std = np.empty(targets.shape[1]), np.empty(targets.shape[1])
    for columns in in_chunks(np.arange(targets.shape[1])):
        chunk = read_columns(targets, columns)
        first = chunk[0].copy()
        # Less the first picture's values, so that float32 keeps small differences between large values.
        chunk -= first
        offset = share_of_trials @ chunk
        mean[columns] = first + offset.astype(np.float64)
        chunk -= offset
        std[columns] = np.sqrt(share_of_trials @ np.square(chunk, out=chunk))
    return mean, std
