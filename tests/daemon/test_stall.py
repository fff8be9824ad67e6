"""A run within which no volume comes any more: what the wire, the log and `braind status` say."""

import subprocess
import sys

import pytest
from running_daemon import RunningDaemon, hello, volume_frames

from braind.client import wire
from braind.daemon import stall as stall_module
from braind.daemon.stall import Stall


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock's time, set by the test."""
    now_s = [1000.0]
    monkeypatch.setattr(stall_module.time, "monotonic", lambda: now_s[0])
    return now_s


@pytest.fixture
def log(caplog):
    caplog.set_level("INFO", "braind.daemon")
    return caplog


def said(log):
    return [record.getMessage() for record in log.records if record.name == "braind.daemon.stall"]


@pytest.mark.parametrize(("kind", "tr_s"), [("beta", 4.0), ("bold", 1.6)])
def test_a_run_stalls_two_tr_and_a_second_after_its_last_volume(clock, log, kind, tr_s):
    stall, run = Stall(), hello(kind=kind, tr_s=tr_s)
    stall.open(run)
    stall.add_volume(run)
    clock[0] += 2 * tr_s + 0.75
    assert stall.seconds() is None
    clock[0] += 0.5
    assert stall.seconds() == pytest.approx(2 * tr_s + 1.25, abs=0.06)
    clock[0] += 1
    assert stall.seconds() == pytest.approx(2 * tr_s + 2.25, abs=0.06)
    stall.add_volume(run)
    assert stall.seconds() is None
    assert len(said(log)) == 2
    assert "no volume for" in said(log)[0]
    assert "the next volume came" in said(log)[1]


def test_nothing_stalls_before_the_first_volume_after_the_end_or_when_another_run_was_opened(clock, log):
    stall, run, other = Stall(), hello(), hello(run="run-02")
    stall.open(run)
    clock[0] += 30
    assert stall.seconds() is None
    stall.add_volume(run)
    stall.end("ses", "run-01")
    clock[0] += 30
    assert stall.seconds() is None
    stall.add_volume(run)
    stall.open(other)
    clock[0] += 30
    assert stall.seconds() is None
    assert said(log) == []


def test_a_sender_that_comes_back_without_a_volume_and_the_end_of_another_run_end_no_stall(clock, log):
    stall, run = Stall(), hello()
    stall.add_volume(run)
    clock[0] += 10
    assert stall.seconds() == 10.0
    stall.open(run)
    stall.end("ses", "run-02")
    assert stall.seconds() == 10.0
    stall.end("ses", "run-01")
    assert stall.seconds() is None
    assert [words.split(" ", 2)[2] for words in said(log)] == [
        "no volume for 10.0 s", "the run ended after 10.0 s without a volume",
    ]  # fmt: skip


def test_a_run_that_is_taken_to_be_broken_off_stalls_no_longer(clock, log):
    stall, run = Stall(), hello()
    stall.add_volume(run)
    clock[0] += 59
    assert stall.seconds() == 59.0
    clock[0] += 2
    assert stall.seconds() is None
    assert "broken off after 61.0 s" in said(log)[-1]


def test_viewers_and_status_hear_of_a_stall_and_of_its_end(files, tmp_path):
    daemon = RunningDaemon(files, tmp_path).start(wait=False).wait_bound()
    try:
        with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
            scanner.ask(hello(tr_s=0.2))
            assert viewer.receive().stalled_s is None
            scanner.ask_frames(volume_frames(0))
            while not isinstance(beat := viewer.receive(), wire.Heartbeat) or beat.stalled_s is None:
                pass
            assert beat.stalled_s > 1.4
            assert daemon.status().stalled_s >= beat.stalled_s
            command = [sys.executable, "-m", "braind", "status", "--data", daemon.data_path]
            shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            assert float(dict(line.split(maxsplit=1) for line in shown.splitlines())["stalled_s"]) >= beat.stalled_s
            # a volume that is sent again is no new volume
            assert scanner.ask_frames(volume_frames(0)).duplicate
            assert daemon.status().stalled_s is not None
            scanner.ask_frames(volume_frames(1))
            assert daemon.status().stalled_s is None
        assert "run run-01: no volume for" in daemon.words()
        assert "run run-01: the next volume came after" in daemon.words()
    finally:
        daemon.close()
