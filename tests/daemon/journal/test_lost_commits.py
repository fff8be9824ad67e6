"""A write-ahead log with a changed bit: SQLite passes over the rest of it in silence; braind says so and keeps it."""

import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from journal_files import Writer, add_volume, journal_of

from braind.daemon.journal import writing
from braind.daemon.journal.database import JournalError
from braind.daemon.journal.journal import Journal
from braind.daemon.journal.lost_commits import committed_frames
from braind.daemon.journal.recording import Recording

N_VOLUMES = 24
N_OPENED = 100
SUPPORT = Path(__file__).parents[2] / "support"
COMMITTING = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from journal_files import add_volume
from braind.daemon.journal import writing
from braind.daemon.journal.database import JournalError
from braind.daemon.journal.journal import Journal
journal, index = Journal(Path(sys.argv[2])), 100
while True:
    add_volume(journal, index)
    index += 1
    if index == 110:
        print("committing", flush=True)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The files of a session whose writer was killed after 24 volumes."""
    folder = tmp_path_factory.mktemp("killed")
    with Writer(folder / "ses.sqlite3") as writer:
        for index in range(4, N_VOLUMES):
            writer.add(index)
        writer.end("die")
    return folder


def opened(killed, folder, at=None, bit=0):
    """Open a copy of the session after one bit of its log was flipped; return its volumes and the files kept aside."""
    shutil.copytree(killed, folder)
    log = folder / "ses.sqlite3-wal"
    content = bytearray(log.read_bytes())
    if at is not None:
        content[at] ^= 1 << bit
        log.write_bytes(content)
        (folder / "ses.sqlite3-shm").unlink()  # as after a restart of the machine
    journal = Journal(folder / "ses.sqlite3")
    n_volumes = sum(journal.counts().values())
    journal.close()
    return n_volumes, list(folder.glob("*damaged*")), bytes(content)


def test_a_log_of_a_killed_process_loses_nothing_and_is_not_called_damaged(killed, tmp_path, caplog):
    assert opened(killed, tmp_path / "copy")[:2] == (N_VOLUMES, [])
    assert not caplog.messages


def test_commits_behind_a_damaged_frame_are_counted_and_the_log_is_kept(killed, tmp_path, caplog):
    n_bytes = (killed / "ses.sqlite3-wal").stat().st_size
    n_volumes, kept, content = opened(killed, tmp_path / "copy", at=n_bytes // 2)
    assert n_volumes < N_VOLUMES
    assert [file.read_bytes() for file in kept] == [content]
    (sentence,) = caplog.messages
    assert "commits of its -wal file follow damaged bytes and cannot be read: volumes may be missing" in sentence


def test_no_flipped_bit_loses_a_volume_in_silence(killed, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "LOCK_WAIT_S", 0.0)  # no other process writes here: there is nothing to wait for
    n_bytes, chance = (killed / "ses.sqlite3-wal").stat().st_size, random.Random(3)
    for number in range(100):
        at = number // 2 if number < 64 else chance.randrange(n_bytes)
        n_volumes, kept, _ = opened(killed, tmp_path / str(number), at, chance.randrange(8))
        assert n_volumes == N_VOLUMES or kept, f"byte {at}"


def test_frames_of_an_earlier_log_count_for_nothing(tmp_path):
    journal = journal_of(tmp_path / "ses.sqlite3", n_volumes=30)
    log = tmp_path / "ses.sqlite3-wal"
    n_before = len(committed_frames(log))
    journal._database._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    journal.set_state(1, "used")
    assert n_before > len(committed_frames(log)) == 1
    journal.close()


def test_after_the_disk_failed_the_log_is_begun_anew_before_the_next_commit(tmp_path):
    """A power cut would lose every commit behind bytes that only seem to be on the disk."""
    journal = journal_of(tmp_path / "ses.sqlite3", n_volumes=30)
    log, n_before = tmp_path / "ses.sqlite3-wal", len(committed_frames(tmp_path / "ses.sqlite3-wal"))
    with pytest.raises(JournalError) as error:
        fail(journal, sqlite3.SQLITE_IOERR_FSYNC)
    assert error.value.code == "storage"
    add_volume(journal, 30)
    assert n_before > len(committed_frames(log)) == 1
    (tmp_path / "copy").mkdir()
    shutil.copy(journal.path, tmp_path / "copy")  # without the log: the earlier commits are in the file itself
    with Recording(tmp_path / "copy/ses.sqlite3") as recording:
        assert recording.counts() == {"waiting": 30}
    add_volume(journal, 31)
    assert len(committed_frames(log)) == 2
    journal.close()


def test_after_the_disk_failed_nothing_is_committed_while_another_program_reads_the_log(tmp_path):
    journal = journal_of(tmp_path / "ses.sqlite3", n_volumes=3)
    with pytest.raises(JournalError):
        fail(journal, sqlite3.SQLITE_IOERR_WRITE)
    reader = sqlite3.connect(journal.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM volumes").fetchone()
    for _ in range(2):
        with pytest.raises(JournalError, match="its disk failed, and another program reads the -wal file") as error:
            add_volume(journal, 3)
        assert error.value.code == "storage"
    reader.close()
    add_volume(journal, 3)
    assert journal.counts() == {"waiting": 4}
    journal.close()


def test_after_the_disk_failed_a_commit_waits_for_a_reader_of_a_moment(tmp_path):
    """The decoder reads the log while the front begins it anew."""
    journal = journal_of(tmp_path / "ses.sqlite3", n_volumes=3)
    with pytest.raises(JournalError):
        fail(journal, sqlite3.SQLITE_IOERR_WRITE)
    reader = sqlite3.connect(journal.path, isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM volumes").fetchone()
    end = threading.Timer(0.1, reader.close)
    end.start()
    add_volume(journal, 3)
    end.join()
    assert journal.counts() == {"waiting": 4}
    journal.close()


def fail(journal, code):
    """Let a commit fail as it does when the disk fails."""
    with journal._database.commit():
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = code
        raise error


def test_a_log_that_is_empty_or_missing_has_no_commits(tmp_path):
    assert committed_frames(tmp_path / "none") == []
    (tmp_path / "empty").write_bytes(b"")
    assert committed_frames(tmp_path / "empty") == []
    (tmp_path / "garbage").write_bytes(b"\x00" * 5000)
    assert committed_frames(tmp_path / "garbage") == []


def test_a_journal_that_another_process_commits_to_just_now_is_not_called_damaged(tmp_path, caplog):
    path = tmp_path / "ses.sqlite3"
    journal_of(path, 3).close()
    command = [sys.executable, "-c", COMMITTING, SUPPORT, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as front:
        try:
            assert front.stdout
            assert front.stdout.readline() == b"committing\n"
            for _ in range(N_OPENED):
                journal = Journal(path, wait_for_disk=False)
                assert journal.counts()
                journal.close()
        finally:
            front.kill()
    assert not caplog.messages
    assert not list(tmp_path.glob("*damaged*"))
