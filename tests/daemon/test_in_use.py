"""The weights that `braind use` names stay in use over kill -9 and a restart with the same command."""

import logging
import shutil
from dataclasses import replace

import msgspec
import nibabel as nib
import numpy as np
import pytest
from pipelines import decoder_settings
from running_daemon import AFFINE, SHAPE, RunningDaemon, hello, random_weights, volume_frames

from braind.client import wire
from braind.config import load_config
from braind.daemon.in_use import Start, WeightsInUse
from braind.errors import BraindError
from braind.models.weights.weights import Weights


def restarted(daemon):
    """Kill every process of a daemon; return one that the same command starts."""
    daemon.kill()
    daemon.close()
    again = RunningDaemon(daemon.files, daemon.data_path, **daemon.settings)
    again.paths = daemon.paths
    return again.start(wait=False).wait_bound()


def use(daemon, weights, path):
    weights.save(path)
    candidates_path = str(daemon.files.candidates_path)
    assert isinstance(daemon.ask(wire.Use(weights=str(path), candidates=candidates_path))[0], wire.Done)


def check_that_weights_stay_in_use(daemon, tmp_path):
    """Kill the daemon within a run that was recorded under other weights than it started with."""
    other = random_weights(daemon.files.ldm, seed=5)
    use(daemon, other, tmp_path / "other.safetensors")
    daemon.ask(wire.Pause(paused=True))
    with daemon.connect("ingest") as scanner:
        assert scanner.ask(hello()).weights == other.fingerprint
        assert isinstance(scanner.ask_frames(volume_frames(0)), wire.Ack)
    daemon = restarted(daemon)
    try:
        with daemon.watch() as viewer, daemon.connect("ingest") as scanner:
            welcome = scanner.ask(hello())
            assert (welcome.weights, welcome.next_index) == (other.fingerprint, 1)
            scanner.ask_frames(volume_frames(1))
            viewer.until(lambda message: (message.index, message.stage) == (1, "xzc"))
        decodes = [message for message, _ in daemon.decodes()]
        assert [message.index for message in decodes if message.stage == "xzc"] == [0, 1]
        assert {message.provenance.weights for message in decodes} == {other.fingerprint}
    finally:
        daemon.close()


def test_after_kill_9_the_same_command_decodes_with_the_weights_that_were_in_use(files, tmp_path):
    daemon = RunningDaemon(files, tmp_path)
    daemon.paths = {"weights": None, "candidates": None}
    (tmp_path / "weights").mkdir()
    shutil.copy(files.weights_path, tmp_path / "weights/subj01.safetensors")
    shutil.copy(files.candidates_path, tmp_path / "weights/subj01.candidates.safetensors")
    try:
        check_that_weights_stay_in_use(daemon.start(wait=False).wait_bound(), tmp_path)
    finally:
        daemon.close()


def test_a_daemon_that_began_without_weights_decodes_after_kill_9_with_those_in_use(files, tmp_path):
    daemon = RunningDaemon(files, tmp_path, mask=write_mask(files, tmp_path))
    daemon.paths |= {"weights": None, "candidates": None}
    try:
        check_that_weights_stay_in_use(daemon.start(wait=False).wait_bound(), tmp_path)
    finally:
        daemon.close()


def write_mask(files, folder, voxel_index=None):
    mask = np.zeros(SHAPE, np.uint8)
    mask.flat[files.weights.voxel_index if voxel_index is None else voxel_index] = 1
    nib.save(nib.Nifti1Image(mask, np.array(AFFINE)), folder / "mask.nii.gz")
    return folder / "mask.nii.gz"


@pytest.fixture
def config(tmp_path):
    return load_config(None, {"paths": {"data": str(tmp_path)}})


@pytest.fixture
def start(files):
    return Start(1, "beta", decoder_settings(files, ldm_path=str(files.ldm_path)))


@pytest.fixture
def other(files, tmp_path):
    """Other weights, which are in use."""
    other = random_weights(files.ldm, seed=5)
    other.save(tmp_path / "other.safetensors")
    return other


@pytest.fixture
def in_use(config, start, files, tmp_path, other):
    """The weights in use, kept for the next start."""
    in_use = WeightsInUse(config, start)
    weights_path = str(tmp_path / "other.safetensors")
    in_use.keep(other, msgspec.structs.replace(start.decoder, weights_path=weights_path))
    return in_use


def chosen(config, start):
    weights, decoder = WeightsInUse(config, start).choose()
    # the decoder process loads the same weights as the front
    assert weights.is_blank or Weights.load(decoder.weights_path).fingerprint == weights.fingerprint
    return "none" if weights.is_blank else weights.fingerprint


def test_weights_in_use_belong_to_a_subject_and_a_kind(config, start, in_use, files, other):
    assert chosen(config, start) == other.fingerprint
    assert chosen(config, replace(start, kind="bold")) == files.weights.fingerprint
    paths = [WeightsInUse(config, replace(start, subject=subject, kind=kind)).path
             for subject in (1, 2) for kind in ("beta", "bold")]  # fmt: skip
    assert len(set(paths)) == 4


def test_weights_that_the_command_line_names_win(config, start, in_use, files):
    assert chosen(config, replace(start, is_named=True)) == files.weights.fingerprint


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"weights_path": 3}', b"\xff"])
def test_weights_in_use_that_are_gone_or_damaged_are_said_and_the_daemon_starts(
    config, start, in_use, files, tmp_path, caplog, content
):
    if content is None:
        (tmp_path / "other.safetensors").unlink()
    else:
        in_use.path.write_bytes(content)
    assert chosen(config, start) == files.weights.fingerprint
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "the weights that were in use cannot be used" in record.getMessage()


def test_other_masks_begin_without_the_weights_in_use_and_the_same_masks_go_on_with_them(
    config, start, files, other, tmp_path, caplog
):
    first = replace(start, mask_paths=(write_mask(files, tmp_path),))
    in_use = WeightsInUse(config, first)
    in_use.keep(other, msgspec.structs.replace(start.decoder, weights_path=str(tmp_path / "other.safetensors")))
    assert chosen(config, first) == other.fingerprint
    write_mask(files, tmp_path, voxel_index=files.weights.voxel_index[1:])
    assert chosen(config, first) == "none"
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_a_file_that_holds_other_weights_since_is_said(config, start, in_use, files, caplog, tmp_path):
    files.weights.save(tmp_path / "other.safetensors")
    assert chosen(config, start) == files.weights.fingerprint
    assert "holds others now" in caplog.text


def test_weights_that_a_restart_would_not_find_are_not_taken(start, tmp_path, other):
    (tmp_path / "in-use").write_bytes(b"a file is no folder")
    in_use = WeightsInUse(load_config(None, {"paths": {"data": str(tmp_path)}}), start)
    with pytest.raises(BraindError, match="the weights stay as they were") as raised:
        in_use.keep(other, start.decoder)
    assert raised.value.code == "storage"
