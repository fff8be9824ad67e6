"""`braind sessions list` and `show`: what a data folder holds, read without changing a byte."""

import json
import os
from datetime import datetime

import pytest
from journal_files import damage, journal_of, snapshot
from running_daemon import hello

from braind.client import wire
from braind.daemon.access.lock import lock_data_path
from braind.daemon.journal.journal import Journal
from braind.errors import ExitCode


def test_the_list_says_what_each_session_holds_and_whether_it_waits(braind, recorded, data, files):
    journal_of(data / "journals/waiting.sqlite3", n_volumes=3).close()
    (data / "journals/old.sqlite3").write_bytes(b"SQLite format 3\0" + bytes(5000))
    before = snapshot(data / "journals")
    rows = {row["session"]: row for row in json.loads(braind("list", "--json", "--data", data).stdout)}
    assert snapshot(data / "journals") == before
    assert list(rows)[0] == "old"
    session = rows["ses"]
    assert (session["runs"], session["subject"], session["weights"]) == (
        ["betas", "bold"],
        1,
        files.weights.fingerprint,
    )
    assert session["volumes"] == {"decoded": 5, "used": 12}
    assert (session["is_waiting"], session["simulated"], session["problem"]) == (False, True, "")
    assert session["n_bytes"] == (data / "journals/ses.sqlite3").stat().st_size
    assert (rows["waiting"]["is_waiting"], rows["waiting"]["volumes"]) == (True, {"waiting": 3})


def test_a_session_is_called_recording_only_while_a_daemon_takes_its_volumes(braind, data):
    def states():
        return {row["session"]: row["state"] for row in json.loads(braind("list", "--json", "--data", data).stdout)}

    journal = journal_of(data / "journals/now.sqlite3", n_volumes=3)
    crashed = Journal(data / "journals/crashed.sqlite3", wait_for_disk=False)
    crashed.open_run(hello(session="crashed"), "w")
    (data / "journals/old.sqlite3").write_text("no journal")
    others = {"ses": "done", "crashed": "not ended", "old": "unreadable"}
    assert states() == {"now": "volumes wait"} | others
    lock = lock_data_path(data)
    try:
        assert states() == {"now": "recording", "ses": "done", "crashed": "recording", "old": "unreadable"}
        crashed.close()
        assert states() == {"now": "recording"} | others
        with journal._database.commit() as database:
            database.execute("UPDATE volumes SET arrived_unix_s = arrived_unix_s - 61")
        assert states() == {"now": "volumes wait"} | others
    finally:
        os.close(lock)
        journal.close()


def test_show_lists_what_operators_noted_in_words_and_in_json(braind, data):
    journal = Journal(data / "journals/ses.sqlite3", wait_for_disk=False)
    at_s = datetime(2026, 11, 29, 16, 40, 12).timestamp()
    for mark in (
        wire.Mark(note="moved her head", session="ses", run="betas", index=1, made_s=at_s, by="desk"),
        wire.Mark(note="blurred\x1b[2J", session="ses", run="bold", event=2, made_s=at_s + 60),
        wire.Mark(note="lamp was on", session="ses", run="bold", made_s=at_s + 1),
    ):
        journal.add_mark(mark)
    journal.close()
    said = braind("show", "ses", "--data", data).stdout
    before, after = said.split("run bold")
    assert "  mark     2026-11-29 16:40:12, volume 1: moved her head (by desk)\n" in before
    assert "  mark     2026-11-29 16:41:12, event 2: blurred" in after
    assert "  mark     2026-11-29 16:40:13, before the first volume: lamp was on\n" in after
    assert "\x1b" not in said
    betas, bold = json.loads(braind("show", "ses", "--data", data, "--json").stdout)
    assert betas["marks"] == [{"note": "moved her head", "index": 1, "event": None, "made_unix_s": at_s, "by": "desk"}]
    assert [mark["event"] for mark in bold["marks"]] == [2, None]


def test_a_session_that_cannot_be_read_is_a_row_with_its_reason(braind, data):
    journal_of(data / "journals/broken.sqlite3").close()
    damage(data / "journals/broken.sqlite3")
    (data / "journals/text.sqlite3").write_text("no journal")
    answer = braind("list", "--data", data)
    assert answer.exit_code == ExitCode.OK
    lines = {line.split()[0]: line for line in answer.stdout.splitlines() if line.strip()}
    assert "unreadable" in lines["broken"]
    assert "unreadable" in lines["text"]
    assert "5 decoded, 12 used" in lines["ses"]


def test_show_says_what_became_of_the_volumes_of_each_run(braind, recorded):
    betas, bold = json.loads(braind("show", "ses", "--data", recorded, "--json").stdout)
    assert (betas["kind"], betas["tr_s"], betas["n_volumes"], betas["simulated"]) == ("beta", 4.0, 4, True)
    assert (betas["n_missing"], betas["missing"]) == (1, [2])
    assert betas["decodes"] == {"scores": 3, "xz": 3, "xzc": 3, "refined": 1}
    assert betas["first_unix_s"] < betas["last_unix_s"] < bold["first_unix_s"]
    assert (bold["n_events"], bold["volumes"]) == (3, {"used": 12, "decoded": 2})
    assert "run betas: subject 1, beta, TR 4 s, SIMULATED" in braind("show", "ses", "--data", recorded).stdout


def test_show_names_why_volumes_were_skipped_and_lets_no_name_reach_the_terminal(braind, tmp_path):
    journal = Journal(tmp_path / "journals.sqlite3", wait_for_disk=False)
    run = "\x1b[31mred"
    journal.open_run(hello(session="journals", run=run, n_volumes=2**31 - 1), "w")
    journal.end_run(wire.EndRun(session="journals", run=run, n_volumes=2**31 - 1), has_estimates=False)
    journal.add_decode(wire.Skipped(seq=1, session="journals", run=run, index=0, reason="late\r\n\x1b[2J"))
    journal.close()
    answer = braind("show", tmp_path / "journals.sqlite3")
    assert "skipped  1: late" in answer.stdout
    assert "2147483647: 0, 1, 2" in answer.stdout
    assert "\x1b" not in answer.stdout


@pytest.mark.parametrize("name", ["other", "../journals/ses", "missing.sqlite3"])
@pytest.mark.parametrize("command", [("show",), ("verify",), ("export", "-o", "never")])
def test_a_session_that_is_not_there_is_2_and_says_where_braind_looked(braind, recorded, name, command):
    answer = braind(command[0], name, *command[1:], "--data", recorded)
    assert (answer.exit_code, answer.stdout) == (ExitCode.USAGE, "")
    assert "no such session" in answer.stderr
