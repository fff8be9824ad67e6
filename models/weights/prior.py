"""Bayesian decoding of c: its posterior mean, given a trial, with the training pictures' c as the prior.

Ridge decodes each direction of c by itself, shrunken and noisy. Text embeddings of captions fill a small part of that
space, so the decoded directions are read together. Every training picture is weighted by its likelihood: how probable
the trial's decoded c is if that picture was seen. c is the pictures' weighted mean. The likelihood is Gaussian and the
prior empirical, as in Naselaris et al., Neuron 2009, for natural pictures. Where the trial is clear c regains its
scale; elsewhere it stays small.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .low_rank import LowRankMap

Array = NDArray[Any]

# Pictures with less weight are left out of a mean: all of them together weigh less than float32 resolves.
NEGLIGIBLE = 1e-12
PRIOR_TENSORS = ("gain", "noise", "pictures", "components", "mean")


@dataclass(frozen=True, eq=False)
class PicturePrior:
    """Training pictures' c in principal components, and how trials decode to them.

    Parameters
    ----------
    scores : LowRankMap
        From voxels to the principal components' scores. Ridge adds (1 - gain) × the scores' mean over trials, which is
        subtracted here.
    gain, noise : arrays of shape (n_components,), float32
        A trial's decoded score is Gaussian with the mean gain × the picture's score and the standard deviation noise.
        Both come from held-out trials.
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
        # CPUs multiply float32 natively and float16 not at all.
        return self.components.astype(np.float32)

    @cached_property
    def _expected_scores(self) -> tuple[Array, Array]:
        # The pictures' expected scores in units of noise, and half their squared lengths.
        expected = self.pictures.astype(np.float32) * (self.gain / self.noise)
        return expected, 0.5 * np.einsum("ij,ij->i", expected, expected)

    def picture_weights(self, voxels: Array) -> Array:
        """Return each training picture's posterior probability, (n_trials, n_pictures) float32, rows summing to 1."""
        expected, half_squares = self._expected_scores
        log_likelihood = (self.scores.predict(voxels) / self.noise) @ expected.T - half_squares
        likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
        return likelihood / likelihood.sum(axis=1, keepdims=True)

    def expected(self, voxels: Array) -> Array:
        """Return the posterior mean of c for trials.

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
