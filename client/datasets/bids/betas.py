"""Single-trial responses of a BIDS subject: one volume a trial, in one file a run or a session."""

from typing import Any

import numpy as np

from ....arrays import Array
from .events import BidsRun
from .files import BidsError, BidsFile, finite_voxels


def read_betas(runs: list[BidsRun], images: list[tuple[BidsRun, BidsFile, Any]], voxel_index: Array) -> Array:
    """Return chosen voxels of a session's responses: (n_trials, n_voxels) float32.

    Parameters
    ----------
    runs : the session's runs
    images : a run, its file and its open image; a file without a run in its name has the responses of all runs

    Raises
    ------
    BidsError
        An image has another number of volumes than its runs have trials, or a chosen voxel is not a finite number.
    """
    parts: list[Array] = []
    for run, file, image in images:
        covered = [run] if "run" in file.entities else runs
        n_trials = sum(len(one.rows) for one in covered)
        if image.shape[3] != n_trials:
            names = run.path.name + (f" and {len(covered) - 1} more" if len(covered) > 1 else "")
            raise BidsError(
                f"{file.path} has {image.shape[3]} volumes, but {names} show {n_trials} trials: give one volume a "
                "trial, in the order of the events"
            )
        parts.append(finite_voxels(file.path, image, voxel_index))
    return np.concatenate(parts)
