"""NIfTI files of every kind that a laboratory has are read as their numbers, or answered with a sentence."""

import gzip
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braind.client.sending.incoming import IncomingError
from braind.client.sending.nifti import n_volumes, read_nifti

SHAPE = (4, 5, 6)
AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
NIBABELS = Path(nib.__file__).parent / "tests/data"
HAXBY = Path(__file__).parents[3] / "../shared/data/haxby-slice/func"


def series(n=3, dtype=np.int16, seed=0):
    return np.random.default_rng(seed).integers(0, 200, (*SHAPE, n)).astype(dtype)


def save(path, voxels, kind=nib.Nifti1Image, tr_s=2.0, units=("mm", "sec"), scaling=None):
    image = kind(voxels, AFFINE, dtype=voxels.dtype)
    image.header.set_xyzt_units(*units)
    if voxels.ndim == 4:
        image.header.set_zooms((2.0, 2.0, 3.0, tr_s))
    nib.save(image, path)
    if scaling:
        # into the header's bytes: nibabel would change the numbers too
        content = bytearray(path.read_bytes())
        content[112:120] = struct.pack("<2f", *scaling)
        path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_both_versions_of_nifti_are_read_volume_by_volume(tmp_path, kind, name):
    voxels = series()
    found = list(read_nifti(save(tmp_path / name, voxels, kind)))
    assert [one.index for one in found] == [0, 1, 2]
    assert {one.series for one in found} == {name}
    for number, one in enumerate(found):
        np.testing.assert_array_equal(one.voxels, voxels[..., number])
        np.testing.assert_array_equal(one.affine, AFFINE)
        assert (one.voxels.dtype, one.scale, one.tr_s) == (np.int16, 1.0, 2.0)


def test_a_slope_travels_as_the_scale_and_the_stored_numbers_stay(tmp_path):
    path = save(tmp_path / "a.nii", series(2), scaling=(0.25, 0.0))
    for one, stored in zip(read_nifti(path), np.moveaxis(series(2), 3, 0), strict=True):
        assert one.voxels.dtype == np.int16
        assert one.scale == 0.25
        np.testing.assert_array_equal(one.voxels, stored)


def test_an_intercept_is_applied_because_the_wire_has_none(tmp_path):
    path = save(tmp_path / "a.nii", series(2), scaling=(0.5, -10.0))
    for one, stored in zip(read_nifti(path), np.moveaxis(series(2), 3, 0), strict=True):
        assert (one.voxels.dtype, one.scale) == (np.float32, 1.0)
        np.testing.assert_allclose(one.voxels, stored * 0.5 - 10)


@pytest.mark.parametrize(
    ("dtype", "sent"),
    [(np.uint8, np.int16), (np.int8, np.int16), (np.uint32, np.float64), (np.int64, np.float64), (">i2", ">i2")],
)
def test_a_dtype_that_the_wire_lacks_becomes_one_that_holds_every_number(tmp_path, dtype, sent):
    voxels = series(1, dtype)
    image = nib.Nifti1Image(voxels, AFFINE, dtype=np.dtype(dtype).newbyteorder("="))
    if np.dtype(dtype).byteorder == ">":
        image = nib.Nifti1Image(voxels, AFFINE, header=nib.Nifti1Header(endianness=">"), dtype=np.int16)
    nib.save(image, tmp_path / "a.nii")
    (one,) = read_nifti(tmp_path / "a.nii")
    assert one.voxels.dtype.newbyteorder("=") == np.dtype(sent).newbyteorder("=")
    np.testing.assert_array_equal(one.voxels, voxels[..., 0])


@pytest.mark.parametrize(("unit", "stored", "tr_s"), [("msec", 1333.0, 1.333), ("usec", 2e6, 2.0), ("sec", 0.0, None)])
def test_the_tr_is_in_seconds_whatever_the_headers_unit(tmp_path, unit, stored, tr_s):
    path = save(tmp_path / "a.nii", series(1), tr_s=stored, units=("mm", unit))
    assert next(read_nifti(path)).tr_s == (None if tr_s is None else pytest.approx(tr_s))


def test_a_sender_that_goes_on_reads_only_the_volumes_that_are_missing(tmp_path):
    path = save(tmp_path / "a.nii.gz", series(5))
    assert [one.index for one in read_nifti(path, 3)] == [3, 4]
    assert list(read_nifti(path, 5)) == []
    assert n_volumes(path) == 5


def test_the_volumes_before_a_cut_are_sent_and_then_the_cut_is_named(tmp_path):
    path = save(tmp_path / "a.nii", series(4))
    whole = path.read_bytes()
    n_bytes = 2 * int(np.prod(SHAPE))
    path.write_bytes(whole[: len(whole) - n_bytes - 10])
    reading = read_nifti(path)
    np.testing.assert_array_equal(next(reading).voxels, series(4)[..., 0])
    np.testing.assert_array_equal(next(reading).voxels, series(4)[..., 1])
    with pytest.raises(IncomingError, match="a.nii cannot be read as NIfTI .*cut short"):
        next(reading)


@pytest.mark.parametrize("n_axes", [3, 4])
def test_one_damaged_bit_of_a_compressed_file_is_named_before_a_volume_is_sent(tmp_path, n_axes):
    path = save(tmp_path / "a_1.nii.gz", series(4) if n_axes == 4 else series(1)[..., 0])
    whole = path.read_bytes()
    # the last tenth holds nothing but voxels: most bits there change numbers and leave the stream readable
    for position in range(len(whole) * 9 // 10, len(whole) - 12, 7):
        damaged = bytearray(whole)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(IncomingError, match="a_1.nii.gz cannot be read as NIfTI"):
            next(read_nifti(path))


@pytest.mark.parametrize("ndim", [2, 5])
def test_an_image_that_is_no_volume_and_no_series_is_refused(tmp_path, ndim):
    nib.save(nib.Nifti1Image(np.zeros((2, 3, 4, 2, 2)[:ndim], np.int16), AFFINE), tmp_path / "a.nii")
    with pytest.raises(IncomingError, match=f"{ndim} axes; a series is one 4-D file or several 3-D files"):
        list(read_nifti(tmp_path / "a.nii"))


@pytest.mark.parametrize(
    ("name", "first_number", "wanted"),
    [
        ("vol_0001.nii", 1, ("vol_", 0)),
        ("vol_0000.nii.gz", 0, ("vol_", 0)),
        ("042.nii", 1, ("numbered files", 41)),
        ("run-2_vol12.nii", 1, ("run-2_vol", 11)),
    ],
)
def test_a_3d_file_has_its_series_and_index_in_its_name(tmp_path, name, first_number, wanted):
    (one,) = read_nifti(save(tmp_path / name, series(1)[..., 0]), first_number=first_number)
    assert (one.series, one.index) == wanted
    assert n_volumes(tmp_path / name) == 1


def test_a_3d_file_without_a_number_is_refused(tmp_path):
    with pytest.raises(IncomingError, match="has its number before .nii, as vol_0001.nii") as refused:
        list(read_nifti(save(tmp_path / "mean.nii", series(1)[..., 0])))
    assert refused.value.code == "index"


@pytest.mark.parametrize("read", [lambda path: list(read_nifti(path)), n_volumes])
@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "cannot be read"), (b"GIF89a", "cannot be read"), (gzip.compress(b"hello", mtime=0), "cannot be read")],
)
def test_bytes_that_are_no_nifti_are_named(tmp_path, read, content, words):
    path = tmp_path / ("a.nii.gz" if content[:2] == b"\x1f\x8b" else "a.nii")
    path.write_bytes(content)
    with pytest.raises(IncomingError, match=words):
        read(path)


@pytest.mark.parametrize("read", [lambda path: list(read_nifti(path)), n_volumes])
def test_a_surface_file_whose_name_ends_as_a_volumes_is_named(read):
    with pytest.raises(IncomingError, match="row_major.dconn.nii is Cifti2Image, not a NIfTI volume"):
        read(NIBABELS / "row_major.dconn.nii")


@pytest.mark.parametrize("name", ["test.mgz", "example4d+orig.HEAD", "minc1_4d.mnc"])
def test_another_programs_images_are_refused_by_their_format(name):
    with pytest.raises(IncomingError, match="not a NIfTI volume; convert it to NIfTI"):
        list(read_nifti(NIBABELS / name))


def test_nibabels_own_example_is_read_as_nibabel_reads_it():
    path = NIBABELS / "functional.nii"
    theirs = nib.load(path)
    found = list(read_nifti(path))
    assert len(found) == n_volumes(path) == theirs.shape[3]
    for one in found[::7]:
        np.testing.assert_allclose(one.voxels * one.scale, theirs.get_fdata()[..., one.index], rtol=1e-6)
    np.testing.assert_array_equal(found[0].affine, theirs.affine)


@pytest.mark.parametrize("offset", [40, 42, 70, 72, 76, 108, 112, 116, 123, 252, 254, 280, 344])
def test_a_damaged_header_is_read_or_named_and_never_ends_the_watch(tmp_path, offset):
    path = save(tmp_path / "a.nii", series(2))
    whole = path.read_bytes()
    for value in (0, 1, 7, 127, 128, 255):
        damaged = bytearray(whole)
        damaged[offset : offset + 2] = bytes([value, value])
        path.write_bytes(damaged)
        try:
            found = list(read_nifti(path))
        except IncomingError as error:
            assert "a.nii" in str(error)  # noqa: PT017 (either answer is right)
        else:
            assert all(one.voxels.ndim == 3 for one in found)


@pytest.mark.skipif(not HAXBY.is_dir(), reason="shared/data/haxby-slice is not here")
def test_real_human_bold_arrives_number_for_number():
    path = HAXBY / "sub-01_task-objects_run-01_bold.nii.gz"
    theirs = nib.load(path)
    stored = np.asarray(theirs.dataobj.get_unscaled())
    found = list(read_nifti(path))
    assert [one.index for one in found] == list(range(121))
    assert all(one.tr_s == pytest.approx(2.5) for one in found)
    np.testing.assert_array_equal(np.stack([one.voxels for one in found], axis=3), stored)
    np.testing.assert_allclose(found[60].voxels * found[60].scale, theirs.get_fdata()[..., 60])


def test_a_file_without_a_place_is_refused_before_it_is_turned(tmp_path):
    image = nib.Nifti1Image(series(), None)
    placeless = AFFINE.copy()
    placeless[0, 0] = np.nan
    image.header.set_sform(placeless, 1)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(IncomingError, match=r"a\.nii\[0\]: its affine holds numbers that are not finite") as refused:
        next(read_nifti(tmp_path / "a.nii"))
    assert refused.value.code == "affine"
