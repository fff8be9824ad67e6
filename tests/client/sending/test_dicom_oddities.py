"""DICOM files that are odd, anonymised or of other modalities become volumes, or a sentence, and never a crash."""

from pathlib import Path

import dicom_files
import nibabel
import numpy as np
import pydicom
import pytest
from dicom_files import SHAPE, save, volume
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import HTJ2KLossless, ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless

from braind.client.sending.dicom import read_dicom
from braind.client.sending.dicom_mosaic import untile
from braind.client.sending.dicom_slices import Slice, SliceCollector
from braind.client.sending.incoming import IncomingError

PYDICOMS = Path(pydicom.__file__).parent / "data/test_files"
NIBABELS = Path(nibabel.__file__).parent / "nicom/tests/data"


def refused(dataset, path):
    with pytest.raises(IncomingError) as error:
        read_dicom(save(dataset, path))
    assert path.name in str(error.value)
    return error.value


def every_file():
    return [path for folder in (PYDICOMS, NIBABELS) for path in sorted(folder.rglob("*")) if path.is_file()]


@pytest.mark.filterwarnings("ignore")
def test_each_of_pydicoms_and_nibabels_files_is_slices_volumes_or_a_sentence_with_its_name():
    answers = {"slice": 0, "volumes": 0, "refused": 0}
    for path in every_file():
        try:
            read = read_dicom(path)
        except IncomingError as error:
            assert path.name in str(error)  # noqa: PT017 (either answer is right)
            answers["refused"] += 1
            continue
        answers["slice" if isinstance(read, Slice) else "volumes"] += 1
        for one in [read] if isinstance(read, Slice) else read:
            assert np.isfinite(one.affine).all()
    assert answers["slice"] >= 10
    assert answers["refused"] >= 50


def test_a_slice_of_a_real_scan_is_placed_where_its_header_says():
    (path,) = list((PYDICOMS / "dicomdirtests").rglob("4950"))
    one = read_dicom(path)
    dataset = pydicom.dcmread(path)
    np.testing.assert_allclose(one.affine[:3, 3], dataset.ImagePositionPatient)
    np.testing.assert_allclose(np.linalg.norm(one.affine[:3, 0]), dataset.PixelSpacing[1])
    np.testing.assert_allclose(np.linalg.norm(one.affine[:3, 1]), dataset.PixelSpacing[0])
    np.testing.assert_array_equal(one.plane, dataset.pixel_array.T)
    assert one.series == dataset.SeriesInstanceUID


def test_an_implicit_transfer_syntax_is_read_as_an_explicit_one(tmp_path):
    dataset = dicom_files.mosaic(volume(1), 1)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.PixelData = dataset.PixelData  # raw words, in either
    dataset["PixelData"].VR = "OW"
    (implicit,) = read_dicom(save(dataset, tmp_path / "implicit.dcm"))
    (explicit,) = read_dicom(save(dicom_files.mosaic(volume(1), 1), tmp_path / "explicit.dcm"))
    np.testing.assert_array_equal(implicit.voxels, explicit.voxels)
    np.testing.assert_allclose(implicit.affine, explicit.affine)


def test_an_anonymised_mosaic_without_its_slice_count_is_refused_with_the_likely_cause(tmp_path):
    dataset = dicom_files.mosaic(volume(0), 0)
    del dataset[0x0029, 0x1010]
    assert "does not say how many slices it has; was it anonymised?" in str(refused(dataset, tmp_path / "a.dcm"))


def test_a_mosaic_with_the_newer_private_slice_count_needs_no_csa_header(tmp_path):
    dataset = dicom_files.mosaic(volume(0), 0)
    del dataset[0x0029, 0x1010]
    block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0A, "US", SHAPE[2])
    (bare,) = read_dicom(save(dataset, tmp_path / "a.dcm"))
    (whole,) = read_dicom(save(dicom_files.mosaic(volume(0), 0), tmp_path / "b.dcm"))
    np.testing.assert_array_equal(bare.voxels, whole.voxels)
    np.testing.assert_allclose(bare.affine, whole.affine, atol=1e-6)


def test_a_rescale_intercept_of_a_mosaic_is_applied(tmp_path):
    dataset = dicom_files.mosaic(volume(0), 0)
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, -100
    (one,) = read_dicom(save(dataset, tmp_path / "a.dcm"))
    (plain,) = read_dicom(save(dicom_files.mosaic(volume(0), 0), tmp_path / "b.dcm"))
    assert (one.voxels.dtype, one.scale) == (np.float32, 1.0)
    np.testing.assert_array_equal(one.voxels, plain.voxels * 2.0 - 100)


def test_a_file_without_a_tr_has_none(tmp_path):
    (one,) = read_dicom(save(dicom_files.mosaic(volume(0), 0, tr_ms=None), tmp_path / "a.dcm"))
    assert one.tr_s is None


def test_numbers_count_from_where_the_operator_says(tmp_path):
    path = save(dicom_files.mosaic(volume(0), 4), tmp_path / "a.dcm")
    assert [read_dicom(path, first_number=first)[0].index for first in (1, 5, 0)] == [4, 0, 5]


@pytest.mark.parametrize("name", ["InstanceNumber", "ImagePositionPatient", "PixelSpacing", "SeriesInstanceUID"])
def test_a_missing_element_of_the_geometry_is_an_answer(tmp_path, name):
    dataset = dicom_files.mosaic(volume(0), 0)
    delattr(dataset, name)
    assert name in str(refused(dataset, tmp_path / "a.dcm"))


def test_a_file_without_pixels_is_an_answer(tmp_path):
    dataset = dicom_files.mosaic(volume(0), 0)
    del dataset.PixelData
    assert "cannot be read as DICOM" in str(refused(dataset, tmp_path / "a.dcm"))


def test_a_colour_screenshot_in_the_export_is_no_volume(tmp_path):
    dataset = dicom_files.mosaic(volume(0), 0)
    dataset.SamplesPerPixel = 3
    assert "a colour image, no volume" in str(refused(dataset, tmp_path / "a.dcm"))


def slices_of(number=0, vendor="Philips"):
    return dicom_files.slices(volume(number), number, vendor=vendor)


def collect(datasets, folder):
    collector = SliceCollector()
    found = [collector.add(read_dicom(save(one, folder / f"{n}.dcm"))) for n, one in enumerate(datasets)]
    return collector, [volume for volumes in found for volume in volumes]


def without_count(number, vendor="CANON_MEC"):
    """One-slice files as Canon and Siemens XA's interoperability export write them: no slice count."""
    datasets = slices_of(number)
    for dataset in datasets:
        del dataset[0x2001, 0x1018]
        dataset.Manufacturer, dataset.AcquisitionNumber = vendor, number + 1
    return datasets


def test_slice_files_without_a_slice_count_become_volumes_once_two_volumes_are_there(tmp_path):
    collector, found = collect([*without_count(0), *without_count(1), *without_count(2)], tmp_path)
    _, wanted = collect([*slices_of(0), *slices_of(1), *slices_of(2)], tmp_path)
    assert [one.index for one in found] == [0, 1, 2]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.voxels, other.voxels)
    assert not collector.unfinished()


def test_slice_files_of_siemens_xa_are_numbered_by_their_acquisition(tmp_path):
    datasets = [*without_count(0, "Siemens Healthineers"), *without_count(1, "Siemens Healthineers")]
    for dataset in datasets:
        del dataset.TemporalPositionIdentifier
    _, found = collect(datasets, tmp_path)
    assert [one.index for one in found] == [0, 1]


def test_slice_files_that_nothing_tells_apart_are_refused_with_what_to_export(tmp_path):
    datasets = [*without_count(0), *without_count(1)]
    for dataset in datasets:
        del dataset.TemporalPositionIdentifier
        dataset.AcquisitionNumber = 1
    with pytest.raises(IncomingError, match="two slices at one place in volume 0: .*export as enhanced") as error:
        collect(datasets, tmp_path)
    assert error.value.code == "partial"
    del datasets[0].AcquisitionNumber
    assert "says which volume it belongs to; export as enhanced" in str(refused(datasets[0], tmp_path / "a.dcm"))


def test_the_standard_counts_stand_in_for_the_private_slice_count(tmp_path):
    datasets = slices_of()
    for dataset in datasets:
        del dataset[0x2001, 0x1018]
        dataset.ImagesInAcquisition, dataset.NumberOfTemporalPositions = 10 * SHAPE[2], 10
    collector, (whole,) = collect(datasets, tmp_path)
    assert whole.voxels.shape == SHAPE
    assert not collector.unfinished()


def test_a_slice_that_is_sent_twice_is_one_slice(tmp_path):
    datasets = slices_of()
    collector, found = collect([datasets[0], *datasets[:5]], tmp_path)
    assert not found
    assert "partial, 5 of 6 slices" in collector.unfinished()[0]


def test_two_volumes_whose_slices_interleave_are_kept_apart(tmp_path):
    pairs = zip(slices_of(0), slices_of(1), strict=True)
    _, found = collect([one for pair in pairs for one in pair], tmp_path)
    _, (alone,) = collect(slices_of(1), tmp_path)
    assert sorted(one.index for one in found) == [0, 1]
    np.testing.assert_array_equal(next(one for one in found if one.index == 1).voxels, alone.voxels)


def test_a_gap_between_slices_is_a_slice_that_is_missing(tmp_path):
    datasets = slices_of()
    x, y, z = datasets[3].ImagePositionPatient
    datasets[3].ImagePositionPatient = [x, y, z + 1.5]
    with pytest.raises(IncomingError, match=r"slices 0\.30 to 3\.30 mm apart: one is missing") as error:
        collect(datasets, tmp_path)
    assert error.value.code == "partial"


@pytest.mark.parametrize(("n_slices", "shape"), [(0, (4, 4)), (5, (4, 4)), (9, (8, 9)), (-1, (4, 4))])
def test_a_mosaic_whose_tiles_do_not_fit_is_refused(n_slices, shape):
    with pytest.raises(IncomingError, match=f"a mosaic of {n_slices} slices does not fit"):
        untile(np.zeros(shape, np.int16), n_slices, "a.dcm")


def test_a_mosaic_of_one_slice_is_a_volume_of_one_slice():
    picture = np.arange(12, dtype=np.int16).reshape(3, 4)
    np.testing.assert_array_equal(untile(picture, 1, "a.dcm")[:, :, 0], picture.T)


@pytest.mark.parametrize("vendor", ["Philips", "GE MEDICAL SYSTEMS"])
def test_each_slice_is_scaled_by_its_own_slope(tmp_path, vendor):
    datasets = slices_of(vendor=vendor)
    for k, dataset in enumerate(datasets):
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.5 + k, -k
    _, (one,) = collect(datasets, tmp_path)
    _, (plain,) = collect(slices_of(vendor=vendor), tmp_path)
    assert (one.voxels.dtype, one.scale) == (np.float32, 1.0)
    for k in range(SHAPE[2]):
        np.testing.assert_array_equal(one.voxels[..., k], plain.voxels[..., k] * (0.5 + k) - k)


def test_each_frame_of_an_enhanced_file_is_scaled_by_its_own_slope(tmp_path):
    dataset = dicom_files.enhanced([volume(0)], 0, vendor="Philips", slope=1.0)
    for k, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        group.PixelValueTransformationSequence[0].RescaleSlope = 1 + k
    (one,) = read_dicom(save(dataset, tmp_path / "a.dcm"))
    (plain,) = read_dicom(save(dicom_files.enhanced([volume(0)], 0), tmp_path / "b.dcm"))
    np.testing.assert_array_equal(one.voxels, plain.voxels * np.arange(1, 1 + SHAPE[2], dtype=np.float32))


def compressed(syntax):
    dataset = dicom_files.mosaic(volume(0), 0)
    dataset.PixelData = encapsulate([b"compressed"])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEG2000Lossless, JPEGLSLossless])
def test_compressed_pixels_without_a_plug_in_say_what_to_export(tmp_path, syntax):
    if get_decoder(syntax).is_available:
        pytest.skip(f"a plug-in for {syntax.name} is installed")
    sentence = str(refused(compressed(syntax), tmp_path / "a.dcm"))
    assert f"its pixels are compressed ({syntax.name})" in sentence
    assert (
        "export uncompressed (Explicit VR Little Endian), or install pydicom's plug-in: "
        'pip install "braind[dicom]"' in sentence
    )


def test_a_compression_that_the_plug_in_does_not_know_is_not_promised_to_it(tmp_path):
    if get_decoder(HTJ2KLossless).is_available:
        pytest.skip("a plug-in for HTJ2K is installed")
    sentence = str(refused(compressed(HTJ2KLossless), tmp_path / "a.dcm"))
    assert sentence.endswith("export uncompressed (Explicit VR Little Endian)")


def test_a_grid_of_uih_is_read_with_the_positions_of_its_slices(tmp_path):
    path = save(dicom_files.uih_grid(volume(3), 3), tmp_path / "a.dcm")
    (one,) = read_dicom(path)
    (mosaic,) = read_dicom(save(dicom_files.mosaic(volume(3), 3), tmp_path / "b.dcm"))
    np.testing.assert_array_equal(one.voxels, mosaic.voxels)
    np.testing.assert_allclose(one.affine, mosaic.affine, atol=1e-5)
    assert one.index == 3


def test_a_grid_of_uih_without_positions_says_what_to_export(tmp_path):
    dataset = dicom_files.uih_grid(volume(3), 3)
    del dataset[0x0065, 0x1051]
    assert "a UIH grid without the positions of its slices" in str(refused(dataset, tmp_path / "a.dcm"))
