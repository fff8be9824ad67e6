"""Checkpoints: which finished arrays a later attempt takes, and which it never takes."""

import numpy as np
import pytest

from braind.models.ridge.checkpoint import Checkpoint
from braind.offline.fit.targets import encode_targets

INPUTS = [np.arange(600.0).reshape(300, 2), np.arange(3)]
SETTINGS = ("0.1.0", 5)


def kept(work, inputs=INPUTS, settings=SETTINGS, finished=1.0):
    """The array that an attempt on these inputs gets: of an earlier attempt, or its own."""
    return float(Checkpoint.of_inputs(work, inputs, settings).array("sum", lambda: np.array(finished)))


def test_the_same_inputs_and_settings_take_the_finished_array(tmp_path):
    assert kept(tmp_path, finished=1.0) == 1
    assert kept(tmp_path, [array.copy() for array in INPUTS], finished=2.0) == 1


@pytest.mark.parametrize(
    ("inputs", "settings"),
    [
        ([INPUTS[0] + np.eye(300, 2, k=-298), INPUTS[1]], SETTINGS),  # a value far down differs
        ([INPUTS[0].reshape(2, 300), INPUTS[1]], SETTINGS),
        ([INPUTS[0], INPUTS[1].astype(np.int32)], SETTINGS),
        (INPUTS, ("0.1.0", 4)),
    ],
    ids=["value", "shape", "dtype", "settings"],
)
def test_other_inputs_or_settings_never_take_it(tmp_path, inputs, settings):
    kept(tmp_path, finished=1.0)
    assert kept(tmp_path, inputs, settings, finished=2.0) == 2


def test_an_array_whose_computation_is_interrupted_is_computed_again(tmp_path):
    checkpoint = Checkpoint(tmp_path / "work")

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoint.array("sum", interrupted)
    assert checkpoint.array("sum", lambda: np.array(2.0)) == 2


def test_parts_keep_arrays_of_one_name_apart(tmp_path):
    checkpoint = Checkpoint(tmp_path / "work")
    checkpoint.part("z").array("basis", lambda: np.zeros(2))
    assert checkpoint.part("c").array("basis", lambda: np.ones(2)).tolist() == [1, 1]


class Pictures:
    """Five pictures with captions, and a model that encodes them until it is interrupted."""

    root = "pictures"
    fingerprint = "0123456789ab"

    def __init__(self, interrupted_at=None):
        self.interrupted_at, self.encoded = interrupted_at, []

    def pictures(self, nsd_ids):
        return np.asarray(nsd_ids, np.float32)

    def captions(self, nsd_id):
        return [f"picture {nsd_id}"]

    def encode_pictures(self, pictures, z_px):
        if self.interrupted_at in pictures:
            raise KeyboardInterrupt
        self.encoded += pictures.astype(int).tolist()
        return pictures[:, None] * np.ones(z_px, np.float32)

    def encode_captions(self, captions):
        return np.array([[len(one)] for (one,) in captions], np.float32)


def test_an_interrupted_encoding_goes_on_with_the_pictures_that_are_left(tmp_path, monkeypatch):
    monkeypatch.setattr("braind.offline.fit.targets.ENCODED_AT_ONCE", 2)
    first, second = Pictures(interrupted_at=7), Pictures()
    nsd_ids = np.array([1, 3, 7, 8, 9])
    with pytest.raises(KeyboardInterrupt):
        encode_targets(first, first, nsd_ids, 4, tmp_path)
    z, c = encode_targets(second, second, nsd_ids, 4, tmp_path)
    assert (first.encoded, second.encoded) == ([1, 3], [7, 8, 9])
    whole = encode_targets(Pictures(), Pictures(), nsd_ids, 4)
    assert np.array_equal(z, whole[0])
    assert np.array_equal(c, whole[1])


def test_large_pictures_are_kept_a_few_at_a_time(tmp_path, monkeypatch):
    """A full-size model without a GPU encodes for minutes: an interruption loses few pictures."""
    monkeypatch.setattr("braind.offline.fit.targets.ENCODED_PIXELS", 3 * 4**2)
    first = Pictures(interrupted_at=9)
    with pytest.raises(KeyboardInterrupt):
        encode_targets(first, first, np.array([1, 3, 7, 8, 9]), 4, tmp_path)
    assert first.encoded == [1, 3, 7]
    first = Pictures(interrupted_at=9)
    with pytest.raises(KeyboardInterrupt):
        encode_targets(first, first, np.array([1, 3, 7, 8, 9]), 400, tmp_path)
    assert first.encoded == [1, 3, 7, 8]
