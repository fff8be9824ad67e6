"""Writes every voxel's mean response to every picture to disk: 10,000 pictures of a whole brain need 9 GB."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...arrays import Array
from ...client.datasets.data_set import DataSet


def write_mean_responses(
    path: Path,
    data: DataSet,
    subject: int,
    nsd_ids: Array,
    voxel_index: Array,
    report: Callable[[str, int, int], None],
) -> None:
    """Average each picture's betas over trials into a file: (n_pictures, n_voxels) float32, % signal change.

    Parameters
    ----------
    nsd_ids : array of shape (n_pictures,), int64
        Sorted picture ids. Trials of other pictures are left out.
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
        # The file is mapped anew for each session: so written pages do not accumulate in this process's memory.
        means = np.memmap(path, np.float32, "r+", shape=shape)
        for row, response in zip(rows_of_trials[trials.session == session], betas, strict=True):
            if row >= 0:
                means[row] += response / n_trials[row]
        means.flush()
        del means
        report("averaging responses", n + 1, len(sessions))


def mean_responses(path: Path, n_pictures: int) -> Array:
    """Open the file of `write_mean_responses`: (n_pictures, n_voxels) float32."""
    return np.memmap(path, np.float32, "r").reshape(n_pictures, -1)
