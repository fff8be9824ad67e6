"""The lines between front and decoder: what one process writes, the other reads."""

from typing import get_args

import msgspec
import pytest
from pipelines import decoder_settings, setup_line

from braind.daemon import link

VOLUME = {"session": "ses", "run": "run-01", "index": 7}
TO_DECODER = [
    link.Wake(arrived_s=12.5, ack_s=0.003, **VOLUME),
    link.EndOfRun(session="ses", run="run-01"),
    link.PauseDecoding(paused=True),
    link.SetPolicy(policy="latest"),
    link.Stop(),
]
TO_FRONT = [
    link.Ready(engine="torch", ldm="l", preset="live-4", load_s=1.5, warm_up_s=0.5),
    link.Taking(**VOLUME),
    link.Committed(session="ses", seq=3),
    link.Settled(state="late", **VOLUME),
    link.Alive(within_s=8.0),
    link.Unfit(code="ldm", sentence="two lines,\nand what to do: “fit” again"),
]


@pytest.mark.parametrize("line", TO_DECODER, ids=lambda line: type(line).__name__)
def test_the_decoder_reads_what_the_front_writes(line):
    assert link.decode_for_decoder(link.encode(line)) == line


@pytest.mark.parametrize("line", TO_FRONT, ids=lambda line: type(line).__name__)
def test_the_front_reads_what_the_decoder_writes(line):
    assert link.decode_for_front(link.encode(line)) == line


def test_no_line_is_left_out_here(tmp_path):
    setup = setup_line(tmp_path, decoder_settings())
    assert {type(line) for line in (setup, *TO_DECODER)} == set(get_args(link.ToDecoder))
    assert {type(line) for line in TO_FRONT} == set(get_args(link.ToFront))


@pytest.mark.parametrize("line", [*TO_DECODER, *TO_FRONT], ids=lambda line: type(line).__name__)
def test_a_line_ends_with_its_only_newline(line):
    assert link.encode(line).index(b"\n") == len(link.encode(line)) - 1


def test_a_line_for_the_other_process_is_refused():
    with pytest.raises(msgspec.ValidationError):
        link.decode_for_front(link.encode(link.Stop()))
    with pytest.raises(msgspec.ValidationError):
        link.decode_for_decoder(link.encode(link.Taking(**VOLUME)))
