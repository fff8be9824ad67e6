"""What the training pictures say about a decoded c: its expected value, given that it describes a picture like them.

Ridge decodes each direction of c by itself, shrunken and noisy. Text embeddings of captions fill a small part of that
space, so the decoded directions are read together: every training picture is weighted by how likely its c would have
been decoded as this one was, and c is the pictures' weighted mean (a Gaussian likelihood with an empirical prior, as
Naselaris et al., Neuron 2009, used for natural pictures). Scale comes back where the trial is clear, and stays small
where it is not.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .low_rank import LowRankMap, low_rank_map

if TYPE_CHECKING:
    from .ridge import RidgeFit

Array = NDArray[Any]

MAX_COMPONENTS = 512
# Principal components of c that hold less than this share of its variance, all together, are left out.
MAX_DISCARDED_VARIANCE = 0.001
# Principal components of more pictures and numbers than this come from a random part of the numbers, chunk by chunk.
MANY = 4500
FOUND_FROM = 6144
CHUNK = 2048
# Pictures with less weight than this are left out of a mean; all of them together weigh less than float32 resolves.
NEGLIGIBLE = 1e-12
PRIOR_TENSORS = ("gain", "noise", "pictures", "components", "mean")


@dataclass(frozen=True, eq=False)
class PicturePrior:
    """Training pictures' c in principal components, and how trials decode to them.

    Parameters
    ----------
    scores : LowRankMap
        From voxels to the principal components' scores, less what shrinkage adds: (1 - gain) × their mean over trials.
    gain, noise : arrays of shape (n_components,), float32
        A trial's decoded score is gain × the picture's score, give or take a standard deviation of `noise`; from
        trials left out of the fit.
    pictures : array of shape (n_pictures, n_components), float16
        The training pictures' scores.
    components : array of shape (n_components, n_targets), float16
    mean : array of shape (n_targets,), float32
        Of the training pictures' c.
    """

    scores: LowRankMap
    gain: Array
    noise: Array
    pictures: Array
    components: Array
    mean: Array

    @cached_property
    def _wide_components(self) -> Array:
        # CPUs multiply float32 natively and float16 not at all
        return self.components.astype(np.float32)

    @cached_property
    def _expected_scores(self) -> tuple[Array, Array]:
        # in units of noise, and half their squared lengths
        expected = self.pictures.astype(np.float32) * (self.gain / self.noise)
        return expected, 0.5 * np.einsum("ij,ij->i", expected, expected)

    def picture_weights(self, voxels: Array) -> Array:
        """Return how likely each training picture is for trials: (n_trials, n_pictures) float32, rows summing to 1."""
        expected, half_squares = self._expected_scores
        log_likelihood = (self.scores.predict(voxels) / self.noise) @ expected.T - half_squares
        likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
        return likelihood / likelihood.sum(axis=1, keepdims=True)

    def expected(self, voxels: Array) -> Array:
        """Return c expected for trials.

        Parameters
        ----------
        voxels : array of shape (n_trials, n_voxels), float32
            All the weights' voxels, % signal change.

        Returns
        -------
        c : array of shape (n_trials, n_targets), float32
        """
        weights = self.picture_weights(voxels)
        likely = (weights > NEGLIGIBLE).any(axis=0)
        scores = weights[:, likely] @ self.pictures[likely].astype(np.float32)
        return scores @ self._wide_components + self.mean


class PrincipalComponents(NamedTuple):
    """c of pictures in fewer numbers: scores (n_pictures, n), components (n, n_targets) and mean (n_targets,)."""

    scores: Array
    components: Array
    mean: Array


def principal_components(c: Array) -> PrincipalComponents:
    """Return the principal components of c, (n_pictures, n_targets), from the smaller side of it.

    Of very many numbers a subspace that nearly holds them is found first; a memory map is read a chunk at a time.
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
    import torch

    from .design import leading_basis
    from .kept import release

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
    ridge: "RidgeFit", captions: PrincipalComponents, positions: Array, voxel_mean: Array, voxel_std: Array
) -> PicturePrior:
    """Compile the prior from a ridge fitted on the scores of the training pictures' captions.

    Parameters
    ----------
    ridge : RidgeFit
        Of `captions.scores`, from voxels at `positions`.
    voxel_mean, voxel_std : arrays of shape (n_own,), float
    """
    decoded = (ridge.held_out_std > 0) & (ridge.held_out_correlation > 0)
    gain = np.where(decoded, ridge.held_out_correlation * ridge.held_out_std / ridge.target_std, 0)
    noise = np.where(decoded, ridge.held_out_std * np.sqrt(1 - ridge.held_out_correlation**2), 1)
    scores = low_rank_map(
        positions,
        ridge.coefficients / voxel_std[:, None],
        np.eye(len(captions.components)),
        voxel_mean,
        # ridge shrinks towards the mean over trials, which is not 0 where pictures were shown unequally often
        value_at_mean=ridge.value_at_mean - (1 - gain) * ridge.target_mean,
        target_mean=ridge.target_mean,
        target_std=ridge.target_std,
        cv_correlation=ridge.held_out_correlation,
    )
    return PicturePrior(
        scores=scores,
        gain=gain.astype(np.float32),
        noise=noise.astype(np.float32),
        pictures=captions.scores.astype(np.float16),
        components=captions.components.astype(np.float16),
        mean=captions.mean.astype(np.float32),
    )
