"""Many sessions, one of them damaged: it is named, and the others go on."""

import logging
import sqlite3
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from journal_files import damage, journal_of
from running_daemon import hello

from braind.client import wire
from braind.daemon.decoder.decoder import Decoder
from braind.daemon.journal.database import JournalError
from braind.daemon.sessions import Sessions
from braind.models.weights.blank import blank_weights

SKIPPED = wire.Skipped(seq=1, session="", run="run-01", index=0, reason="a newer volume was waiting")


def session_of(folder, name, seq):
    journal = journal_of(folder / f"{name}.sqlite3")
    journal.add_decode(msgspec.structs.replace(SKIPPED, seq=seq, session=name))
    journal.close()


@pytest.fixture
def folder(tmp_path):
    """Three sessions with volumes that wait, opened in this order."""
    for seq, name in enumerate(("early", "broken", "late"), 3):
        session_of(tmp_path, name, seq)
    return tmp_path


@pytest.fixture
def sessions(folder):
    """The sessions, open; the pages of the second are damaged since."""
    (folder / "broken.sqlite3-wal").unlink(missing_ok=True)
    damage(folder / "broken.sqlite3")
    sessions = Sessions(folder, wait_for_disk=False)
    for name in ("early", "broken", "late"):
        sessions.open(name)
    yield sessions
    sessions.close()


def damage_hello(path):
    """Make what opened a run unreadable; counts and numbers still are readable."""
    database = sqlite3.connect(path)
    with database:
        database.execute("UPDATE runs SET hello = x'00'")
    database.close()


@pytest.mark.parametrize("harm", [damage, damage_hello])
def test_a_damaged_session_is_named_at_the_start_and_the_others_are_resumed(folder, caplog, harm):
    harm(folder / "broken.sqlite3")
    sessions = Sessions(folder, wait_for_disk=False)
    sessions.resume()
    assert sessions.names() == ("early", "late")
    assert sessions.newest().session == "late"
    assert sessions.last_seq() == 5
    (message,) = caplog.messages
    assert message.startswith("session broken is left out")
    assert "broken.sqlite3: damaged" in message
    sessions.close()


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (lambda sessions: [message.seq for message in sessions.published(1, 10)], [3, 5]),
        (lambda sessions: sessions.n_waiting(), 100),
        (lambda sessions: sessions.last_seq(), 5),
    ],
    ids=["messages", "volumes that wait", "numbers"],
)
def test_a_session_damaged_later_is_named_once_and_the_others_answer(sessions, caplog, ask, answer):
    assert ask(sessions) == answer
    assert ask(sessions) == answer
    assert sessions.names() == ("early", "late")
    assert [message.partition(":")[0] for message in caplog.messages] == ["session broken is left out from now on"]
    with pytest.raises(JournalError, match=r"broken\.sqlite3 is not open"):
        sessions["broken"]


def test_a_decoder_opens_the_sessions_that_are_readable(folder, caplog):
    damage(folder / "broken.sqlite3")
    sessions = Sessions(folder, wait_for_disk=False)
    sessions.open_all(("early", "broken", "late"))
    assert sessions.names() == ("early", "late")
    assert "session broken is left out" in caplog.text
    sessions.close()


def test_a_disk_that_is_full_closes_no_session(folder):
    sessions = Sessions(folder, wait_for_disk=False)
    connection = sessions.open("early")._database._connection
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")

    def fill():
        with sessions.without_if_damaged("early"):
            sessions["early"].open_run(hello(run="long", producer="p" * 100_000), "weights")

    with pytest.raises(JournalError) as error:
        fill()
    assert error.value.code == "storage"
    assert sessions.names() == ("early",)
    sessions.close()


def test_the_session_opened_last_is_the_newest(folder):
    sessions = Sessions(folder, wait_for_disk=False)
    assert sessions.newest() is None
    for name in ("early", "late", "early"):
        sessions.open(name)
    assert (sessions.names(), sessions.newest().session) == (("late", "early"), "early")
    assert sessions.find("broken") is None
    sessions.close()


def test_waiting_volumes_and_unfinished_runs_of_the_weights_in_use_are_left_to_decode(tmp_path):
    sessions = Sessions(tmp_path, wait_for_disk=False)
    journal = sessions.open("ses")
    journal.open_run(hello(run="bold", kind="bold"), "weights")
    assert sessions.n_to_decode("weights") == 0
    journal.end_run(wire.EndRun(session="ses", run="bold", n_volumes=0), has_estimates=True)
    assert (sessions.n_to_decode("weights"), sessions.n_to_decode("others")) == (1, 0)
    journal.finish_run("bold")
    assert sessions.n_to_decode("weights") == 0
    sessions.close()


def test_volumes_of_other_weights_are_named_at_the_start_apart_from_usable_ones(folder, caplog):
    caplog.set_level(logging.INFO, "braind.daemon")
    sessions = Sessions(folder, wait_for_disk=False)
    n_waiting = sessions.open("early").counts()["waiting"]
    sessions.log_waiting("weights")
    sessions.log_waiting("others")
    assert [record.getMessage() for record in caplog.records] == [
        f"session early: {n_waiting} volumes wait to be decoded",
        f"session early: {n_waiting} volumes were recorded under other weights and stay as they are",
    ]
    sessions.close()


def test_a_decoder_that_is_behind_passes_over_a_session_whose_journal_turns_out_damaged(folder, caplog):
    """Policy `latest` writes to every session in which an older volume waits."""
    weights = replace(blank_weights(1, np.ones((1, 1, 5), bool), np.eye(4), "beta"), fingerprint="weights")
    stages = SimpleNamespace(weights=weights, run=lambda *_, **__: iter(()))
    setup = SimpleNamespace(
        paused=False, policy="latest", journals_path=str(folder), sessions=("broken", "early", "late"), next_seq=10,
        keep_warm_ms=0,
    )  # fmt: skip
    decoder = Decoder(setup, stages, lambda _: None)
    broken = decoder._sessions["broken"]._database._connection
    broken.execute("DROP TABLE decodes")  # its volumes can be read, what becomes of them cannot be written
    assert decoder.step()
    assert "session broken is left out" in caplog.text
    assert decoder._sessions.names() == ("early", "late")
    assert decoder._sessions["late"].counts() == {"waiting": 1, "skipped": 49}
    decoder.close()
