"""One session at NSD's own volume size: files, shapes and the reader. Run by `make test-full-size`."""

import h5py
import numpy as np
import pytest

from braind.client.datasets.nsd.tree import NsdTree
from braind.models.demo.subject.nsd_tree import TreeSize, simulate

pytestmark = pytest.mark.full_size

SUBJECT_1 = (81, 104, 83)


@pytest.mark.timeout(1500)
def test_a_session_of_subject_1s_size_is_written_and_read(tmp_path):
    root = tmp_path / "nsd"
    simulate(root, [1], n_sessions=1, size=TreeSize(shapes=(SUBJECT_1,), n_shared=20, n_bold_sessions=0))
    tree = NsdTree(root)
    assert tree.shape(1) == SUBJECT_1
    voxel_index = np.flatnonzero(tree.roi_mask(1, ["early", "ventral"]))
    assert len(voxel_index) > 10_000
    voxels = tree.masked_betas(1, [1], voxel_index)
    assert voxels.shape == (750, len(voxel_index))
    (path,) = root.rglob("betas_session01.hdf5")
    with h5py.File(path) as file:
        assert file["betas"].shape == (750, *SUBJECT_1[::-1])
        assert file["betas"].dtype == np.int16
        x, y, z = np.unravel_index(voxel_index[1234], SUBJECT_1)
        np.testing.assert_array_equal(voxels[:, 1234], file["betas"][:, z, y, x].astype(np.float32) / np.float32(300))
