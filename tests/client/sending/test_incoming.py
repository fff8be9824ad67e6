"""Volumes of any orientation and dtype become volumes that the daemon takes."""

from itertools import permutations, product

import numpy as np
import pytest

from braind.client.sending.dicom_geometry import stack_planes
from braind.client.sending.incoming import Incoming, IncomingError, axis_codes, onto_grid, sendable
from braind.client.wire import Grid

SHAPE = (3, 4, 5)
AFFINE = np.array([[-2.0, 0, 0, 10], [0, 2.5, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])
VOXELS = np.arange(60, dtype=np.int16).reshape(SHAPE)


def reoriented(axes, flips):
    """The same volume, with its axes permuted and flipped."""
    affine = AFFINE.copy()
    for axis, is_flipped in enumerate(flips):
        if is_flipped:
            affine[:3, 3] += (SHAPE[axis] - 1) * affine[:3, axis]
            affine[:3, axis] *= -1
    voxels = np.flip(VOXELS, tuple(axis for axis in range(3) if flips[axis])).transpose(axes)
    return voxels, affine[:, [*axes, 3]]


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_a_volume_of_any_orientation_lands_on_the_grid_voxel_for_voxel(axes):
    grid = Grid(subject=1, shape=SHAPE, affine=AFFINE.tolist(), kind="beta", weights="0123456789ab")
    for flips in product((False, True), repeat=3):
        voxels, affine = reoriented(axes, flips)
        landed, landed_affine = onto_grid(Incoming(voxels, affine, 0, "series", "source"), grid)
        np.testing.assert_array_equal(landed, VOXELS)
        np.testing.assert_allclose(landed_affine, AFFINE, atol=1e-12)


def test_the_words_for_an_orientation_are_the_axes_directions():
    assert axis_codes(AFFINE) == "LAS"
    assert axis_codes(reoriented((2, 0, 1), (True, False, False))[1]) == "SRA"


@pytest.mark.parametrize(("given", "sent"), [("uint16", "uint16"), ("int8", "int16"), ("uint32", "float64")])
def test_no_number_changes_on_the_way_to_a_dtype_of_the_wire(given, sent):
    numbers = np.array([0, 1, np.iinfo(given).max], given)
    stored, scale = sendable(numbers, slope=0.5)
    assert (stored.dtype.name, scale) == (sent, 0.5)
    np.testing.assert_array_equal(stored, numbers)


def test_an_intercept_is_added_before_sending():
    stored, scale = sendable(np.array([1, 3], np.int16), slope=2.0, intercept=-1.0)
    assert (stored.dtype, scale, stored.tolist()) == (np.float32, 1.0, [1.0, 5.0])


def planes_at(*positions_mm):
    affines = [AFFINE @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, mm / 3], [0, 0, 0, 1]]) for mm in positions_mm]
    return [np.full((2, 2), mm) for mm in positions_mm], affines


def test_planes_are_stacked_in_order_of_their_position():
    voxels, affine = stack_planes(*planes_at(6, 0, 3), "a.dcm")
    assert voxels[0, 0].tolist() == [0, 3, 6]
    np.testing.assert_allclose(affine, AFFINE)


@pytest.mark.parametrize(
    ("positions_mm", "words", "code"),
    [
        ((0, 3, 3), "at the same place", "unreadable"),
        ((0, 3, 9), "3.00 to 6.00 mm apart", "partial"),
        ((0, np.nan, 6), "not finite", "affine"),
    ],
)
def test_planes_that_are_no_volume_are_refused(positions_mm, words, code):
    with pytest.raises(IncomingError, match=words) as refused:
        stack_planes(*planes_at(*positions_mm), "a.dcm")
    assert refused.value.code == code


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_volume_with_numbers_that_pass_every_comparison_is_refused(bad):
    affine = AFFINE.copy()
    affine[1, 3] = bad
    for fields, code in (({"affine": affine}, "affine"), ({"scale": bad}, "unreadable"), ({"tr_s": bad}, "tr")):
        with pytest.raises(IncomingError, match="vol_3.nii: .*; not sent") as refused:
            Incoming(**{"voxels": VOXELS, "affine": AFFINE, "index": 0, "series": "s", "source": "vol_3.nii", **fields})
        assert refused.value.code == code
