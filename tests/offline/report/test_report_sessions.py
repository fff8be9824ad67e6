"""The sessions that a report reads: no file of theirs changes, and a damaged one is named."""

import logging
import sqlite3
import subprocess
import sys

import pytest
from journal_files import Writer, damage, journal_of, snapshot

from braind.client import wire
from braind.config import load_config
from braind.daemon.journal.database import JournalError
from braind.offline.report.inputs import read_session
from braind.offline.report.live_classes import live_classes


@pytest.fixture
def config(tmp_path):
    (tmp_path / "journals").mkdir()
    return load_config(None, {"paths": {"data": str(tmp_path)}})


@pytest.fixture
def journals(config, tmp_path):
    return tmp_path / "journals"


@pytest.mark.parametrize("state", ["closed", "being written", "left by a crash"])
def test_a_report_changes_no_byte_no_time_and_no_file_of_a_session(config, journals, state):
    with Writer(journals / "ses.sqlite3") as writer:
        if state != "being written":
            writer.end({"closed": "close", "left by a crash": "die"}[state])
        before = snapshot(journals)
        assert read_session(config, 1, "weights").session.counts == {"waiting": 4}
        assert snapshot(journals) == before


def test_sessions_that_cannot_be_read_are_named_with_what_is_wrong_and_the_newest_other_is_reported(
    config, journals, tmp_path, caplog
):
    for name in ("good", "pages", "hello"):
        journal_of(journals / f"{name}.sqlite3").close()
    damage(journals / "pages.sqlite3")
    database = sqlite3.connect(journals / "hello.sqlite3")
    with database:
        database.execute("UPDATE runs SET hello = x'00'")
    database.close()
    (journals / "foreign.sqlite3").write_bytes(b"no database at all, and long enough to be looked at as one" * 10)
    found = read_session(config, 1, "weights")
    assert found.session.name == "good"
    reasons = {damaged.name: damaged.reason for damaged in found.damaged}
    assert sorted(reasons) == ["foreign", "hello", "pages"]
    assert "foreign.sqlite3: damaged or no braind journal (file is not a database)" in reasons["foreign"]
    assert "hello.sqlite3: damaged, the bytes of run run-01 do not match their checksum" in reasons["hello"]
    assert "pages.sqlite3: damaged or no braind journal (database disk image is malformed)" in reasons["pages"]
    assert not any(str(tmp_path) in reason for reason in reasons.values())  # a report is handed on
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    assert len(caplog.records) == 3


def test_the_newest_session_is_passed_over_aloud_if_its_decodes_are_damaged(config, journals):
    journal_of(journals / "older.sqlite3").close()
    newest = journal_of(journals / "newest.sqlite3")
    newest._database._connection.execute("INSERT INTO decodes VALUES (1, 'run-01', 0, -1, 'xzc', x'7b', NULL, 0)")
    newest.close()
    found = read_session(config, 1, "weights")
    assert found.session.name == "older"
    (damaged,) = found.damaged
    assert (damaged.name, "the bytes of message 1 do not match" in damaged.reason) == ("newest", True)
    with pytest.raises(JournalError, match=r"newest\.sqlite3: damaged, the bytes of message 1"):
        read_session(config, 1, "weights", "newest")


def test_whoever_asks_for_a_report_reads_on_stderr_which_session_is_damaged(config, journals):
    (journals / "broken.sqlite3").write_bytes(b"no database at all, and long enough to be looked at as one" * 10)
    code = (
        "from braind.config import load_config; from braind.offline.report.inputs import read_session; "
        f"read_session(load_config(None, {{'paths': {{'data': {config.paths.data!r}}}}}), 1, 'weights')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr.startswith("session broken is not in the report: ")
    assert "file is not a database" in ran.stderr


def decoded(provenance, index, event, probabilities, sent, *, is_final=True):
    ranked = sorted(probabilities.items(), key=lambda one: -one[1])
    return wire.Decode(
        seq=1, session="s", run="r", index=index, stage="scores", provenance=provenance, timings_s={}, event=event,
        is_final=is_final, label=sent, labels=tuple(wire.LabelProbability(label=n, probability=p) for n, p in ranked),
    )  # fmt: skip


def test_classes_are_counted_once_a_trial_and_a_class_that_the_weights_lack_is_not_compared():
    made = wire.Provenance(
        subject=1,
        preset="none",
        mode="labels",
        seed=0,
        engine="none",
        weights="w",
        ldm="",
        simulated=False,
        version="0",
    )
    counts = live_classes(
        [
            decoded(made, 4, 0, {"face": 0.4, "house": 0.6}, "face", is_final=False),
            decoded(made, 9, 0, {"face": 0.7, "house": 0.3}, "face"),
            decoded(made, 9, 1, {"face": 0.7, "house": 0.3}, "house"),
            decoded(made, 12, 2, {"face": 0.9, "house": 0.1}, "dog"),
            decoded(made, 15, 3, {"face": 0.9, "house": 0.1}, None),
            decoded(made, 15, 4, {"face": 0.2, "house": 0.8}, "face", is_final=False),
            decoded(made, 16, 0, {"face": 0.8, "house": 0.2}, "face"),
        ]
    )
    assert (counts.n_decodes, counts.n_compared, counts.n_right, counts.chance) == (4, 2, 1, 0.5)
    face, house = counts.by_sent
    assert (face.sent, face.n, face.n_right, face.probability, face.decoded) == ("face", 1, 1, 0.8, [("face", 1)])
    assert (house.sent, house.n, house.n_right, house.probability) == ("house", 1, 0, 0.3)


def test_a_session_without_classes_has_none_to_report():
    assert live_classes([]) is None
