"""Policy `latest`: when behind, the newest volume's picture is made; no volume is forgotten."""

import sqlite3

import numpy as np
import pytest
from running_daemon import RunningDaemon, hello, values, volume_frames

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
    assert not any(message.failed for message in skipped)
    assert [message.events for message in skipped] == [None] * 3
    assert {message.index for message in heard if isinstance(message, wire.Decode)} == {3}
    status = daemon.status()
    assert (status.n_skipped - before.n_skipped, status.n_decoded - before.n_decoded) == (3, 1)
    assert status.n_acked - before.n_acked == 4
    assert status.n_waiting == 0


def test_mode_z_publishes_no_xzc(daemon):
    assert {message.stage for message, _ in daemon.decodes() if isinstance(message, wire.Decode)} == {"scores", "xz"}


def test_whole_volumes_are_kept_if_asked(daemon):
    with daemon.connect("ingest") as scanner:
        scanner.ask(hello(run="whole"))
        frames = volume_frames(0, run="whole")
        scanner.ask_frames(frames)
    database = sqlite3.connect(f"file:{daemon.status().journal}?mode=ro", uri=True)
    (whole,) = database.execute("SELECT whole FROM voxels JOIN volumes USING (arrival) WHERE run = 'whole'").fetchone()
    database.close()
    assert whole == frames[2]


# ── BOLD: trials that unfold, TR 4/3 s; final at the first volume 11 s after the onset ──────────────────────────────


def bold_frames(run, index):
    return volume_frames(index, stored=(1000 + values(index) / 100).astype(np.float32), run=run, scale=1.0)


def decode_bold_when_behind(daemon, run, onsets_s, indices, wanted, n_volumes=None):
    """Send a BOLD run while decoding rests; return all that is published of it when it goes on.

    What is wanted is the last message to wait for; when no volume waits any more, nothing may have followed it.
    """
    daemon.ask(wire.Pause(paused=True))
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        scanner.ask(hello(run=run, kind="bold", tr_s=4 / 3))
        for event, onset_s in enumerate(onsets_s):
            scanner.ask(wire.Event(session="ses", run=run, event=event, onset_s=onset_s))
        for index in indices:
            assert isinstance(scanner.ask_frames(bold_frames(run, index)), wire.Ack)
        if n_volumes is not None:
            assert isinstance(scanner.ask(wire.EndRun(session="ses", run=run, n_volumes=n_volumes)), wire.Ack)
        daemon.ask(wire.Pause(paused=False))
        viewer.until(wanted)
    if daemon.status().n_waiting:
        daemon.wait_until(lambda status: status.n_waiting == 0)
    return [message for message, _ in daemon.decodes() if message.run == run]


def states(daemon, run):
    """Return what became of a run's volumes, by index."""
    database = sqlite3.connect(f"file:{daemon.status().journal}?mode=ro", uri=True)
    found = dict(database.execute("SELECT volume_index, state FROM volumes WHERE run = ?", (run,)))
    database.close()
    return found


def words_for(message):
    """Return a message in short: volume, trial, stage or skipped, and whether it is the last word on the trial."""
    if isinstance(message, wire.Skipped):
        return message.index, None, "skipped", message.failed
    return message.index, message.event, message.stage, message.is_final


def decode_bold_paced(daemon, run):
    """Send a BOLD run of one trial, each volume when the last one is decoded; return what is heard."""
    heard = []
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        scanner.ask(hello(run=run, kind="bold", tr_s=4 / 3))
        scanner.ask(wire.Event(session="ses", run=run, event=0, onset_s=2.0))
        for index in range(11):
            scanner.ask_frames(bold_frames(run, index))
            if index >= 5:  # from 4 s after the onset
                last_stage = "scores" if index < 10 else "xz"
                # An earlier test's volume may still be decoded.
                place = run, last_stage
                heard += [one for one, _ in viewer.until(lambda found, place=place: (found.run, found.stage) == place)]
    return [message for message in heard if message.run == run]


def test_a_bold_volume_that_finds_the_decoder_free_is_never_passed_over(daemon):
    heard = decode_bold_paced(daemon, "bold-paced")
    provisional = [(index, 0, "scores", False) for index in range(5, 10)]
    assert [words_for(message) for message in heard] == [*provisional, (10, 0, "scores", True), (10, 0, "xz", True)]


def test_when_behind_the_newest_final_trial_gets_its_pictures_first_and_an_older_one_is_skipped_aloud(daemon):
    heard = decode_bold_when_behind(
        daemon, "bold-behind", (2.0, 10.0, 18.0), range(18), lambda message: message.index == 17
    )
    # trial 0 is final at volume 10, trial 1 at 16; trial 2 begins to unfold at 17
    assert [words_for(message) for message in heard] == [
        (10, None, "skipped", False),
        (16, 1, "scores", True),
        (16, 1, "xz", True),
        (17, 2, "scores", False),
    ]
    assert "newer" in heard[0].reason
    assert heard[0].events == (0,)
    assert states(daemon, "bold-behind") == dict.fromkeys(range(18), "used") | {10: "skipped", 16: "decoded"}


def test_when_behind_only_the_newest_volume_says_what_is_known_of_a_trial_that_unfolds(daemon):
    heard = decode_bold_when_behind(daemon, "bold-provisional", (2.0,), range(9), lambda message: message.index == 8)
    assert [words_for(message) for message in heard] == [(8, 0, "scores", False)]
    assert heard[0].since_onset_s == pytest.approx(8 * 4 / 3 - 2, abs=1e-3)
    assert 0 < heard[0].uncertainty < 1
    assert states(daemon, "bold-provisional") == dict.fromkeys(range(9), "used")


def test_a_volume_that_comes_late_is_kept_unused_and_takes_no_trials_pictures(daemon):
    indices = [*range(9), *range(10, 18), 9]  # the newest to arrive is late, volume 10 ends a trial
    heard = decode_bold_when_behind(
        daemon, "bold-late", (2.0,), indices, lambda message: is_xz(message) and message.run == "bold-late"
    )
    named = {"session": "ses", "run": "bold-late"}
    assert heard[0] == wire.Gap(seq=heard[0].seq, index=9, n_missing=1, made_s=heard[0].made_s, **named)
    assert heard[1].events == ()
    assert [words_for(message) for message in heard[1:]] == [
        (9, None, "skipped", False),
        (10, 0, "scores", True),
        (10, 0, "xz", True),
    ]
    assert states(daemon, "bold-late") == dict.fromkeys(range(18), "used") | {10: "decoded", 9: "late"}


def test_when_behind_a_volume_that_came_out_of_order_does_not_hide_the_newest(daemon):
    indices = [*range(10), 11, 10]  # volume 11 is the newest, though volume 10 arrived last
    heard = decode_bold_when_behind(
        daemon, "bold-swapped", (2.0, 10.0), indices, lambda message: message.index == 11
    )  # fmt: skip
    assert [words_for(message) for message in heard] == [
        (10, 0, "scores", True),
        (10, 0, "xz", True),
        (11, 1, "scores", False),
    ]


def test_what_was_passed_over_is_part_of_the_estimates_that_follow(daemon):
    paced = decode_bold_paced(daemon, "bold-in-time")
    behind = decode_bold_when_behind(daemon, "bold-in-a-heap", (2.0,), range(11), is_xz)
    assert words_for(behind[0]) == (10, 0, "scores", True)
    assert behind[0].retrieved == paced[-2].retrieved
    assert behind[0].uncertainty == paced[-2].uncertainty


def test_when_behind_the_end_of_a_run_is_newer_than_its_last_volumes(daemon):
    heard = decode_bold_when_behind(
        daemon, "bold-end", (2.0, 10.0), range(14), lambda message: is_xz(message) and message.event == 1, n_volumes=14
    )
    # trial 0 is final at volume 10; the run's end at volume 13 makes trial 1 final, 7.3 s after its onset
    assert [words_for(message) for message in heard] == [
        (10, None, "skipped", False),
        (13, 1, "scores", True),
        (13, 1, "xz", True),
    ]
    assert heard[-1].since_onset_s == pytest.approx(13 * 4 / 3 - 10, abs=1e-3)
