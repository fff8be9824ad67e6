"""The picture prior, fitted: captions' principal components, and how well held-out trials decode their scores."""

from typing import NamedTuple

import numpy as np
import torch

from ...arrays import Array
from ..weights.low_rank import low_rank_map
from ..weights.prior import PicturePrior
from .fit import RidgeFit
from .linear_algebra import leading_basis
from .memory_maps import release

MAX_COMPONENTS = 512
# Trailing principal components are dropped if together they explain less than this share of c's variance.
MAX_DISCARDED_VARIANCE = 0.001
# If pictures and targets both outnumber this, a subspace is found first.
MANY = 4500
FOUND_FROM = 6144  # targets, drawn at random
CHUNK = 2048


class PrincipalComponents(NamedTuple):
    """c of pictures in fewer numbers: scores (n_pictures, n), components (n, n_targets) and mean (n_targets,)."""

    scores: Array
    components: Array
    mean: Array


def principal_components(c: Array) -> PrincipalComponents:
    """Return the principal components of c, (n_pictures, n_targets) float.

    The smaller of the two covariance matrices is decomposed. Where both are large, a subspace that nearly holds c is
    found first, and a memory map is read a chunk at a time.
    """
    mean = c.mean(axis=0, dtype=np.float64)
    if min(c.shape) > MANY:
        return _principal_components_of_many(c, mean)
    centred = c - mean
    is_wide = len(c) < c.shape[1]
    variance, directions = np.linalg.eigh(centred @ centred.T if is_wide else centred.T @ centred)
    variance, directions = np.maximum(variance[::-1], 0), directions[:, ::-1]
    kept = np.cumsum(variance) < (1 - MAX_DISCARDED_VARIANCE) * variance.sum()
    n = min(int(kept.sum()) + 1, MAX_COMPONENTS)
    components = directions[:, :n].T
    if is_wide:
        components = components @ centred
        components /= np.linalg.norm(components, axis=1, keepdims=True)
    return PrincipalComponents(centred @ components.T, np.ascontiguousarray(components), mean)


def _principal_components_of_many(c: Array, mean: Array) -> PrincipalComponents:
    """Find the principal components within a subspace that nearly holds c, reading c a chunk at a time."""
    found_from = np.sort(np.random.default_rng(0).choice(c.shape[1], min(FOUND_FROM, c.shape[1]), replace=False))
    values = torch.from_numpy((c[:, found_from] - mean[found_from]).astype(np.float32))
    basis = leading_basis(values, MAX_COMPONENTS + 128).numpy()
    inside, total = np.empty((basis.shape[1], c.shape[1]), np.float32), 0.0
    for start in range(0, c.shape[1], CHUNK):
        columns = slice(start, start + CHUNK)
        centred = (c[:, columns] - mean[columns]).astype(np.float32)
        inside[:, columns] = basis.T @ centred
        total += float(np.einsum("ij,ij->", centred, centred, dtype=np.float64))
        release(c)
    variance, directions = np.linalg.eigh((inside @ inside.T).astype(np.float64))
    variance, directions = np.maximum(variance[::-1], 0), directions[:, ::-1]
    n = min(int((np.cumsum(variance) < (1 - MAX_DISCARDED_VARIANCE) * total).sum()) + 1, MAX_COMPONENTS)
    length = np.sqrt(variance[:n])
    components = (directions[:, :n] / length).T.astype(np.float32) @ inside
    return PrincipalComponents(basis @ (directions[:, :n] * length), components, mean)


def picture_prior(
    ridge: RidgeFit, captions: PrincipalComponents, positions: Array, voxel_mean: Array, voxel_std: Array
) -> PicturePrior:
    """Compile the prior from a ridge fitted on the scores of the training pictures' captions.

    Parameters
    ----------
    ridge : RidgeFit
        Of `captions.scores`, from voxels at `positions`.
    captions : PrincipalComponents
        Of the training pictures' c.
    positions : array of shape (n_own,), int64
    voxel_mean, voxel_std : arrays of shape (n_own,), float
        Over training trials, % signal change.
    """
    targets = ridge.targets
    decoded = (ridge.held_out_std > 0) & (ridge.held_out_correlation > 0)
    gain = np.where(decoded, ridge.held_out_correlation * ridge.held_out_std / targets.std, 0)
    noise = np.where(decoded, ridge.held_out_std * np.sqrt(1 - ridge.held_out_correlation**2), 1)
    scores = low_rank_map(
        positions,
        ridge.coefficients / voxel_std[:, None],
        np.eye(len(captions.components)),
        voxel_mean,
        # Ridge shrinks towards the mean over trials, which is not 0 where pictures were shown unequally often.
        targets.value_at_mean - (1 - gain) * targets.mean,
        ridge.target_statistics,
    )
    return PicturePrior(
        scores=scores,
        gain=gain.astype(np.float32),
        noise=noise.astype(np.float32),
        pictures=captions.scores.astype(np.float16),
        components=captions.components.astype(np.float16),
        mean=captions.mean.astype(np.float32),
    )
