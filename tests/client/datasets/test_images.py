"""NIfTI images of recorded data: a damaged file is named, never read as other numbers."""

import nibabel as nib
import numpy as np
import pytest

from braind.client.datasets.data_set import DataSetError
from braind.client.datasets.images import load_nifti, mask_of_file, scaled, stored, voxels_of

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
SHAPE = (6, 7, 8)
READERS = {"stored": stored, "scaled": scaled, "voxels": lambda image: voxels_of(image, np.arange(5))}


@pytest.fixture
def path(tmp_path):
    numbers = np.random.default_rng(0).integers(-300, 300, (*SHAPE, 3), dtype=np.int16)
    nib.save(nib.Nifti1Image(numbers, AFFINE), tmp_path / "bold.nii.gz")
    return tmp_path / "bold.nii.gz"


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_one_damaged_bit_of_a_compressed_image_is_named(path, read):
    whole = path.read_bytes()
    for position in range(len(whole) * 9 // 10, len(whole) - 12, 11):
        damaged = bytearray(whole)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(DataSetError, match=r"bold\.nii\.gz is damaged or cut short"):
            read(load_nifti(path))


def test_a_damaged_mask_is_named(tmp_path):
    path = tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(np.random.default_rng(0).integers(0, 2, SHAPE).astype(np.int16), AFFINE), path)
    damaged = bytearray(path.read_bytes())
    damaged[-6] ^= 1  # the checksum's own bytes
    path.write_bytes(damaged)
    with pytest.raises(DataSetError, match=r"mask\.nii\.gz is damaged"):
        mask_of_file(str(path), 1, SHAPE, AFFINE)
