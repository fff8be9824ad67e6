"""What `braind send` says about a run before its first volume."""

import pytest

from braind.client import wire
from braind.client.scanner import Onset
from braind.client.sending.doubts import doubts
from braind.client.sending.run_feed import RunPlan


def said(kind, daemons_kind, onsets=()):
    affine = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    grid = wire.Grid(subject=1, kind=daemons_kind, shape=(4, 5, 6), affine=affine, weights="w")
    return list(doubts(grid, RunPlan("ses", "run-1", kind), onsets))


@pytest.mark.parametrize(
    ("kind", "daemons", "words"),
    [
        ("bold", "beta", "is of kind bold, one volume a TR, and the daemon serves the kind beta, one volume a trial"),
        ("beta", "bold", "is of kind beta, one volume a trial, and the daemon serves the kind bold, one volume a TR"),
    ],
)
def test_a_run_of_another_kind_than_the_daemons_is_named_with_both_ways_out(kind, daemons, words):
    (sentence,) = said(kind, daemons, [Onset(0, 1.0)])
    assert words in sentence
    assert f"send with --kind {daemons}, or start the daemon with --kind {kind}" in sentence


def test_a_bold_run_without_onsets_says_that_nothing_will_be_decoded():
    (sentence,) = said("bold", "bold")
    assert "run run-1 has no onsets: nothing of it will be decoded" in sentence
    assert "braind send --events FILE" in sentence


@pytest.mark.parametrize(("kind", "onsets"), [("beta", []), ("bold", [Onset(0, 1.0)])])
def test_a_run_as_the_daemon_expects_it_gives_no_doubt(kind, onsets):
    assert said(kind, kind, onsets) == []
