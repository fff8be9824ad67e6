"""Compressed DICOM files, written by gdcm, are read as the uncompressed ones.

The extra braind[dicom] installs gdcm: pip install "braind[dicom]".
"""

from pathlib import Path

import dicom_files
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from braind.client.sending.dicom import read_dicom
from braind.client.sending.dicom_slices import Slice
from braind.client.sending.incoming import Incoming

gdcm = pytest.importorskip("gdcm", reason="braind[dicom] is not installed", exc_type=ImportError)

SYNTAXES = {
    "JPEGLosslessProcess14_1": "JPEG Lossless, Non-Hierarchical, First-Order Prediction",
    "JPEGLosslessProcess14": "JPEG Lossless, Non-Hierarchical",
    "JPEG2000Lossless": "JPEG 2000",
    "JPEGLSLossless": "JPEG-LS",
    "RLELossless": "RLE",
}
FORMS = {
    "mosaic": dicom_files.mosaic,
    "enhanced": lambda voxels, number: dicom_files.enhanced([voxels], number),
}


def compressed(path: Path, syntax: str) -> Path:
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    written = path.with_name(f"{syntax}.dcm")
    writer.SetFileName(str(written))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert SYNTAXES[syntax] in pydicom.dcmread(written).file_meta.TransferSyntaxUID.name
    return written


def only_volume(path: Path) -> Incoming:
    (volume,) = read_dicom(path)
    return volume


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("form", FORMS)
def test_a_compressed_volume_is_the_uncompressed_one(tmp_path, form, syntax):
    voxels = np.random.default_rng(1).integers(-300, 4000, (32, 28, 9)).astype(np.int16)
    path = tmp_path / "plain.dcm"
    FORMS[form](voxels, 3).save_as(path, enforce_file_format=True)
    ours, plain = only_volume(compressed(path, syntax)), only_volume(path)
    np.testing.assert_array_equal(ours.voxels, plain.voxels)
    np.testing.assert_array_equal(ours.affine, plain.affine)
    assert (ours.index, ours.series, ours.tr_s, ours.scale) == (plain.index, plain.series, plain.tr_s, plain.scale)


@pytest.mark.parametrize("name", ["MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_RLE.dcm"])
def test_a_scanners_slice_is_read_from_pydicoms_own_compressed_files(name):
    ours, plain = (
        read_dicom(Path(get_testdata_file(one, download=False) or pytest.skip(f"pydicom lacks {one}")))
        for one in (name, "MR_small.dcm")
    )
    assert isinstance(ours, Slice)
    assert isinstance(plain, Slice)
    np.testing.assert_array_equal(ours.plane, plain.plane)
    np.testing.assert_allclose(ours.affine, plain.affine)
