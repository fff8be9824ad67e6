"""Pieces of offline decoding that need no model."""

from pathlib import Path

import pytest

from braind.config import load_config
from braind.models.demo.subject.nsd_tree import TreeSize, simulate
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


def test_every_kind_has_a_caption_that_names_it():
    names, captions = kind_captions()
    assert len(names) == len(captions) == len(set(captions)) == 64
    assert all(name in caption.split() for name, caption in zip(names, captions, strict=True))
