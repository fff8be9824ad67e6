"""Writes every voxel's mean response to every picture to disk: 10,000 pictures of a whole brain need 9 GB."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ...arrays import Array
from ...client.datasets.bids.folder import BOLD
from ...client.datasets.data_set import BoldDataSet, DataSet
from ...models.weights.bold_prior import BoldPrior
from ..fit.bold import SubjectRuns, final_estimates, read_prior

Report = Callable[[str, int, int], None]


def trials_with_responses(data: DataSet, subject: int) -> Array:
    """Return the rows of the trials that have a response and a picture, rising: (n_trials,) int.

    Of responses that are estimated from BOLD, a run's last trials may have none.
    """
    (shown,) = np.nonzero(data.trials(subject).has_picture)
    if data.estimates != BOLD:
        return shown
    assert isinstance(data, BoldDataSet)
    # Which trials have an estimate depends on the volumes' times alone, so one voxel tells.
    one_voxel = np.flatnonzero(data.brainmask(subject))[:1]
    return np.intersect1d(shown, final_estimates(data, subject, one_voxel, BoldPrior.vague(1)).rows)


def write_mean_responses(
    path: Path, data: DataSet, subject: int, nsd_ids: Array, voxel_index: Array, report: Report
) -> None:
    """Average each picture's responses over trials into a file: (n_pictures, n_voxels) float32, % signal change.

    Responses that the data set estimates from BOLD are estimated under a prior that is learned here, from runs without
    test trials if there are any.

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
    with_response = np.isin(np.arange(len(trials)), trials_with_responses(data, subject))
    rows_of_trials = np.array([row_of_id.get(int(nsd_id), -1) for nsd_id in trials.nsd_id])
    rows_of_trials[~with_response] = -1
    n_trials = np.bincount(rows_of_trials[rows_of_trials >= 0], minlength=len(nsd_ids))
    np.memmap(path, np.float32, "w+", shape=shape).flush()
    for trial_rows, responses in _responses(data, subject, voxel_index, report):
        # The file is mapped anew for each part: so written pages do not accumulate in this process's memory.
        means = np.memmap(path, np.float32, "r+", shape=shape)
        for row, response in zip(rows_of_trials[trial_rows], responses, strict=True):
            if row >= 0:
                means[row] += response / n_trials[row]
        means.flush()
        del means


def _responses(data: DataSet, subject: int, voxel_index: Array, report: Report) -> Iterator[tuple[Array, Array]]:
    """Yield a session's or a run's responses: the trials' rows, and (n_trials, n_voxels) float32."""
    if data.estimates == BOLD:
        assert isinstance(data, BoldDataSet)
        prior = read_prior(data, subject, voxel_index, report).prior
        yield from SubjectRuns(data, subject, voxel_index).estimates(prior, report)
        return
    trials = data.trials(subject)
    sessions = np.unique(trials.session).tolist()
    for n, session in enumerate(sessions):
        yield np.flatnonzero(trials.session == session), data.masked_betas(subject, [session], voxel_index)
        report("averaging responses", n + 1, len(sessions))


def mean_responses(path: Path, n_pictures: int) -> Array:
    """Open the file of `write_mean_responses`: (n_pictures, n_voxels) float32."""
    return np.memmap(path, np.float32, "r").reshape(n_pictures, -1)
