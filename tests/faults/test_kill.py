"""kill -9: of everything at any moment, of the decoder in the middle of a volume, of the decoder twice."""

import random
import sqlite3

import pytest
from running_daemon import PATIENCE_S, RunningDaemon, hello, volume_frames

from braind.client import wire

STAGES = ["scores", "xz", "xzc"]
N_KILLS = 3


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    # Enough denoiser calls that a picture takes long beside the way from a stage to a signal.
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("kill"), decode={"num_inference_steps": 12})
    yield daemon.start(wait=False).wait_bound()
    daemon.close()


def stages_by_index(daemon, run):
    """Return the stages published for each volume of a run, in order."""
    found = {}
    for message, _ in daemon.decodes():
        if message.run == run:
            found.setdefault(message.index, []).append(getattr(message, "stage", "skipped"))
    return found


def restart(daemon):
    daemon.close()
    daemon.__init__(daemon.files, daemon.data_path, **daemon.settings)
    daemon.start(wait=False).wait_bound()


def test_whatever_was_acked_before_a_kill_of_everything_is_decoded_once_after_a_restart(daemon):
    chance = random.Random(11)
    acked, number = set(), 0
    for _ in range(N_KILLS):
        with daemon.connect("ingest") as scanner:
            number = scanner.ask(hello(run="killed")).next_index
            assert set(range(number)) >= acked
            n_sent = chance.randrange(1, 4)
            for index in range(number, number + n_sent):
                scanner.socket.send_multipart(volume_frames(index, run="killed"))
            n_answers = chance.randrange(n_sent + 1)
            for _ in range(n_answers):
                acked.add(scanner.receive().index)
            daemon.kill()
        restart(daemon)
    with daemon.connect("ingest") as scanner:
        number = scanner.ask(hello(run="killed")).next_index
        assert set(range(number)) >= acked
        assert isinstance(scanner.ask_frames(volume_frames(number, run="killed")), wire.Ack)
    daemon.wait_ready()
    daemon.wait_until(lambda status: status.n_waiting == 0)
    assert stages_by_index(daemon, "killed") == dict.fromkeys(range(number + 1), STAGES)
    database = sqlite3.connect(f"file:{daemon.status().journal}?mode=ro", uri=True)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_a_decoder_killed_in_the_middle_of_a_volume_costs_no_volume_and_repeats_no_stage(daemon):
    restarts = daemon.status().decoder_restarts
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        scanner.ask(hello(run="decoder-killed"))
        for index in range(3):
            scanner.ask_frames(volume_frames(index, run="decoder-killed"))
        heard = viewer.until(lambda message: message.index == 1 and message.stage == "scores")
        daemon.decoder.kill()
        heard += viewer.until(lambda message: message.index == 2 and message.stage == "xzc")
    assert [(message.index, message.stage) for message, _ in heard] == [(i, s) for i in range(3) for s in STAGES]
    assert [message.seq for message, _ in heard] == list(range(heard[0][0].seq, heard[0][0].seq + 9))
    assert daemon.status().decoder_restarts == restarts + 1


def test_a_volume_that_kills_the_decoder_twice_is_passed_over(daemon):
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        scanner.ask(hello(run="poison"))
        scanner.ask_frames(volume_frames(0, run="poison"))
        viewer.until(lambda message: message.run == "poison" and message.stage == "scores")
        daemon.decoder.kill()
        # No scores again, they are journaled: the coarse picture shows that the volume is being decoded.
        viewer.until(lambda message: message.run == "poison" and message.stage == "xz")
        daemon.decoder.kill()
        scanner.ask_frames(volume_frames(1, run="poison"))
        heard = viewer.until(lambda message: message.index == 1 and getattr(message, "stage", "") == "xzc")
    messages = [message for message, _ in heard]
    assert isinstance(messages[0], wire.Skipped)
    assert messages[0].index == 0
    assert messages[0].failed
    assert [message.stage for message in messages[1:]] == STAGES


def test_a_client_that_was_killed_goes_on_where_its_acks_ended(daemon):
    with daemon.connect("ingest") as scanner:
        scanner.ask(hello(run="client-killed"))
        scanner.ask_frames(volume_frames(0, run="client-killed"))
    with daemon.connect("ingest") as scanner:
        assert scanner.ask(hello(run="client-killed")).next_index == 1
        assert scanner.ask_frames(volume_frames(0, run="client-killed")).duplicate


def test_a_kill_of_the_front_takes_its_decoder_along(daemon):
    decoder = daemon.decoder
    daemon.process.kill()
    daemon.process.wait(PATIENCE_S)
    decoder.wait(PATIENCE_S)
