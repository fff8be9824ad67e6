"""Scanner files are read back as the volumes they were made of, by us and by readers we did not write."""

import shutil
import subprocess
import warnings

import dicom_files
import nibabel as nib
import numpy as np
import pytest
from dicom_files import AFFINE, SERIES, SHAPE, save, volume

from braind.client import wire
from braind.client.sending.dicom import read_dicom
from braind.client.sending.dicom_slices import SliceCollector
from braind.client.sending.incoming import IncomingError, onto_grid

GRID = wire.Grid(subject=1, kind="bold", shape=SHAPE, affine=AFFINE.tolist(), weights="w")


def assert_same(incoming, voxels, index, scale=1.0):
    turned, affine = onto_grid(incoming, GRID)
    np.testing.assert_array_equal(turned, voxels)
    np.testing.assert_allclose(affine, AFFINE, atol=1e-5)
    assert (incoming.index, incoming.series, incoming.scale) == (index, SERIES, scale)
    assert incoming.tr_s == pytest.approx(1.333)


def read_slices(datasets, folder):
    collector, whole = SliceCollector(), []
    for number, dataset in enumerate(datasets):
        whole += collector.add(read_dicom(save(dataset, folder / f"{number}.dcm")))
    return collector, whole


def test_a_siemens_mosaic(tmp_path):
    path = save(dicom_files.mosaic(volume(3), 3), tmp_path / "a.dcm")
    (incoming,) = read_dicom(path)
    assert_same(incoming, volume(3), 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel calls its readers experimental
        from nibabel.nicom.dicomwrappers import wrapper_from_file

        theirs = wrapper_from_file(path)
    np.testing.assert_array_equal(
        theirs.get_data().swapaxes(0, 1) if theirs.get_data().shape != incoming.voxels.shape else theirs.get_data(),
        incoming.voxels,
    )
    np.testing.assert_allclose(
        np.diag([-1, -1, 1, 1]) @ theirs.affine @ np.eye(4)[[1, 0, 2, 3]], incoming.affine, atol=1e-5
    )


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_siemens_xa_file_of_one_volume(tmp_path, shuffle):
    path = save(dicom_files.enhanced([volume(2)], 2, shuffle=shuffle), tmp_path / "a.dcm")
    (incoming,) = read_dicom(path)
    assert_same(incoming, volume(2), 2)


def test_a_philips_multi_frame_file_of_several_volumes(tmp_path):
    volumes = [volume(n) for n in range(3)]
    path = save(dicom_files.enhanced(volumes, 0, vendor="Philips", slope=0.25, shuffle=True), tmp_path / "a.dcm")
    for number, incoming in enumerate(read_dicom(path)):
        assert_same(incoming, volumes[number], number, scale=0.25)


@pytest.mark.parametrize(("vendor", "scale"), [("Philips", 0.5), ("GE MEDICAL SYSTEMS", 1.0)])
def test_one_slice_a_file_in_any_order(tmp_path, vendor, scale):
    datasets = [one for n in range(2) for one in dicom_files.slices(volume(n), n, vendor=vendor)]
    order = [*np.random.default_rng(1).permutation(6), *range(6, 12)]
    collector, whole = read_slices([datasets[n] for n in order], tmp_path)
    assert len(whole) == 2
    for number, incoming in enumerate(whole):
        assert_same(incoming, volume(number), number, scale=scale)
    assert not collector.unfinished()


def test_a_lost_slice_is_named(tmp_path):
    datasets = dicom_files.slices(volume(0), 0, vendor="Philips")
    collector, whole = read_slices(datasets[:2] + datasets[3:], tmp_path)
    assert not whole
    assert collector.unfinished() == [f"volume 0 of series {SERIES} is partial, 5 of 6 slices; not sent"]


def test_two_planes_at_one_place_are_no_volume(tmp_path):
    dataset = dicom_files.enhanced([volume(0)], 0)
    groups = dataset.PerFrameFunctionalGroupsSequence
    groups[3].PlanePositionSequence = groups[2].PlanePositionSequence
    with pytest.raises(IncomingError, match="same place"):
        read_dicom(save(dataset, tmp_path / "a.dcm"))


@pytest.mark.parametrize(
    "make", [lambda: dicom_files.mosaic(volume(0), 0), lambda: dicom_files.enhanced([volume(0)], 0)]
)
def test_a_file_cut_anywhere_is_an_answer_and_never_a_volume(tmp_path, make):
    data = save(make(), tmp_path / "whole.dcm").read_bytes()
    for n_bytes in range(0, len(data) - 1, 97):
        path = tmp_path / "cut.dcm"
        path.write_bytes(data[:n_bytes])
        with pytest.raises(IncomingError, match="cut.dcm"):
            read_dicom(path)


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
@pytest.mark.parametrize("kind", ["mosaic", "xa", "Philips"])
def test_dcm2niix_reads_the_same_volume(tmp_path, kind):
    shape = (16, 16, 6)
    voxels = volume(0, shape)
    if kind == "mosaic":
        datasets = [dicom_files.mosaic(voxels, 0)]
    elif kind == "xa":
        datasets = [dicom_files.enhanced([voxels], 0)]
    else:
        datasets = dicom_files.slices(voxels, 0, vendor=kind)
    collector, whole = SliceCollector(), None
    for number, dataset in enumerate(datasets):
        read = read_dicom(save(dataset, tmp_path / f"{number}.dcm"))
        whole = read[0] if isinstance(read, list) else next(iter(collector.add(read)), whole)
    ran = subprocess.run(
        ["dcm2niix", "-b", "n", "-z", "n", "-f", "made", "-o", tmp_path, tmp_path], capture_output=True, text=True
    )
    (path,) = tmp_path.glob("made*.nii")
    image = nib.as_closest_canonical(nib.load(path))
    grid = wire.Grid(subject=1, kind="bold", shape=shape, affine=AFFINE.tolist(), weights="w")
    turned, affine = onto_grid(whole, grid)
    np.testing.assert_array_equal(np.asarray(image.dataobj).squeeze(), turned * whole.scale, err_msg=ran.stdout)
    np.testing.assert_allclose(image.affine, affine, atol=1e-3, err_msg=ran.stdout)
