"""`braind sessions prune`: old sessions go when asked twice, and nothing that somebody still needs."""

import json
import sqlite3
import time
from contextlib import closing

import pytest
from journal_files import Writer, damage, journal_of
from recorded_session import change, seal
from running_daemon import RunningDaemon, hello, volume_frames

from braind.client import wire
from braind.daemon.journal.journal import Journal
from braind.errors import ExitCode

DAY_S = 86400


def old_session(data, name, days=40.0, seq=0, n_waiting=0):
    """Write a session whose run was opened some days ago."""
    journal = journal_of(data / f"journals/{name}.sqlite3", n_volumes=n_waiting)
    if seq:
        journal.add_decode(wire.Skipped(seq=seq, session=name, run="run-01", index=0, reason="late"))
    journal.close()
    with closing(sqlite3.connect(data / f"journals/{name}.sqlite3")) as file, file:
        file.execute("UPDATE runs SET opened_unix_s = ?", (time.time() - days * DAY_S,))
        seal(file)
    return data / f"journals/{name}.sqlite3"


def names(data):
    return sorted(path.name for path in (data / "journals").iterdir())


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data/journals").mkdir(parents=True)
    return tmp_path / "data"


def pruned(braind, data, *options):
    answer = braind("prune", "--data", data, "--older-than", "30", "--json", *options)
    content = json.loads(answer.stdout)
    return (
        answer,
        {row["session"] for row in content["sessions"]},
        {row["session"]: row["kept"] for row in content["kept"]},
    )


def test_old_sessions_go_with_all_their_files_and_only_when_asked_twice(braind, data):
    for name, days in (("old", 31), ("young", 29), ("newest", 0)):
        old_session(data, name, days, seq=int(100 - days))
    for ending in ("-wal", "-shm"):  # a daemon that was killed leaves both
        (data / f"journals/old.sqlite3{ending}").write_bytes(b"")
    before, n_bytes = names(data), (data / "journals/old.sqlite3").stat().st_size
    listed, may_go, kept = pruned(braind, data)
    assert (may_go, kept) == ({"old"}, {})
    assert json.loads(listed.stdout)["sessions"][0]["n_bytes"] == n_bytes
    assert "would be deleted with --yes" in braind("prune", "--data", data, "--older-than", "30").stdout
    assert names(data) == before
    _, gone, _ = pruned(braind, data, "--yes")
    assert gone == {"old"}
    assert names(data) == ["newest.sqlite3", "young.sqlite3"]


def test_what_waits_what_cannot_be_read_and_the_newest_number_stay(braind, data):
    old_session(data, "waiting", n_waiting=2)
    old_session(data, "highest", seq=7)
    old_session(data, "lower", seq=6)
    ended = Journal(data / "journals/unfinished.sqlite3", wait_for_disk=False)
    ended.open_run(hello(kind="bold"), "w")
    ended.end_run(wire.EndRun(session="ses", run="run-01", n_volumes=0), has_estimates=True)
    ended.close()
    with closing(sqlite3.connect(data / "journals/unfinished.sqlite3")) as file, file:
        file.execute("UPDATE runs SET opened_unix_s = 1000")
        seal(file)
    damage(old_session(data, "broken", n_waiting=50))
    answer, gone, kept = pruned(braind, data, "--yes")
    assert answer.exit_code == ExitCode.OK
    assert gone == {"lower"}
    assert "2 volumes wait" in kept["waiting"]
    assert "the last trials of a run wait" in kept["unfinished"]
    assert "newest message" in kept["highest"]
    assert "cannot be read" in kept["broken"]
    assert names(data) == ["broken.sqlite3", "highest.sqlite3", "unfinished.sqlite3", "waiting.sqlite3"]


def test_a_session_that_a_running_daemon_has_open_stays(braind, files, data):
    daemon = RunningDaemon(files, data).start()
    try:
        with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
            scanner.ask(hello())
            scanner.ask_frames(volume_frames(0))
            viewer.until(lambda message: message.stage == "xzc")
        daemon.wait_until(lambda status: status.n_waiting == 0)
        change(data, "UPDATE runs SET opened_unix_s = 1000")
        old_session(data, "closed")
        _, gone, kept = pruned(braind, data, "--yes")
        assert gone == {"closed"}
        assert kept == {"ses": "the running braind serve has it open"}
        assert daemon.status().session == "ses"
    finally:
        daemon.close()


def test_a_session_that_any_program_has_open_is_not_deleted(braind, data):
    path = data / "journals/ses.sqlite3"
    with Writer(path) as writer:
        change(data, "UPDATE runs SET opened_unix_s = 1000")
        change_states(path)
        old_session(data, "highest", days=0, seq=7)
        answer = braind("prune", "--data", data, "--older-than", "30", "--yes")
        assert answer.exit_code == ExitCode.FAILED
        assert "0 sessions" in answer.stdout
        assert "is it open in another program?" in answer.stderr
        writer.add(9)
        assert "ses.sqlite3" in names(data)


def change_states(path):
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE volumes SET state = 'decoded'")


def test_prune_needs_an_age(braind, data):
    answer = braind("prune", "--data", data)
    assert answer.exit_code == ExitCode.USAGE
    assert "--older-than" in answer.stderr
