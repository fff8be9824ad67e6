"""Bayesian decoding of c: its posterior mean, given a trial, with the training pictures' c as the prior.

Ridge decodes each direction of c separately: the result is shrunken and noisy. Text embeddings of captions fill only a
small part of the space, so the decoded directions are combined. Every training picture is weighted by its likelihood:
the probability of the trial's decoded c if that picture was seen. c is the weighted mean of the pictures' c. The
likelihood is Gaussian and the prior empirical, as in Naselaris et al., Neuron 2009. A clear trial gives c its full
scale; an unclear trial gives a small c.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...arrays import Array
from .low_rank import LowRankMap

# A picture with less weight is left out of the mean: all such pictures together weigh less than float32 resolves.
NEGLIGIBLE = 1e-12
PRIOR_TENSORS = ("gain", "noise", "pictures", "components", "mean")


@dataclass(frozen=True, eq=False)
class PicturePrior:
    """The training pictures' c in principal components, and the likelihood of a trial's decoded scores.

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
        Mean of the training pictures' c.
    """

    scores: LowRankMap
    gain: Array
    noise: Array
    pictures: Array
    components: Array
    mean: Array

    @cached_property
    def _wide_components(self) -> Array:
        # CPUs have no float16 arithmetic.
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
