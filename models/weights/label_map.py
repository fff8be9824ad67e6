"""The map from voxels to the probabilities of classes."""

from dataclasses import dataclass

import numpy as np

from ...arrays import Array
from .card import WeightsError
from .low_rank import MAP_TENSORS, LowRankMap

LABEL_TENSORS = frozenset([f"labels.{tensor}" for tensor in MAP_TENSORS] + ["labels.slope"])
"""The names of the tensors that a file stores for a label map."""


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A ridge regression to one-hot classes, and the slope that turns its scores into probabilities.

    Parameters
    ----------
    scores : LowRankMap
        One target for each class.
    slope : float
        Probabilities are the softmax of the scores times the slope.
    """

    scores: LowRankMap
    slope: float

    def probabilities(self, voxels: Array) -> Array:
        """Return the probability of each class for one trial: (n_classes,) float64, with the sum 1.

        Parameters
        ----------
        voxels : array of shape (n_voxels,), float32
            % signal change. One trial at a time: a product of several rows rounds otherwise, and the daemon and
            offline commands must give the same bits.
        """
        scores = self.slope * self.scores.predict(voxels[None])[0].astype(np.float64)
        shares = np.exp(scores - scores.max())
        return shares / shares.sum()

    def tensors(self) -> dict[str, Array]:
        """Return the tensors that a file stores."""
        own = {f"labels.{tensor}": getattr(self.scores, tensor) for tensor in MAP_TENSORS}
        return own | {"labels.slope": np.array([self.slope], np.float64)}

    @classmethod
    def of_tensors(cls, tensors: dict[str, Array]) -> "LabelMap":
        """Return the map of stored tensors. Raises KeyError if a tensor is missing."""
        scores = LowRankMap(**{tensor: tensors[f"labels.{tensor}"] for tensor in MAP_TENSORS})
        slope = tensors["labels.slope"]
        if slope.shape != (1,) or not (np.isfinite(slope).all() and slope[0] > 0):
            raise WeightsError("labels.slope must be one number above 0; fit again with braind fit --labels")
        return cls(scores, float(slope[0]))
