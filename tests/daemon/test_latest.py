"""Policy `latest`: when behind, the newest volume's picture is made; no volume is forgotten."""

import pytest
from running_daemon import RunningDaemon, hello, volume_frames

from braind.client import wire


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    daemon = RunningDaemon(
        files,
        tmp_path_factory.mktemp("latest"),
        serve={"policy": "latest", "store_volumes": True},
        decode={"mode": "z"},
    )
    yield daemon.start()
    daemon.close()


def is_xz(message):
    return isinstance(message, wire.Decode) and message.stage == "xz"


def test_a_volume_that_finds_the_decoder_free_is_never_skipped(daemon):
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        scanner.ask(hello(run="paced"))
        for index in range(4):
            scanner.ask_frames(volume_frames(index, run="paced"))
            heard = viewer.until(is_xz)
            assert [(message.index, message.stage) for message, _ in heard] == [(index, "scores"), (index, "xz")]


def test_when_behind_older_volumes_are_skipped_aloud_and_stay_in_the_journal(daemon):
    before = daemon.status()
    daemon.ask(wire.Pause(paused=True))
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        scanner.ask(hello(run="behind"))
        for index in range(4):
            scanner.ask_frames(volume_frames(index, run="behind"))
        daemon.ask(wire.Pause(paused=False))
        heard = [message for message, _ in viewer.until(is_xz)]
    skipped = [message for message in heard if isinstance(message, wire.Skipped)]
    assert [message.index for message in skipped] == [0, 1, 2]
    assert all("newer" in message.reason for message in skipped)
    assert {message.index for message in heard if isinstance(message, wire.Decode)} == {3}
    status = daemon.status()
    assert (status.n_skipped - before.n_skipped, status.n_decoded - before.n_decoded) == (3, 1)
    assert status.n_acked - before.n_acked == 4
    assert status.n_waiting == 0


def test_mode_z_publishes_no_xzc(daemon):
    assert {message.stage for message, _ in daemon.decodes() if isinstance(message, wire.Decode)} == {"scores", "xz"}


def test_whole_volumes_are_kept_if_asked(daemon):
    import sqlite3

    with daemon.connect("ingest") as scanner:
        scanner.ask(hello(run="whole"))
        frames = volume_frames(0, run="whole")
        scanner.ask_frames(frames)
    database = sqlite3.connect(f"file:{daemon.status().journal}?mode=ro", uri=True)
    (whole,) = database.execute("SELECT whole FROM voxels JOIN volumes USING (arrival) WHERE run = 'whole'").fetchone()
    database.close()
    assert whole == frames[2]
