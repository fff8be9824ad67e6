"""A decoder that is stopped: with nothing to do, in the middle of a volume, and together with the front."""

import os
import signal
import time

import pytest
from running_daemon import PATIENCE_S, RunningDaemon, hello, volume_frames

from braind.client import wire

STAGES = ["scores", "xz", "xzc"]


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("hang"), decode={"num_inference_steps": 12})
    yield daemon.start()
    daemon.close()


def end_of(process):
    """Wait until the daemon has ended a decoder that was stopped."""
    process.wait(PATIENCE_S)


def test_a_decoder_that_is_stopped_while_it_is_idle_is_replaced(daemon):
    restarts, decoder = daemon.status().decoder_restarts, daemon.decoder
    decoder.suspend()
    end_of(decoder)
    status = daemon.wait_until(lambda status: status.state == "ready")
    assert status.decoder_restarts == restarts + 1
    assert "the decoder hangs (no sign of life for" in daemon.words()


def test_a_hang_over_a_volume_counts_as_a_crash_and_after_another_crash_the_next_volume_is_decoded(daemon):
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        scanner.ask(hello(run="hung"))
        scanner.ask_frames(volume_frames(0, run="hung"))
        viewer.until(lambda message: message.run == "hung" and message.stage == "scores")
        first = daemon.decoder
        first.suspend()
        end_of(first)
        # acked while the decoder is being replaced
        assert isinstance(scanner.ask_frames(volume_frames(1, run="hung")), wire.Ack)
        viewer.until(lambda message: message.run == "hung" and message.stage == "xz")
        daemon.decoder.kill()
        heard = viewer.until(lambda message: message.index == 1 and getattr(message, "stage", "") == "xzc")
    messages = [message for message, _ in heard]
    assert isinstance(messages[0], wire.Skipped)
    assert (messages[0].index, messages[0].failed) == (0, True)
    assert [message.stage for message in messages[1:]] == STAGES


def test_a_daemon_all_of_whose_processes_were_stopped_goes_on_with_the_same_decoder(daemon):
    """As a laptop that was suspended, for longer than a silent decoder is waited for."""
    status, decoder = daemon.status(), daemon.decoder
    front = daemon.process.pid
    os.kill(front, signal.SIGSTOP)
    decoder.suspend()
    time.sleep(10)
    os.kill(front, signal.SIGCONT)
    decoder.resume()
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        scanner.ask(hello(run="woken"))
        scanner.ask_frames(volume_frames(0, run="woken"))
        viewer.until(lambda message: message.run == "woken" and message.stage == "xzc")
    assert daemon.decoder.pid == decoder.pid
    assert daemon.status().decoder_restarts == status.decoder_restarts
