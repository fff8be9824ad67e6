"""Weights, candidates and models that do not fit are refused before a model is loaded, by the file and what to do."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from msgspec import structs
from safetensors import safe_open
from safetensors.numpy import save_file

from braind.client.datasets.data_set import DataSetError
from braind.daemon.preflight import load_weights, record_only
from braind.errors import BraindError
from braind.models.weights.candidate_names import CandidateNames
from braind.models.weights.candidates import Candidates, CandidatesError
from braind.models.weights.weights import WeightsError

SHAPE = (4, 5, 6)


def test_what_fits_is_loaded(files):
    weights = load_weights(1, files.weights_path, files.candidates_path, None)
    assert weights.fingerprint == files.weights.fingerprint


def test_weights_that_the_daemon_cannot_use_are_refused(files, tmp_path):
    z_scored = replace(files.weights, card=structs.replace(files.weights.card, z_score="full"), fingerprint="")
    z_scored.save(tmp_path / "z-scored.safetensors")
    for arguments, code, words in (
        ((2, files.weights_path, files.candidates_path, None), "subject", "braind serve --subject 2"),
        ((1, files.weights_path, tmp_path / "none.safetensors", None), "weights", "make it with `braind fit"),
        ((1, tmp_path / "z-scored.safetensors", files.candidates_path, None), "z_score", "--z-score none"),
        ((1, files.weights_path, files.candidates_path, tmp_path), "ldm", "give a diffusers folder"),
    ):
        with pytest.raises(BraindError, match=words) as error:
            load_weights(*arguments)
        assert error.value.code == code


def mask(path: Path, *voxels, affine=None, shape=SHAPE) -> Path:
    values = np.zeros(shape, np.uint8)
    for voxel in voxels:
        values[voxel] = 1
    nib.save(nib.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return path


def test_without_weights_the_voxels_in_any_mask_are_recorded(tmp_path):
    masks = [mask(tmp_path / "a.nii", (0, 0, 1), (1, 1, 1)), mask(tmp_path / "b.nii", (1, 1, 1), (3, 4, 5))]
    weights = record_only(3, masks, "bold")
    assert weights.is_blank
    assert weights.voxel_index.tolist() == [1, 37, 119]
    assert (weights.card.subject, weights.card.kind, weights.card.shape) == (3, "bold", SHAPE)


def test_masks_that_cannot_be_used_are_refused(tmp_path):
    first, moved = mask(tmp_path / "a.nii", (0, 0, 0)), np.eye(4)
    moved[0, 3] = 0.2
    with pytest.raises(DataSetError, match=r"b\.nii has the grid \(5, 5, 5\), .*a\.nii's volumes \(4, 5, 6\)"):
        record_only(1, [first, mask(tmp_path / "b.nii", shape=(5, 5, 5))], "beta")
    with pytest.raises(DataSetError, match=r"c\.nii lies up to 0\.2 mm away"):
        record_only(1, [first, mask(tmp_path / "c.nii", affine=moved)], "beta")
    with pytest.raises(WeightsError, match="the mask holds no voxel"):
        record_only(1, [mask(tmp_path / "d.nii")], "beta")
    (tmp_path / "e.nii").write_bytes(b"no image")
    with pytest.raises(DataSetError, match=r"e\.nii cannot be read as NIfTI"):
        record_only(1, [tmp_path / "e.nii"], "beta")


@pytest.mark.parametrize("name", ["w" * 5_000, "w/" * 3_000, "w\0"])
def test_a_path_that_no_file_can_have_is_refused_in_one_sentence(files, name):
    for paths in ((Path("/") / name, files.candidates_path), (files.weights_path, Path("/") / name)):
        with pytest.raises(BraindError) as refused:
            load_weights(1, *paths, None)
        assert refused.value.code == "weights"
        assert len(str(refused.value)) < 400


def test_a_mask_without_a_place_or_of_other_axes_is_refused(tmp_path):
    placeless = np.eye(4)
    placeless[0, 0] = np.nan
    image = nib.Nifti1Image(np.ones(SHAPE, np.uint8), None)
    image.header.set_sform(placeless, 1)
    nib.save(image, tmp_path / "placeless.nii")
    for path, code, words in (
        (tmp_path / "placeless.nii", "affine", "not 4 × 4 finite numbers"),
        (mask(tmp_path / "series.nii", shape=(*SHAPE, 2)), "shape", r"series\.nii has the shape \(4, 5, 6, 2\)"),
        (mask(tmp_path / "slice.nii", shape=SHAPE[:2]), "shape", r"slice\.nii has the shape \(4, 5\)"),
    ):
        with pytest.raises(BraindError, match=words) as refused:
            record_only(1, [path], "beta")
        assert refused.value.code == code


def test_candidates_of_another_model_are_refused_before_the_decoder_meets_them(files, tmp_path):
    other = replace(files.candidates, z=files.candidates.z[:, :, :4, :4])
    other.save(tmp_path / "other.safetensors")
    with pytest.raises(BraindError, match=r"other\.safetensors: z of shape .*beside the weights") as refused:
        load_weights(1, files.weights_path, tmp_path / "other.safetensors", None)
    assert refused.value.code == "candidates"
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    with pytest.raises(BraindError, match="no readable candidate set"):
        load_weights(1, files.weights_path, tmp_path / "broken.safetensors", None)


def changed(path: Path, into: Path, card=None, labels=None, **tensors) -> Path:
    """Write a copy of a file with other tensors, another card or other labels."""
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
        content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    if card is not None:
        metadata["card"] = card if isinstance(card, str) else json.dumps(json.loads(metadata["card"]) | card)
    if labels is not None:
        metadata = {"labels": labels}
    save_file({**content, **{name.replace("__", "."): tensor for name, tensor in tensors.items()}}, into, metadata)
    return into


@pytest.mark.parametrize(
    "change",
    [
        {"z__positions": np.full(40, np.nan, np.float32)},
        {"voxel_index": np.array([0.0])},
        {"voxel_index": np.empty(0, np.int64)},
        {"z__left": np.array(1, np.float32)},
        {"card": {"affine": []}},
        {"card": {"tr_s": -1}},
        {"card": "[" * 20_000},
    ],
)
def test_weights_that_are_not_what_they_seem_are_refused_in_a_sentence(files, tmp_path, change):
    path = changed(files.weights_path, tmp_path / "w.safetensors", **change)
    with pytest.raises(WeightsError, match=r"w\.safetensors: .*fit again|w\.safetensors: .*give a file|orientation"):
        load_weights(1, path, files.candidates_path, None)


@pytest.mark.parametrize(
    "change",
    [
        {"nsd_id": np.arange(3)},
        {"nsd_id": np.arange(12).reshape(12, 1)},
        {"nsd_id": np.arange(12) + 0.5},
        {"labels": "[]"},
        {"labels": "[" * 20_000},
    ],
)
def test_names_of_candidates_that_do_not_fit_are_refused_in_a_sentence(files, tmp_path, change):
    path = changed(files.candidates_path, tmp_path / "c.safetensors", **change)
    for load in (Candidates.load, CandidateNames.load):
        with pytest.raises(CandidatesError, match=r"c\.safetensors: .*braind fit"):
            load(path)


def test_a_model_folder_that_cannot_be_read_is_refused_in_a_sentence(files):
    with pytest.raises(BraindError, match="give a diffusers folder that can be read") as refused:
        load_weights(1, files.weights_path, files.candidates_path, Path("/" + "m" * 5000))
    assert refused.value.code == "ldm"


def test_a_missing_weights_file_names_the_fit_of_its_kind(files, tmp_path):
    for kind, command in (("beta", "braind fit --subject 1`"), ("bold", "braind fit --kind bold --subject 1`")):
        with pytest.raises(BraindError) as error:
            load_weights(1, tmp_path / "none.safetensors", files.candidates_path, None, kind)
        assert str(error.value).endswith(command)


def test_a_file_that_is_no_weights_file_is_called_so(files, tmp_path):
    (tmp_path / "read.me").write_text("# Not weights, and longer than the header of a safetensors file\n")
    (tmp_path / "empty").touch()
    for path in (tmp_path / "read.me", tmp_path / "empty", files.candidates_path):
        with pytest.raises(BraindError, match="no weights file") as error:
            load_weights(1, path, files.candidates_path, None)
        assert str(error.value).startswith(str(path))
        assert str(error.value).endswith("give a file that `braind fit` wrote")
