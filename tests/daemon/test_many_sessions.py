"""Many sessions in one data folder: few files are open, a start reads the catalogue, nothing is out of reach."""

import os
import resource
import shutil

import msgspec
import pytest
from journal_files import add_volume, journal_of
from running_daemon import hello

from braind.client import wire
from braind.daemon import sessions as sessions_module
from braind.daemon.catalogue import FILE_NAME
from braind.daemon.journal.journal import Journal
from braind.daemon.sessions import MOST_OPEN_FILES, Sessions

SKIPPED = wire.Skipped(seq=1, session="", run="run-01", index=0, reason="a newer volume was waiting")


def resumed(folder):
    sessions = Sessions(folder, wait_for_disk=False)
    sessions.resume()
    return sessions


def n_open(folder):
    return sum(str(folder) in os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if is_link(fd))


def is_link(fd):
    return os.path.exists(f"/proc/self/fd/{fd}")


def make(path, seq):
    """Write a session with one published message; in three of the sessions a volume waits."""
    journal = Journal(path, wait_for_disk=False)
    with journal._database.commit() as database:
        database.execute("DELETE FROM decodes")
    journal.add_decode(msgspec.structs.replace(SKIPPED, seq=seq, session=path.stem))
    if seq in (5, 6, 7):
        add_volume(journal, 1)
    journal.close()


@pytest.fixture(scope="module")
def sixty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sixty")
    first = journal_of(folder / "001.sqlite3", n_volumes=1)
    first.set_state(1, "skipped")
    first.close()
    for number in range(2, 61):
        shutil.copy(folder / "001.sqlite3", folder / f"{number:03}.sqlite3")
    for number in range(1, 61):
        make(folder / f"{number:03}.sqlite3", number)
    return folder


@pytest.fixture
def folder(sixty, tmp_path):
    """Sixty sessions, of which three have work."""
    return shutil.copytree(sixty, tmp_path / "journals")


def test_a_start_opens_the_sessions_with_work_and_the_newest_and_knows_the_last_number(folder):
    sessions = resumed(folder)
    assert set(sessions.names()[:-1]) == {"005", "006", "007"}
    assert sessions.last_seq() == 60
    assert sessions.n_waiting() == 3
    sessions.close()


def test_a_second_start_reads_no_journal_that_did_not_change(folder, monkeypatch):
    resumed(folder).write_catalogue()
    read = []
    monkeypatch.setattr("braind.daemon.catalogue._read_facts", lambda path: read.append(path.stem))
    again = Sessions(folder, wait_for_disk=False)
    again._catalogue.read()
    assert read == []


@pytest.mark.parametrize("content", [b"", b"[]", b'{"000": {"n_bytes": ', b"[" * 100_000, b"\xff\xfe"])
def test_a_catalogue_that_is_damaged_costs_only_time(folder, content):
    resumed(folder).write_catalogue()
    (folder / FILE_NAME).write_bytes(content)
    sessions = resumed(folder)
    assert sessions.last_seq() == 60
    assert sessions.n_waiting() == 3
    sessions.close()


def test_a_session_that_changed_after_the_catalogue_was_written_is_read_again(folder):
    resumed(folder).write_catalogue()
    journal = Journal(folder / "020.sqlite3", wait_for_disk=False)
    add_volume(journal, 1)
    journal.add_decode(msgspec.structs.replace(SKIPPED, seq=90, session="020", index=7))
    journal._database._connection = None  # killed: the write-ahead log stays
    sessions = resumed(folder)
    assert "020" in sessions.names()
    assert sessions.last_seq() == 90
    sessions.close()


def test_messages_of_sessions_at_rest_are_fetched_in_order_of_their_numbers(folder):
    sessions = resumed(folder)
    assert [message.seq for message in sessions.published(1, 100)] == list(range(1, 61))
    assert [message.seq for message in sessions.published(40, 7)] == list(range(40, 47))
    assert n_open(folder) <= 3 * 5
    sessions.close()


def test_a_volume_of_a_session_at_rest_finds_its_journal_and_the_newest_stays_the_newest(folder):
    sessions = resumed(folder)
    newest = sessions.newest().session
    assert sessions.find("033").run("run-01").name == "run-01"
    assert sessions.newest().session == newest
    assert sessions.find("none") is None
    sessions.close()


def test_a_session_without_work_is_closed_and_opens_again_when_it_is_needed(folder):
    sessions = resumed(folder)
    sessions.find("033")
    sessions.rest_idle()
    assert set(sessions.names()[:-1]) == {"005", "006", "007"}
    assert sessions.find("033").counts() == {"skipped": 1}
    sessions.close()


def test_a_session_that_was_deleted_while_it_was_at_rest_is_gone_and_not_made_anew(folder):
    sessions = resumed(folder)
    (folder / "033.sqlite3").unlink()
    assert sessions.find("033") is None
    (folder / "034.sqlite3").unlink()
    assert 34 not in [message.seq for message in sessions.published(30, 10)]
    assert not list(folder.glob("03[34]*"))
    sessions.close()


def test_as_many_sessions_as_anybody_opens_need_few_files(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions_module, "MOST_OPEN_FILES", 8)
    assert MOST_OPEN_FILES == 32
    sessions = Sessions(tmp_path, wait_for_disk=False)
    for number in range(100):
        sessions.open(f"{number:03}").open_run(hello(session=f"{number:03}"), "weights")
        add_volume(sessions[f"{number:03}"], 0)
    assert n_open(tmp_path) <= 3 * 8
    assert sessions.n_waiting() == 100  # none of them rests, and each can be read
    assert n_open(tmp_path) <= 3 * 8
    sessions.close()


def test_a_daemon_takes_more_new_sessions_than_it_may_open_files(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_now = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_now + 3 * MOST_OPEN_FILES + 20, limits[1]))
    try:
        sessions = Sessions(tmp_path, wait_for_disk=False)
        for number in range(150):
            sessions.open(f"{number:03}").open_run(hello(session=f"{number:03}"), "weights")
        sessions.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
