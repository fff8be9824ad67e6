"""Fits a subject's encoding models from files of features and responses, in this process or in workers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ...arrays import Array
from ...models.encoding.voxel_models import VoxelScores, bootstrap_counts, reduce_features, score_voxels
from ..workers import Arrays
from .features import FeatureFiles
from .responses import mean_responses

N_DRAWS = 1000


@dataclass(eq=False)
class VoxelFits:
    """What a subject's encoding models are fitted on. A worker on another machine reads the same files.

    Parameters
    ----------
    folder : Path
        Features' folder.
    responses_path : Path
        From `write_mean_responses`, of all voxels to the same pictures.
    is_training : array of shape (n_pictures,), bool
    rois : dict of array of shape (n_voxels,), bool
        Mask by ROI.
    n_components : int
        Upper limit of a feature's principal components.
    n_folds : int
        Folds of pictures that choose the penalties.
    seed : int
        Seed of the bootstrap draws of held-out pictures.
    """

    folder: Path
    responses_path: Path
    is_training: Array
    rois: dict[str, Array]
    n_components: int
    n_folds: int
    seed: int
    _reduced_features: dict[str, Array] = field(default_factory=dict)

    @property
    def n_held_out(self) -> int:
        """Return the number of held-out pictures."""
        return int((~self.is_training).sum())

    def fit(self, names: str, progress: Callable[[int, int], None] | None = None) -> VoxelScores:
        """Fit a model of one feature, "z", or of several, "z + zc_strength-0.8", to every voxel, and score it."""
        features = np.concatenate([self._reduced(name) for name in names.split(" + ")], axis=1)
        return score_voxels(
            features,
            self._responses,
            self.is_training,
            self.rois,
            self._counts,
            n_folds=self.n_folds,
            progress=progress,
        )

    def scores(self, names: str) -> Arrays:
        """Return a model's scores as arrays by name, as `VoxelScores` has them."""
        return vars(self.fit(names))

    @cached_property
    def _responses(self) -> Array:
        return mean_responses(self.responses_path, len(self.is_training))

    @cached_property
    def _counts(self) -> Array:
        return bootstrap_counts(self.n_held_out, N_DRAWS, self.seed)

    def _reduced(self, name: str) -> Array:
        if name not in self._reduced_features:
            # Every joint model has z. Another feature is used alone, then with z, and then no more.
            self._reduced_features = {
                known: features for known, features in self._reduced_features.items() if known == "z"
            }
            feature = FeatureFiles(self.folder, len(self.is_training)).read(name)
            self._reduced_features[name] = reduce_features(feature, self.is_training, self.n_components)
        return self._reduced_features[name]
