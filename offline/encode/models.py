"""The encoding models of one subject. Each model is fitted when its scores are first needed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ...arrays import Array
from ...models.encoding.voxel_models import VoxelScores, bootstrap_counts, interval, reduce_features, score_voxels
from .features import FeatureFiles

Report = Callable[[str, int, int], None]

N_DRAWS = 1000


@dataclass(eq=False)
class Models:
    """Scores of encoding models. Each model is fitted when its scores are first needed.

    Parameters
    ----------
    rois : dict of array of shape (n_voxels,), bool
        Mask by ROI.
    """

    files: FeatureFiles
    responses: Array
    is_training: Array
    rois: dict[str, Array]
    n_components: int
    n_folds: int
    seed: int
    report: Report
    scores: dict[str, VoxelScores] = field(default_factory=dict)
    _reduced_features: dict[str, Array] = field(default_factory=dict)

    @property
    def n_held_out(self) -> int:
        """Return the number of held-out pictures."""
        return int((~self.is_training).sum())

    def __getitem__(self, names: str) -> VoxelScores:
        """Return the scores of a model of one feature, "z", or of several, "z + zc_strength-0.8"."""
        if names not in self.scores:
            features = np.concatenate([self._reduced(name) for name in names.split(" + ")], axis=1)
            self.scores[names] = score_voxels(
                features,
                self.responses,
                self.is_training,
                self.rois,
                self._counts,
                n_folds=self.n_folds,
                progress=lambda done, total: self.report(f"fitting {names}", done, total),
            )
        return self.scores[names]

    def mean_correlation(self, name: str, roi: str) -> dict[str, Any]:
        """Return a model's mean r over a ROI's voxels."""
        scores, row = self[name], list(self.rois).index(roi)
        return interval(scores.correlation[self.rois[roi]].mean(), scores.drawn_correlation[row])

    def correlation_gain(self, name: str, over: str, roi: str) -> dict[str, Any]:
        """Return the difference of two models' mean r, over the same bootstrap draws of pictures."""
        first, second, row, mask = self[name], self[over], list(self.rois).index(roi), self.rois[roi]
        gain = first.correlation[mask].mean() - second.correlation[mask].mean()
        return interval(gain, first.drawn_correlation[row] - second.drawn_correlation[row])

    def unique_variance(self, name: str, beside: str, roi: str) -> dict[str, Any]:
        """Return a feature's mean unique variance: the R² that it adds to another feature."""
        both, other, row, mask = self[_joint(name, beside)], self[beside], list(self.rois).index(roi), self.rois[roi]
        unique = both.explained[mask].mean() - other.explained[mask].mean()
        return interval(unique, both.drawn_explained[row] - other.drawn_explained[row])

    def unique_map(self, name: str, beside: str) -> Array:
        """Return a feature's unique variance in each voxel: (n_voxels,) float32."""
        return self[_joint(name, beside)].explained - self[beside].explained

    @cached_property
    def _counts(self) -> Array:
        return bootstrap_counts(self.n_held_out, N_DRAWS, self.seed)

    def _reduced(self, name: str) -> Array:
        if name not in self._reduced_features:
            # Every joint model has z. Another feature is used alone, then with z, and then no more.
            self._reduced_features = {
                known: features for known, features in self._reduced_features.items() if known == "z"
            }
            self._reduced_features[name] = reduce_features(self.files.read(name), self.is_training, self.n_components)
        return self._reduced_features[name]


def _joint(first: str, second: str) -> str:
    return " + ".join(sorted([first, second]))
