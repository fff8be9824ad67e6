"""Who waits for the disk: the front, whose acks promise that, and not the decoder, whose decodes can be made again."""

from types import SimpleNamespace

import msgspec
import pytest
from pipelines import decoder_settings, setup_line

from braind.config import load_config
from braind.daemon.decoder.decoder import Decoder
from braind.daemon.in_use import Start, WeightsInUse
from braind.daemon.operating.settings import SettingsInForce
from braind.daemon.serve import Daemon
from braind.daemon.sessions import Sessions

NORMAL, FULL = 1, 2


def pragma(sessions, name):
    return sessions["ses"]._database._connection.execute(f"PRAGMA {name}").fetchone()[0]


@pytest.fixture
def config(tmp_path):
    (tmp_path / "journals").mkdir()
    return load_config(None, {"paths": {"data": str(tmp_path)}})


def daemon_of(config, files):
    decoder = decoder_settings(files)
    settings = SettingsInForce(WeightsInUse(config, Start(1, "beta", decoder)), config.serve.policy, {})
    return Daemon(config, settings, -1)


def test_the_front_commits_to_the_disk_before_it_acks(files, config):
    daemon = daemon_of(config, files)
    daemon._sessions.open("ses")
    assert (pragma(daemon._sessions, "synchronous"), pragma(daemon._sessions, "journal_mode")) == (FULL, "wal")
    daemon._sessions.close()


def test_the_front_commits_to_the_disk_in_a_session_that_it_resumes(files, config, tmp_path):
    earlier = Sessions(tmp_path / "journals", wait_for_disk=True)
    earlier.open("ses")
    earlier.close()
    daemon = daemon_of(config, files)
    assert pragma(daemon._sessions, "synchronous") == FULL
    daemon._sessions.close()


def test_a_daemon_told_not_to_wait_for_the_disk_says_so_in_every_answer(files, config):
    serve = msgspec.structs.replace(config.serve, durability="normal")
    daemon = daemon_of(msgspec.structs.replace(config, serve=serve), files)
    daemon._sessions.open("ses")
    assert (pragma(daemon._sessions, "synchronous"), pragma(daemon._sessions, "journal_mode")) == (NORMAL, "wal")
    assert daemon._state.status().durability == daemon._state.heartbeat().durability == "normal"
    daemon._sessions.close()


def test_the_decoder_does_not_wait_for_the_disk(tmp_path):
    setup = setup_line(tmp_path, decoder_settings(), sessions=("ses",))
    decoder = Decoder(setup, SimpleNamespace(weights=None), print)
    assert (pragma(decoder._sessions, "synchronous"), pragma(decoder._sessions, "journal_mode")) == (NORMAL, "wal")
    decoder.close()
