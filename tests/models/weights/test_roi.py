"""Voxel indices of ROI masks: union, gathering, and masks that cannot be used."""

import numpy as np
import pytest

from braind.models.weights.roi import RoiError, check_finite, check_range, gather, mask_sha256, union_index

SHAPE = (4, 5, 6)


def masks():
    rng = np.random.default_rng(0)
    return rng.random(SHAPE) < 0.3, rng.random(SHAPE) < 0.4


def test_the_union_numbers_every_voxel_once_and_each_mask_finds_its_own():
    z_mask, c_mask = masks()
    voxel_index, z_positions, c_positions = union_index(z_mask, c_mask)
    assert voxel_index.tolist() == np.flatnonzero((z_mask | c_mask).ravel()).tolist()
    for mask, positions in ((z_mask, z_positions), (c_mask, c_positions)):
        assert voxel_index[positions].tolist() == np.flatnonzero(mask.ravel()).tolist()
    assert {voxel_index.dtype, z_positions.dtype, c_positions.dtype} == {np.dtype(np.int64)}


def test_masks_that_share_no_voxel_stand_side_by_side():
    z_mask = np.zeros(SHAPE, bool)
    z_mask[0] = True
    voxel_index, z_positions, c_positions = union_index(z_mask, ~z_mask)
    assert len(voxel_index) == z_mask.size == len(z_positions) + len(c_positions)
    assert not set(z_positions) & set(c_positions)


@pytest.mark.parametrize("empty", ["z", "c"])
def test_a_mask_without_voxels_is_refused_by_its_settings_name(empty):
    z_mask, c_mask = masks()
    (z_mask if empty == "z" else c_mask)[:] = False
    with pytest.raises(RoiError, match=rf"ROIs for {empty} hold no voxel .* \[fit\] {empty}_rois"):
        union_index(z_mask, c_mask)


def test_masks_of_different_grids_are_refused():
    with pytest.raises(RoiError, match=r"\(2, 2, 2\) for z, \(2, 2, 3\) for c"):
        union_index(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool))


@pytest.mark.parametrize("order", ["C", "F"])
def test_voxels_are_gathered_in_c_order_whatever_the_memory_layout(order):
    volume = np.asarray(np.arange(120, dtype=np.int16).reshape(SHAPE), order=order)
    found = gather(volume, np.array([0, 7, 119]), 1 / 300)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.array([0, 7, 119]) / 300)


def test_the_number_of_voxels_that_are_not_finite_is_said():
    check_finite(np.zeros(4, np.float32), "bold")
    with pytest.raises(RoiError, match="2 of the decoder's 4 voxels are NaN or infinite") as refused:
        check_finite(np.array([1, np.nan, -np.inf, 0], np.float32), "bold")
    assert refused.value.code == "not_finite"


@pytest.mark.parametrize("largest", [1.1e7, np.inf, np.nan])
def test_numbers_that_no_scanner_gives_are_refused(largest):
    check_range(np.array([0, -1e7], np.float32))
    with pytest.raises(RoiError, match="check dtype, byte order and scale"):
        check_range(np.array([0, largest], np.float32))


def test_a_masks_hash_tells_voxels_and_grids_apart():
    index = np.array([1, 5, 9])
    hashes = {
        mask_sha256(index, SHAPE),
        mask_sha256(np.array([1, 5, 10]), SHAPE),
        mask_sha256(index, (5, 4, 6)),
        mask_sha256(index[:2], SHAPE),
    }
    assert len(hashes) == 4
    assert mask_sha256(index.astype(np.int32), SHAPE) == mask_sha256(index, SHAPE)
