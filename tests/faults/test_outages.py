"""A journal that cannot be read or opened for a while, and a decoder that hangs when the daemon shall stop."""

import resource
import signal
import sqlite3
import sys
from contextlib import contextmanager

import psutil
import pytest
import running_daemon
from click.testing import CliRunner
from running_daemon import PATIENCE_S, RunningDaemon, hello, volume_frames

from braind.client import wire
from braind.commands.live import status as status_command

STAGES = ["scores", "xz", "xzc"]
IMPATIENT = """
import sys
from braind.daemon.supervision import supervise
supervise.STOP_S = 0.2
from braind.cli import main
main()
"""


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    """A daemon that waits for its decoder for a moment only, whose pictures take long beside that."""
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("outages"), decode={"num_inference_steps": 40})
    with pytest.MonkeyPatch.context() as patch:
        plain_command = running_daemon.serve_command

        def impatient_command(*arguments, **paths):
            _, _, _, *options = plain_command(*arguments, **paths)
            return [sys.executable, "-c", IMPATIENT, *options]

        patch.setattr(running_daemon, "serve_command", impatient_command)
        daemon.start()
    yield daemon
    daemon.close()


def wait_for_words(daemon, words):
    daemon.wait_until(lambda _: words in daemon.words())


def beats_until(daemon, wanted):
    with daemon.watch() as viewer:
        while not wanted(beat := viewer.receive()):
            assert isinstance(beat, wire.Heartbeat)
    return beat


@contextmanager
def unreadable(daemon, session):
    """Decode a volume of a session, then keep everybody from reading its volumes meanwhile."""
    with daemon.connect("ingest") as scanner:
        scanner.ask(hello(session=session))
        scanner.ask_frames(volume_frames(0, session=session))
    daemon.wait_until(lambda status: status.n_decoded == 1)
    database = sqlite3.connect(daemon.data_path / "journals" / f"{session}.sqlite3", isolation_level=None)
    database.execute("ALTER TABLE volumes RENAME TO hidden")
    yield
    database.execute("ALTER TABLE hidden RENAME TO volumes")
    database.close()


def test_numbers_of_volumes_are_unknown_while_the_journal_cannot_be_read(daemon):
    with unreadable(daemon, "unknown"):
        beat = beats_until(daemon, lambda beat: beat.n_acked is None)
        assert (beat.n_decoded, beat.n_skipped, beat.state) == (None, None, "ready")
        status = daemon.status()
        assert (status.n_acked, status.n_decoded, status.n_skipped, status.n_waiting) == (None, None, None, None)
        said = CliRunner().invoke(status_command, ["--config", str(daemon.data_path / "config.toml")]).output
    numbers = dict(line.split(None, 1) for line in said.splitlines())
    assert {numbers[name] for name in ("n_acked", "n_decoded", "n_skipped", "n_waiting")} == {"unknown"}
    assert numbers["n_refused"] == "0"


def test_a_journal_that_cannot_be_read_is_logged_when_it_begins_and_when_it_has_passed(daemon):
    with unreadable(daemon, "logged"):
        beats_until(daemon, lambda beat: beat.n_acked is None)
        beats_until(daemon, lambda beat: beat.n_acked is None)
    beat = beats_until(daemon, lambda beat: beat.n_acked is not None)
    assert (beat.n_acked, beat.n_decoded, beat.n_skipped) == (1, 1, 0)
    words = daemon.words()
    path = daemon.data_path / "journals" / "logged.sqlite3"
    assert words.count(f"the session's volumes cannot be counted: {path}") == 1
    assert words.rindex("volumes cannot be counted: works again") > words.index(f"cannot be counted: {path}")


def test_a_session_that_the_decoder_could_not_open_at_once_is_decoded_when_it_can(daemon):
    decoder = daemon.decoder.pid
    limits = resource.prlimit(decoder, resource.RLIMIT_NOFILE)
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        resource.prlimit(decoder, resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            scanner.ask(hello(session="unopened"))
            scanner.ask_frames(volume_frames(0, session="unopened"))
            wait_for_words(daemon, "unopened.sqlite3: cannot be read or written just now")
        finally:
            resource.prlimit(decoder, resource.RLIMIT_NOFILE, limits)
        heard = viewer.until(lambda message: message.stage == "xzc")
    assert [message.stage for message, _ in heard] == STAGES
    assert {message.session for message, _ in heard} == {"unopened"}


def test_a_decoder_that_does_not_finish_is_killed_and_the_next_daemon_decodes_its_volume(daemon):
    decoder = daemon.decoder
    with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
        scanner.ask(hello(session="unfinished"))
        scanner.ask_frames(volume_frames(0, session="unfinished"))
        viewer.until(lambda message: message.session == "unfinished" and message.stage == "scores")
        decoder.suspend()
    assert daemon.stop() == 0
    assert not decoder.is_running()
    assert "did not finish within 0.2 s; its volume stays in the journal" in daemon.words()
    assert "1 volumes wait in the journal for the next braind serve" in daemon.words()
    daemon.close()
    daemon.__init__(daemon.files, daemon.data_path, **daemon.settings)
    daemon.start()
    daemon.wait_until(lambda status: status.n_waiting == 0)
    stages = [message.stage for message, _ in daemon.decodes() if message.session == "unfinished"]
    assert stages == STAGES


def test_a_second_signal_ends_it_at_once_with_status_130(daemon):
    decoder = daemon.decoder
    decoder.suspend()
    daemon.process.send_signal(signal.SIGTERM)
    while "a second signal stops at once" not in daemon.words():
        assert daemon.process.poll() is None
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.process.wait(PATIENCE_S) == 130
    psutil.wait_procs([decoder], PATIENCE_S)
    assert not decoder.is_running()
    assert not daemon.words().rstrip().endswith("stopped")
