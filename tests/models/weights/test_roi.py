"""The voxels that the decoder reads."""

import numpy as np
import pytest

from braind.models.weights.roi import RoiError, check_finite, gather, union_index


def test_gathered_voxels_are_those_of_the_masks_in_order():
    rng = np.random.default_rng(0)
    volume = rng.integers(-3000, 3000, (4, 5, 6)).astype(np.int16)
    z_mask, c_mask = rng.random((2, 4, 5, 6)) < 0.4
    voxel_index, z_positions, c_positions = union_index(z_mask, c_mask)
    voxels = gather(volume, voxel_index, 1 / 300)
    assert voxels.dtype == np.float32
    assert voxels[z_positions] == pytest.approx(volume[z_mask] / 300, abs=1e-5)
    assert voxels[c_positions] == pytest.approx(volume[c_mask] / 300, abs=1e-5)
    assert np.array_equal(gather(np.asfortranarray(volume), voxel_index), gather(volume, voxel_index))


def test_voxels_that_are_not_finite_are_counted():
    check_finite(np.ones(4, np.float32))
    with pytest.raises(RoiError, match="2 of the decoder's 4 voxels"):
        check_finite(np.array([1, np.nan, np.inf, 0], np.float32))


def test_an_empty_roi_is_named():
    mask = np.ones((2, 2, 2), bool)
    with pytest.raises(RoiError, match="ROIs for c hold no voxel"):
        union_index(mask, ~mask)
    with pytest.raises(RoiError, match="masks differ"):
        union_index(mask, mask[1:])
