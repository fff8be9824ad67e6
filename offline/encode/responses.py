"""Every voxel's mean response to every picture, on disk: 10,000 pictures of a whole brain are 9 GB."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...client.datasets.data_set import DataSet

Array = NDArray[Any]


def write_mean_responses(
    path: Path,
    data: DataSet,
    subject: int,
    nsd_ids: Array,
    voxel_index: Array,
    report: Callable[[str, int, int], None],
) -> None:
    """Average each picture's betas over its trials into a file, (n_pictures, n_voxels) float32, % signal change.

    Parameters
    ----------
    nsd_ids : array of shape (n_pictures,), int64
        Sorted; trials of other pictures are left out.
    voxel_index : array of shape (n_voxels,), int64
        Into the C-order flattened volume.
    """
    shape = (len(nsd_ids), len(voxel_index))
    row_of_id = {int(nsd_id): row for row, nsd_id in enumerate(nsd_ids)}
    trials = data.trials(subject)
    rows_of_trials = np.array([row_of_id.get(int(nsd_id), -1) for nsd_id in trials.nsd_id])
    n_trials = np.bincount(rows_of_trials[rows_of_trials >= 0], minlength=len(nsd_ids))
    np.memmap(path, np.float32, "w+", shape=shape).flush()
    sessions = np.unique(trials.session).tolist()
    for n, session in enumerate(sessions):
        betas = data.masked_betas(subject, [session], voxel_index)
        # mapped anew for each session: pages that were written do not add up in this process
        means = np.memmap(path, np.float32, "r+", shape=shape)
        for row, response in zip(rows_of_trials[trials.session == session], betas, strict=True):
            if row >= 0:
                means[row] += response / n_trials[row]
        means.flush()
        del means
        report("averaging responses", n + 1, len(sessions))


def mean_responses(path: Path, n_pictures: int) -> Array:
    """Open what `write_mean_responses` wrote."""
    return np.memmap(path, np.float32, "r").reshape(n_pictures, -1)
