"""Encoding maps: names and descriptions of files, voxels' places, and the comparison with a known truth."""

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from braind.offline.encode.maps import MapFolder
from braind.offline.encode.truth import compare_with_truth, preference

SHAPE = (3, 4, 5)
AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])


@pytest.fixture
def data(tmp_path):
    mask = np.zeros(SHAPE, bool)
    mask[1, 1:3, 2:] = True
    return SimpleNamespace(
        brainmask=lambda subject: mask, shape=lambda subject: SHAPE, affine=lambda subject: AFFINE,
        label=lambda subject: f"{subject:02d}", task="nsd", space="T1w", is_simulated=lambda: False,
        brainmask_path=lambda subject: tmp_path / "derivatives/mask.nii.gz", root=tmp_path,
    )  # fmt: skip


def test_a_map_holds_each_voxels_value_at_its_place_and_0_outside(data, tmp_path):
    maps = MapFolder.create(tmp_path / "out", data, 3)
    values = np.arange(1, 7, dtype=np.float32)
    path = maps.write(values, "zcStrength08", "stat-r_statmap")
    assert path == tmp_path / "out/sub-03/func/sub-03_task-nsd_space-T1w_desc-zcStrength08_stat-r_statmap.nii.gz"
    image = nib.load(path)
    assert np.array_equal(image.affine, AFFINE)
    volume = np.asarray(image.dataobj)
    assert volume[data.brainmask(3)].tolist() == values.tolist()
    assert np.count_nonzero(volume) == 6


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_masks_and_labels_keep_their_dtype(data, tmp_path, dtype):
    maps = MapFolder.create(tmp_path / "out", data, 1)
    path = maps.write(np.ones(6, dtype), "z", "mask")
    assert nib.load(path).get_data_dtype() == dtype


def test_the_folder_describes_itself(data, tmp_path):
    MapFolder.create(tmp_path / "out", data, 1)
    description = json.loads((tmp_path / "out/dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert "SIMULATED" not in description["Name"]
    for suffix in ("mask", "dseg"):
        sidecar = json.loads((tmp_path / f"out/task-nsd_space-T1w_{suffix}.json").read_text())
        assert sidecar == {"SpatialReference": "derivatives/mask.nii.gz"}


def test_maps_of_simulated_data_say_so(data, tmp_path):
    data.is_simulated = lambda: True
    MapFolder.create(tmp_path / "out", data, 1)
    assert "SIMULATED" in json.loads((tmp_path / "out/dataset_description.json").read_text())["Name"]


def test_without_a_space_the_names_have_none(data, tmp_path):
    data.space = ""
    path = MapFolder.create(tmp_path / "out", data, 1).write(np.ones(6, np.float32), "z", "stat-p_statmap")
    assert path.name == "sub-01_task-nsd_desc-z_stat-p_statmap.nii.gz"


def test_the_truth_is_compared_within_visual_cortex_only():
    rng = np.random.default_rng(0)
    truth = np.concatenate([np.full(20, np.nan), np.ones(15), rng.random(25) * 0.9])
    z, c = rng.normal(size=(2, 60))
    models = {"z": SimpleNamespace(correlation=z), "c": SimpleNamespace(correlation=c)}
    assert preference(models) == pytest.approx(z - c)
    found = compare_with_truth(models, truth)
    assert (found["visual"]["n_voxels"], found["higher"]["n_voxels"]) == (40, 25)
    assert found["visual"]["pearson"] == pytest.approx(np.corrcoef(truth[20:], (z - c)[20:])[0, 1])
