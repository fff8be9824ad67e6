"""Two affines of one grid, and of two."""

import numpy as np
import pytest

from braind.grids import MAX_CORNER_SHIFT_MM, corner_shift_mm

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def test_the_shift_is_measured_at_the_corner_that_moves_most():
    turned = AFFINE.copy()
    turned[0, 0] += 0.01  # the far corner of 11 voxels moves ten times as far as one voxel
    assert corner_shift_mm((11, 5, 5), turned, AFFINE) == pytest.approx(0.1)
    moved = AFFINE.copy()
    moved[:3, 3] = 3, 4, 0
    assert corner_shift_mm((11, 5, 5), moved, AFFINE) == pytest.approx(5)


def test_an_affine_that_went_through_a_header_is_the_same_grid():
    affine = np.array([[1.8, 0.1, 0, -70.3], [-0.1, 1.8, 0.2, -101.7], [0, -0.2, 1.8, -60.1], [0, 0, 0, 1]])
    assert corner_shift_mm((81, 104, 83), affine.astype(np.float32), affine) < MAX_CORNER_SHIFT_MM / 100


def test_an_affine_with_a_hole_is_no_grid():
    unknown = AFFINE.copy()
    unknown[0, 0] = np.nan
    assert not corner_shift_mm((5, 5, 5), unknown, AFFINE) <= MAX_CORNER_SHIFT_MM
