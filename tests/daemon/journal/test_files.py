"""The files of a journal: who may read them, how many are open, and what a copy of one file holds."""

import shutil
import sqlite3
import stat

import pytest
from journal_files import add_volume, journal_of
from running_daemon import hello

from braind.client import wire
from braind.daemon.journal.database import JournalError
from braind.daemon.journal.journal import Journal
from braind.daemon.journal.recording import Recording


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_nobody_but_the_owner_reads_a_journal(tmp_path):
    path = tmp_path / "ses.sqlite3"
    journal = journal_of(path)
    assert {mode(file) for file in tmp_path.iterdir()} == {0o600}
    journal.close()
    path.chmod(0o644)
    Journal(path).close()
    assert mode(path) == 0o600


def test_a_journal_that_was_closed_opens_again_when_it_is_used(tmp_path):
    journal = journal_of(tmp_path / "ses.sqlite3", n_volumes=1)
    journal.close()
    assert journal.counts() == {"waiting": 1}
    journal.close()
    add_volume(journal, 1)
    assert journal.counts() == {"waiting": 2}
    journal.close()


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_file_deleted_while_its_journal_was_closed_takes_no_further_volume(tmp_path, is_replaced):
    journal = journal_of(tmp_path / "ses.sqlite3", n_volumes=1)
    journal.close()
    aside = journal.path.rename(tmp_path / "aside")
    if is_replaced:
        shutil.copy(aside, journal.path)
    with pytest.raises(JournalError, match="deleted or replaced") as error:
        add_volume(journal, 1)
    assert error.value.code == "storage"
    assert journal.path.exists() == is_replaced


def test_after_a_run_a_copy_of_the_one_file_is_the_whole_session(tmp_path):
    journal = journal_of(tmp_path / "ses.sqlite3", n_volumes=20)
    journal.end_run(wire.EndRun(session="ses", run="run-01", n_volumes=20), has_estimates=False)
    journal.fold_log()
    shutil.copy(journal.path, tmp_path / "copy.sqlite3")
    with Recording(tmp_path / "copy.sqlite3") as copy:
        assert copy.counts() == {"waiting": 20}
        assert copy.run("run-01").n_volumes == 20
    journal.close()


def test_a_log_that_another_program_reads_is_not_waited_for(tmp_path):
    journal = journal_of(tmp_path / "ses.sqlite3", n_volumes=2)
    reader = sqlite3.connect(journal.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM volumes").fetchone()
    add_volume(journal, 2)
    journal.fold_log()
    reader.close()
    add_volume(journal, 3)
    assert journal.counts() == {"waiting": 4}
    journal.close()


def test_a_journal_of_another_user_program_is_not_changed_into_one_of_braind(tmp_path):
    database = sqlite3.connect(tmp_path / "ses.sqlite3")
    database.execute("CREATE TABLE notes (text TEXT)")
    database.close()
    with pytest.raises(JournalError, match="a file of schema 0"):
        Journal(tmp_path / "ses.sqlite3")
    database = sqlite3.connect(tmp_path / "ses.sqlite3")
    assert database.execute("SELECT name FROM sqlite_schema").fetchall() == [("notes",)]
    database.close()


def test_a_folder_that_may_not_be_written_is_an_answer_that_may_pass(tmp_path):
    (tmp_path / "ses.sqlite3").mkdir()
    with pytest.raises(JournalError, match="cannot be read or written just now") as error:
        Journal(tmp_path / "ses.sqlite3").open_run(hello(), "weights")
    assert error.value.code == "storage"
