"""Files that are there whole or not at all: what a reader, a writer that fails, and a full disk find."""

import stat
from pathlib import Path

import numpy as np
import pytest

from braind.models.ridge.checkpoint import Checkpoint
from braind.whole_file import write_on_disk, write_whole


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with write_whole(path) as unfinished_path:
        unfinished_path.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_that_are_missing_are_made(tmp_path):
    with write_whole(tmp_path / "a" / "b" / "file") as unfinished_path:
        unfinished_path.write_text("content")
    assert (tmp_path / "a" / "b" / "file").read_text() == "content"


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    def interrupted():
        with write_whole(path) as unfinished_path:
            unfinished_path.write_bytes(b"half of")
            raise KeyboardInterrupt

    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_names_the_file_that_it_has_no_room_for(tmp_path):
    path = tmp_path / "file"
    with (
        pytest.raises(OSError, match=f"No space left on device: '{path}'"),
        write_whole(path),
        open("/dev/full", "wb") as full,
    ):
        full.write(b"content")


def test_a_file_that_cannot_take_its_place_leaves_nothing_behind(tmp_path):
    path = tmp_path / "file"
    path.mkdir()
    with pytest.raises(IsADirectoryError), write_whole(path) as unfinished_path:
        unfinished_path.touch()
    assert list(tmp_path.iterdir()) == [path]


def test_a_computation_that_is_interrupted_leaves_no_half_array(tmp_path):
    def interrupted():
        raise KeyboardInterrupt

    kept = Checkpoint(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        kept.array("sums", interrupted)
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(kept.array("sums", lambda: np.arange(3)), np.arange(3))


def test_a_file_that_must_be_on_the_disk_is_private_if_asked_and_replaced_whole(tmp_path):
    path = tmp_path / "made" / "secret"
    write_on_disk(path, b"first", mode=0o600)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"first", 0o600)
    write_on_disk(path, b"second", mode=0o600)
    assert path.read_bytes() == b"second"
    assert [file.name for file in path.parent.iterdir()] == ["secret"]
