"""A journal that is only read: none of its files changes, whoever writes it meanwhile."""

import sqlite3

import numpy as np
import pytest
from journal_files import Writer, add_volume, damage, journal_of, snapshot, without_checksums

from braind.client import wire
from braind.daemon.journal.database import JournalError, RecordError
from braind.daemon.journal.recording import Recording


def read(path):
    with Recording(path) as recording:
        (run,) = recording.runs()
        volumes = recording.volumes(run)
        assert [header.index for _, header in volumes] == list(range(len(volumes)))
        assert recording.voxels(volumes[-1][0])[0] == len(volumes) - 1
        return sum(recording.counts().values())


@pytest.mark.parametrize("state", ["closed", "being written", "left by a crash"])
def test_reading_changes_no_byte_no_time_and_no_file(tmp_path, state):
    with Writer(tmp_path / "ses.sqlite3") as writer:
        if state != "being written":
            writer.end({"closed": "close", "left by a crash": "die"}[state])
        before = snapshot(tmp_path)
        assert ("ses.sqlite3-wal" in before) == (state != "closed")
        assert read(tmp_path / "ses.sqlite3") == 4
        assert snapshot(tmp_path) == before


def test_a_daemon_commits_while_a_recording_is_read_and_the_reader_sees_it(tmp_path):
    with Writer(tmp_path / "ses.sqlite3") as writer, Recording(tmp_path / "ses.sqlite3") as recording:
        assert recording.counts() == {"waiting": 4}
        writer.add(4)
        assert recording.counts() == {"waiting": 5}


def test_a_recording_goes_on_when_a_daemon_opens_its_session_again(tmp_path):
    path = tmp_path / "ses.sqlite3"
    journal_of(path, n_volumes=0).close()
    with Recording(path) as recording:
        assert recording.counts() == {}
        with Writer(path) as writer:
            # enough for checkpoints: pages of the main file are overwritten
            for index in range(4, 400):
                writer.add(index)
            assert recording.counts() == {"waiting": 400}


def test_a_log_that_was_copied_without_its_index_is_refused_with_what_to_do(tmp_path):
    with Writer(tmp_path / "ses.sqlite3") as writer:
        writer.end("die")
    (tmp_path / "ses.sqlite3-shm").unlink()
    with pytest.raises(JournalError, match="-wal file is here without its -shm file; copy all three files"):
        Recording(tmp_path / "ses.sqlite3")


def test_a_session_that_is_missing_is_not_made(tmp_path):
    with pytest.raises(JournalError, match="no such session"):
        Recording(tmp_path / "ses.sqlite3")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_program_is_refused_as_no_journal(tmp_path):
    path = tmp_path / "ses.sqlite3"
    database = sqlite3.connect(path)
    database.executescript("CREATE TABLE notes (text TEXT); PRAGMA user_version = 1")
    database.close()
    with Recording(path) as recording, pytest.raises(JournalError, match="no such table: runs") as error:
        recording.runs()
    assert error.value.code == "journal"


def test_a_damaged_recording_is_refused_by_path(tmp_path):
    path = tmp_path / "ses.sqlite3"
    journal_of(path).close()
    damage(path)
    with Recording(path) as recording, pytest.raises(JournalError, match=r"ses\.sqlite3: damaged") as error:
        recording.counts()
    assert error.value.code == "journal"


ASKS = [
    ("runs SET hello", lambda recording, _: recording.runs()),
    ("volumes SET header", lambda recording, run: recording.volumes(run)),
    ("events SET header", lambda recording, run: recording.events(run)),
    ("voxels SET masked", lambda recording, _: recording.voxels(1)),
    ("masks SET voxel_index", lambda recording, run: recording.voxel_index(run)),
]


def changed(path, change):
    """Return a run of a journal whose rows were changed by hand."""
    journal = journal_of(path, n_volumes=1)
    journal.keep_mask("weights", np.arange(5))
    journal.add_event(wire.Event(session="ses", run="run-01", event=0, onset_s=1.0), None)
    run = journal.run("run-01")
    journal._database._connection.execute(f"UPDATE {change}")
    journal.close()
    return run


@pytest.mark.parametrize(("table", "ask"), ASKS)
def test_bytes_that_were_changed_in_the_file_are_refused_by_their_place(tmp_path, table, ask):
    column = table.rpartition(" ")[2]
    run = changed(
        tmp_path / "ses.sqlite3", f"{table} = cast(substr({column}, 1, 7) || x'21' || substr({column}, 9) AS BLOB)"
    )
    with (
        Recording(tmp_path / "ses.sqlite3") as recording,
        pytest.raises(RecordError, match="do not match their checksum"),
    ):
        ask(recording, run)


@pytest.mark.parametrize(("table", "ask"), ASKS[:3])
def test_a_header_that_an_older_braind_left_unreadable_names_the_file_and_the_place(tmp_path, table, ask):
    run = changed(tmp_path / "ses.sqlite3", f"{table} = x'7b00'")
    without_checksums(tmp_path / "ses.sqlite3")
    with Recording(tmp_path / "ses.sqlite3") as recording:
        with pytest.raises(JournalError, match=r"ses\.sqlite3: damaged, the header of "):
            ask(recording, run)


def test_a_run_of_an_older_braind_does_not_say_which_voxels_it_has(tmp_path):
    path = tmp_path / "ses.sqlite3"
    journal = journal_of(path)
    with Recording(path) as recording, pytest.raises(JournalError, match="an older braind recorded it"):
        recording.voxel_index(journal.run("run-01"))
    journal.close()


def test_a_volume_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "ses.sqlite3"
    journal_of(path, n_volumes=1).close()
    with Recording(path) as recording, pytest.raises(JournalError, match="no volume has arrival 7"):
        recording.voxels(7)


def test_what_opened_a_run_is_parsed_once(tmp_path):
    journal = journal_of(tmp_path / "ses.sqlite3", n_volumes=0)
    assert journal.hello("run-01") is journal.hello("run-01")
    add_volume(journal, 0)
    with pytest.raises(JournalError, match="run other was never opened"):
        journal.hello("other")
    journal.close()


def test_a_recording_that_was_closed_is_not_read(tmp_path):
    journal_of(tmp_path / "ses.sqlite3").close()
    with Recording(tmp_path / "ses.sqlite3") as recording:
        pass
    with pytest.raises(JournalError, match="read after it was closed"):
        recording.counts()


def test_a_recording_of_a_newer_braind_is_refused(tmp_path):
    journal = journal_of(tmp_path / "ses.sqlite3")
    journal._database._connection.execute("PRAGMA user_version = 99")
    journal.close()
    with pytest.raises(JournalError, match="a file of schema 99"):
        Recording(tmp_path / "ses.sqlite3")


def test_a_session_without_volumes_is_sound(tmp_path):
    journal_of(tmp_path / "ses.sqlite3", n_volumes=0).close()
    with Recording(tmp_path / "ses.sqlite3") as recording:
        recording.check_sound()
