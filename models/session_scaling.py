"""z-scores trials within their session, because sessions differ in gain and offset.

`full` uses the whole session, including later trials: for recorded data only. `causal` uses the trials up to and
including the current trial, as would be possible during a scan. The first ten or so trials are then poorly scaled.
"""

import numpy as np

from ..arrays import Array
from ..choices import ZScore


def z_score_sessions(voxels: Array, session_of_trial: Array, how: ZScore) -> Array:
    """z-score each voxel over the trials of each session.

    Parameters
    ----------
    voxels : array of shape (n_trials, n_voxels), float32
        Trials in the order of presentation.
    session_of_trial : array of shape (n_trials,), int
    how : "none" returns the voxels as they are

    Returns
    -------
    z_scored : array of shape (n_trials, n_voxels), float32
        0 for a voxel that has not varied so far.
    """
    if how == "none":
        return voxels
    z_scored = np.empty(voxels.shape, np.float32)
    for session in np.unique(session_of_trial):
        trials = np.flatnonzero(session_of_trial == session)
        z_scored[trials] = _full(voxels[trials]) if how == "full" else _causal(voxels[trials])
    return z_scored


def _full(voxels: Array) -> Array:
    changes = _changes(voxels)
    return _divide(changes - changes.mean(axis=0), np.broadcast_to(changes.std(axis=0), changes.shape))


def _causal(voxels: Array) -> Array:
    changes = _changes(voxels)
    n_so_far = np.arange(1, len(voxels) + 1)[:, None]
    mean = np.cumsum(changes, axis=0) / n_so_far
    variance = np.cumsum(changes**2, axis=0) / n_so_far - mean**2
    return _divide(changes - mean, np.sqrt(np.maximum(variance, 0)))


def _changes(voxels: Array) -> Array:
    """Return the change from the first trial: a large offset would cost the variance precision."""
    return voxels.astype(np.float64) - voxels[0]


def _divide(deviation: Array, std: Array) -> Array:
    return np.divide(deviation, std, out=np.zeros_like(deviation), where=std > 0)
