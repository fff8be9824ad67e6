"""Pieces of offline decoding that need no model."""

from pathlib import Path

import numpy as np
import pytest

from braind.config import load_config
from braind.models.demo.subject.nsd_tree import TreeSize, simulate
from braind.models.sheets import contact_sheet
from braind.offline.decoding import DecodingError, SubjectDecoder, decode_trials, kind_captions, parse_positions


@pytest.mark.parametrize(
    ("text", "positions"),
    [
        ("all", list(range(20))),
        ("0", [0]),
        ("0,3,10-12", [0, 3, 10, 11, 12]),
        ("0:3", [0, 1, 2]),
        (":2,18:", [0, 1, 18, 19]),
    ],
)
def test_trials_are_named_by_numbers_and_ranges(text, positions):
    assert parse_positions(text, 20).tolist() == positions


@pytest.mark.parametrize("text", ["", "20", "-1", "a", "3-1", "5:5"])
def test_trials_that_do_not_exist_are_refused_with_what_there_is(text):
    with pytest.raises(DecodingError, match=r"0 to 19|0,3,10-19"):
        parse_positions(text, 20)


def test_trials_that_do_not_exist_are_refused_before_anything_is_loaded(tmp_path, monkeypatch):
    size = TreeSize(shapes=((10, 12, 8),), n_shared=24, n_bold_sessions=0)
    simulate(tmp_path / "nsd", [1], n_sessions=1, size=size)
    config = load_config(None, {"paths": {"data": str(tmp_path), "nsd": str(tmp_path / "nsd")}})
    monkeypatch.setattr(SubjectDecoder, "load", lambda *_: pytest.fail("loaded"))
    for averaged in (False, True):
        with pytest.raises(DecodingError, match="numbered 0 to"):
            decode_trials(config, 1, "999", "zc", Path("unused"), averaged=averaged)


def test_every_kind_has_a_caption_for_each_size_place_and_pair_of_colours():
    names, captions = kind_captions()
    assert len(names) == len(captions) == len(set(captions)) == 64 * 2 * 3 * 90
    assert all(name in caption.split() for name, caption in zip(names, captions, strict=True))


def test_a_sheet_of_simulated_data_says_so_and_holds_every_picture():
    grey = np.full((64, 64, 3), 120, np.uint8)
    plain = contact_sheet([[grey, grey]] * 14, ["seen", "Xzc"], "title", simulated=False)
    marked = contact_sheet([[grey, grey]] * 14, ["seen", "Xzc"], "title", simulated=True)
    assert plain.size == marked.size
    assert not np.array_equal(np.asarray(plain), np.asarray(marked))
    assert (np.asarray(plain) == 120).all(axis=2).sum() >= 14 * 2 * 64 * 64
