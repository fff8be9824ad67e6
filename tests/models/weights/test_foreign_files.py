"""Files of other programs: refused by their header, before gigabytes are read."""

import json
import os
import resource

import numpy as np
import pytest
from safetensors.numpy import save

from braind.models.fit import fit_weights
from braind.models.fit_profiles import FitSettings
from braind.models.weights.candidates import Candidates, CandidatesError
from braind.models.weights.file import file_fingerprint, fingerprint
from braind.models.weights.weights import Weights, WeightsError

HUGE_BYTES = 3 * 2**30


@pytest.fixture
def weights_file(trials, blank_card, tmp_path):
    path = tmp_path / "weights.safetensors"
    fit_weights(trials, blank_card, FitSettings()).save(path)
    return path


@pytest.fixture
def candidates_file(tmp_path):
    path = tmp_path / "candidates.safetensors"
    features = np.ones((3, 2), np.float32)
    Candidates(features, features, np.arange(3), ["a", "b", "c"]).save(path)
    return path


def add_foreign_tensor(path):
    """Add a tensor of 3 GB to a file's header, and make the file as long: a sparse file, which takes no disk."""
    content = path.read_bytes()
    n_header = int.from_bytes(content[:8], "little")
    header, tensors = json.loads(content[8 : 8 + n_header]), content[8 + n_header :]
    shape = [HUGE_BYTES // 4]
    header["unet.weight"] = {"dtype": "F32", "shape": shape, "data_offsets": [len(tensors), len(tensors) + HUGE_BYTES]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text + tensors)
        stream.truncate(8 + len(text) + len(tensors) + HUGE_BYTES)


def largest_memory_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize(
    ("load", "error", "file"),
    [(Weights.load, WeightsError, "weights_file"), (Candidates.load, CandidatesError, "candidates_file")],
)
def test_gigabytes_of_foreign_tensors_are_refused_by_name_and_not_read(load, error, file, request):
    path = request.getfixturevalue(file)
    load(path)
    add_foreign_tensor(path)
    before = largest_memory_bytes()
    with pytest.raises(error, match=rf"{path.name}: holds a tensor that braind does not know, 'unet.weight'; .* fit"):
        load(path)
    assert largest_memory_bytes() - before < 64 * 2**20


@pytest.mark.parametrize(
    ("load", "error", "file"),
    [(Weights.load, WeightsError, "weights_file"), (Candidates.load, CandidatesError, "candidates_file")],
)
def test_a_header_of_megabytes_is_refused_by_its_length(load, error, file, request):
    path = request.getfixturevalue(file)
    content = path.read_bytes()
    path.write_bytes((90_000_000).to_bytes(8, "little") + content[8:])
    os.truncate(path, 100_000_000)
    with pytest.raises(error, match=rf"{path.name}: its header has 90000000 bytes, at most \d+ are read; .*braind fit"):
        load(path)


@pytest.mark.parametrize("load", [Weights.load, Candidates.load])
def test_a_file_that_is_longer_than_its_tensors_is_refused(load, weights_file, candidates_file):
    path = weights_file if load == Weights.load else candidates_file
    with path.open("r+b") as stream:
        stream.truncate(HUGE_BYTES)
    with pytest.raises((WeightsError, CandidatesError), match="no readable"):
        load(path)


def test_many_foreign_tensors_are_one_short_sentence(weights_file):
    content = weights_file.read_bytes()
    card = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["card"]
    names = [f"layer \n\x1b[31m {number}" + "x" * 500 for number in range(50)]
    weights_file.write_bytes(save({name: np.zeros(1) for name in names}, metadata={"card": card}))
    with pytest.raises(WeightsError, match="and 49 more") as caught:
        Weights.load(weights_file)
    sentence = str(caught.value).removeprefix(str(weights_file))
    assert len(sentence) < 250
    assert sentence.isprintable()


def test_a_card_or_labels_of_10000_levels_are_refused_by_the_files_name(tmp_path):
    path = tmp_path / "deep.safetensors"
    deep = '{"schema": 2, "x": ' + "[" * 10_000 + "]" * 10_000 + "}"
    path.write_bytes(save({"nsd_id": np.zeros(1)}, metadata={"card": deep, "labels": deep}))
    with pytest.raises(WeightsError, match=r"deep\.safetensors: .* give a file that `braind fit` wrote"):
        Weights.load(path)
    with pytest.raises(CandidatesError, match=r"deep\.safetensors: .* make it with braind fit"):
        Candidates.load(path)


def test_the_fingerprint_of_a_file_is_the_hash_of_its_bytes(weights_file):
    assert Weights.load(weights_file).fingerprint == fingerprint(weights_file.read_bytes())
    assert file_fingerprint(weights_file) == fingerprint(weights_file.read_bytes())
