"""What a decoder is fitted on: single trials, and the features of the pictures that they showed."""

from dataclasses import dataclass, replace

import numpy as np

from ...arrays import Array
from ..fit_profiles import FitError
from ..weights.card import WeightsCard


@dataclass(frozen=True, eq=False)
class TrainingTrials:
    """Single trials of one subject, and z and c of the pictures that they showed.

    Parameters
    ----------
    voxels : array of shape (n_trials, n_columns), float32
        Single-trial responses, % signal change; or, for the lagged ridge, windows of volumes.
    picture_of_trial : array of shape (n_trials,), int
        Row of `z` and `c`: the picture shown in each trial.
    voxel_index : array of shape (n_columns,), int64
        Each column's voxel, as an index into the C-order flattened volume.
    z_positions, c_positions : arrays of shape (n_columns_z,) and (n_columns_c,), int64
        Columns of `voxels` that z and c are decoded from.
    z : array of shape (n_pictures, *latent_shape), float
        Scaled latents; may be a memory map.
    c : array of shape (n_pictures, *text_shape), float
        Text embeddings; may be a memory map.
    """

    voxels: Array
    picture_of_trial: Array
    voxel_index: Array
    z_positions: Array
    c_positions: Array
    z: Array
    c: Array

    def __len__(self) -> int:
        """Return the number of trials."""
        return len(self.voxels)

    def of(self, chosen: Array) -> "TrainingTrials":
        """Return the chosen trials, by mask or by index."""
        return replace(self, voxels=self.voxels[chosen], picture_of_trial=self.picture_of_trial[chosen])

    def check(self, card: WeightsCard, n_folds: int) -> None:
        """Refuse trials that cannot be fitted.

        Raises
        ------
        FitError
            If the pictures are too few for the folds, numbers are not finite, no voxel varies, or shapes do not fit
            each other or the card.
        """
        voxels, shown = self.voxels, self.picture_of_trial
        if voxels.ndim != 2 or len(voxels) != len(shown):
            raise FitError(f"voxels of shape {voxels.shape} for {len(shown)} trials; one row a trial is needed")
        for name, features, shape in (("z", self.z, card.latent_shape), ("c", self.c, card.text_shape)):
            if features.shape[1:] != tuple(shape):
                raise FitError(f"{name} of shape {features.shape[1:]}, but the card says {tuple(shape)}; encode again")
            if len(features) <= shown.max() or shown.min() < 0:
                raise FitError(f"{name} of {len(features)} pictures, but trials show picture {shown.max()}")
            if not all(np.isfinite(features[row : row + 256]).all() for row in range(0, len(features), 256)):
                raise FitError(f"{name} of some pictures is not finite; encode them again")
        n_pictures = len(np.unique(shown))
        if n_pictures < 2 * n_folds:
            raise FitError(f"{n_pictures} pictures are too few for {n_folds} folds; take more sessions")
        n_bad = int((~np.isfinite(voxels)).any(axis=0).sum())
        if n_bad:
            raise FitError(f"{n_bad} of {voxels.shape[1]} voxels are NaN or infinite in some trial; leave them out")
        varies = voxels.min(axis=0) < voxels.max(axis=0)
        for name, positions in (("z", self.z_positions), ("c", self.c_positions)):
            if not varies[positions].any():
                raise FitError(
                    f"none of the {len(positions)} voxels of {name} varies over the trials: check that the mask lies "
                    "in the brain, and that the responses are not empty"
                )
