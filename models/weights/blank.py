"""Blank weights: the grid and the voxels to record, for a subject without fitted weights."""

import numpy as np

from ...arrays import Array
from ...choices import Kind
from .low_rank import LowRankMap
from .roi import mask_sha256
from .weights import Weights, WeightsCard, WeightsError


def blank_weights(subject: int, mask: Array, affine: Array, kind: Kind) -> Weights:
    """Return weights that name the voxels to record and decode nothing.

    Parameters
    ----------
    mask : array of shape (X, Y, Z), bool
    affine : array of shape (4, 4), float

    Raises
    ------
    WeightsError
        If the mask is empty.
    """
    voxel_index = np.flatnonzero(mask).astype(np.int64)
    if not len(voxel_index):
        raise WeightsError("the mask holds no voxel; give one that is above 0 where volumes are to be recorded")
    card = WeightsCard(
        subject=subject,
        shape=mask.shape,
        affine=tuple(tuple(row) for row in np.asarray(affine, np.float64).tolist()),
        z_rois=(),
        c_rois=(),
        ldm="",
        latent_shape=(1, 1, 1),
        text_shape=(1, 1),
        simulated=False,
        kind=kind,
        mask_sha256=mask_sha256(voxel_index, mask.shape),
    )
    maps, flat = blank_map(len(voxel_index)), np.zeros(len(voxel_index), np.float32)
    return Weights(voxel_index=voxel_index, voxel_mean=flat, voxel_std=flat + 1, z=maps, c=maps, card=card)


def blank_map(n_voxels: int) -> LowRankMap:
    """Return a map from voxels to one target that is always 0: weights without pictures have such a z and c."""
    nothing = np.zeros(1, np.float32)
    return LowRankMap(
        positions=np.arange(n_voxels),
        left=np.zeros((n_voxels, 0), np.float16),
        row_scale=np.ones(n_voxels, np.float32),
        right=np.zeros((0, 1), np.float16),
        column_scale=nothing,
        intercept=nothing,
        target_mean=nothing,
        target_std=nothing,
        cv_correlation=nothing,
    )
