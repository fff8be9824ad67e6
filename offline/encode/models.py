"""The encoding models of one subject. Each model is fitted when its scores are first needed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...arrays import Array
from ...models.encoding.voxel_models import VoxelScores, interval
from ..pieces import map_pieces, open_pool
from ..workers import Workers
from .voxel_fits import VoxelFits

Report = Callable[[str, int, int], None]


@dataclass(eq=False)
class Models:
    """Scores of encoding models. Each model is fitted when its scores are first needed, unless workers fitted it."""

    fits: VoxelFits
    report: Report
    scores: dict[str, VoxelScores] = field(default_factory=dict)

    @property
    def rois(self) -> dict[str, Array]:
        """Return masks of the ROIs, (n_voxels,) bool."""
        return self.fits.rois

    @property
    def is_training(self) -> Array:
        """Return which pictures train the models: (n_pictures,) bool."""
        return self.fits.is_training

    @property
    def n_held_out(self) -> int:
        """Return the number of held-out pictures."""
        return self.fits.n_held_out

    def fit_on(self, workers: Workers, names: Sequence[str]) -> None:
        """Let workers fit models, one a piece."""
        fits = self.fits
        with open_pool(workers, lambda: fits) as pool:
            scores = map_pieces(VoxelFits.scores, names, pool, words="fitting voxels", report=self.report)
            self.scores |= {name: VoxelScores(**found) for name, found in zip(names, scores, strict=True)}

    def __getitem__(self, names: str) -> VoxelScores:
        """Return the scores of a model of one feature, "z", or of several, "z + zc_strength-0.8"."""
        if names not in self.scores:
            self.scores[names] = self.fits.fit(names, lambda done, total: self.report(f"fitting {names}", done, total))
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
        both, other, row, mask = (
            self[joint_model(name, beside)],
            self[beside],
            list(self.rois).index(roi),
            self.rois[roi],
        )
        unique = both.explained[mask].mean() - other.explained[mask].mean()
        return interval(unique, both.drawn_explained[row] - other.drawn_explained[row])

    def unique_map(self, name: str, beside: str) -> Array:
        """Return a feature's unique variance in each voxel: (n_voxels,) float32."""
        return self[joint_model(name, beside)].explained - self[beside].explained


def joint_model(first: str, second: str) -> str:
    """Return the name of the model of two features."""
    return " + ".join(sorted([first, second]))
