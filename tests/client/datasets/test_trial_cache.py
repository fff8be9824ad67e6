"""Cached sessions are what was read, made once, and made again when they or their sources are no longer the same."""

import numpy as np
import pytest

from braind.client.datasets.data_set import DataSetError, parse_numbers, span
from braind.client.datasets.trial_cache import TrialCache

VOXELS = np.array([3, 5, 8])


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "betas.hdf5"
    path.write_bytes(b"one")
    return path


@pytest.fixture
def cache(tmp_path):
    return TrialCache(tmp_path / "cache")


class Reader:
    """Reads, and counts how often."""

    def __init__(self):
        self.n_reads = 0

    def __call__(self):
        self.n_reads += 1
        return np.arange(12, dtype=np.int16).reshape(4, 3).T.copy().T


def test_a_session_is_read_once_and_lies_trial_by_trial(cache, source):
    read = Reader()
    for _ in range(3):
        responses = cache.session([source], VOXELS, "as stored", read)
        assert isinstance(responses, np.memmap)
        assert not responses.flags.writeable
        assert (responses == read()).all()
        read.n_reads -= 1
    assert read.n_reads == 1
    assert len(list(cache.folder.iterdir())) == 1


def test_other_voxels_another_source_or_way_are_read_anew(cache, source):
    read = Reader()
    cache.session([source], VOXELS, "as stored", read)
    cache.session([source], VOXELS + 1, "as stored", read)
    cache.session([source], VOXELS, "bold", read)
    source.write_bytes(b"longer")
    cache.session([source], VOXELS, "as stored", read)
    assert read.n_reads == 4


@pytest.mark.parametrize("damage", ["short", "flipped", "empty"])
def test_a_damaged_session_is_made_again(cache, source, damage):
    read = Reader()
    cache.session([source], VOXELS, "as stored", read)
    (path,) = cache.folder.iterdir()
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes({"short": content[:-6], "flipped": content, "empty": b""}[damage])
    assert (cache.session([source], VOXELS, "as stored", read) == np.arange(12).reshape(4, 3)).all()
    assert read.n_reads == 2


def test_an_interrupted_reading_leaves_nothing(cache, source):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.session([source], VOXELS, "as stored", interrupted)
    assert not cache.folder.exists()


def test_a_folder_that_cannot_be_written_is_said(source, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataSetError, match="cannot be written.*--data"):
        TrialCache(tmp_path / "file/cache").session([source], VOXELS, "as stored", Reader())


def test_sessions_are_named_by_numbers_and_ranges():
    assert parse_numbers("", "sessions") is None
    assert parse_numbers("3", "sessions") == [3]
    assert parse_numbers("1-3, 7,2", "sessions") == [1, 2, 3, 7]
    assert span([1, 2, 3, 7]) == "1-3, 7"
    for wrong in ("0", "3-1", "a", "1-", "-2", "1,,2"):
        with pytest.raises(DataSetError, match="such as 1-12,14"):
            parse_numbers(wrong, "sessions")
