"""The journal, by itself: what it keeps, in which order, and what it answers when it cannot."""

import sqlite3

import numpy as np
import pytest
from running_daemon import PNG, hello

from braind.client import wire
from braind.daemon.journal.database import JournalError, RecordError
from braind.daemon.journal.journal import Journal
from braind.daemon.journal.records import Pair
from braind.daemon.sessions import Sessions

PROVENANCE = wire.Provenance(
    subject=1, preset="live-4", mode="zc", seed=1, engine="e", weights="w", ldm="l", simulated=True, version="0"
)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "ses.sqlite3")
    journal.open_run(hello(), "weights")
    yield journal
    journal.close()


def add(journal, index, run="run-01", seen=None):
    voxels = np.arange(5, dtype=np.float32) + index
    volume = wire.Volume(session="ses", run=run, index=index, shape=(1, 1, 5), dtype="float32", crc32=index)
    journal.add_volume(volume, voxels, seen=seen, whole=None)
    return volume, voxels


def decode(seq, index, stage="xzc"):
    return wire.Decode(
        seq=seq, session="ses", run="run-01", index=index, stage=stage, provenance=PROVENANCE, timings_s={}
    )


def test_a_volume_comes_back_as_it_was_added(journal):
    volume, voxels = add(journal, 0, seen=PNG)
    (pending,) = journal.waiting("weights")
    stored = journal.volume(pending.arrival)
    assert stored.header == volume
    assert stored.seen == PNG
    np.testing.assert_array_equal(stored.voxels, voxels)


def test_what_another_process_commits_is_seen_and_outlives_it(journal):
    other = Journal(journal.path)
    add(other, 0)
    assert [pending.index for pending in journal.waiting("weights")] == [0]
    other.close()


def test_volumes_wait_in_the_order_in_which_they_came(journal):
    for index in (3, 0, 1):
        add(journal, index)
    assert [pending.index for pending in journal.waiting("weights")] == [3, 0, 1]


def test_volumes_recorded_under_other_weights_are_left_alone(journal):
    add(journal, 0)
    assert journal.waiting("others") == []


def test_the_same_index_with_the_same_bytes_is_known_and_with_others_is_not_the_same(journal):
    volume, voxels = add(journal, 0)
    assert journal.same_volume(volume, voxels) is True
    assert journal.same_volume(volume, voxels + 1) is False
    assert journal.same_volume(wire.Volume(**{**_fields(volume), "index": 1}), voxels) is None


def _fields(volume):
    return {field: getattr(volume, field) for field in volume.__struct_fields__}


@pytest.mark.parametrize(
    ("indices", "next_index"), [((), 0), ((0, 1), 2), ((1, 2), 0), ((0, 1, 4), 2), ((2, 0, 1, 5), 3)]
)
def test_a_run_goes_on_at_the_first_index_that_is_missing(journal, indices, next_index):
    for index in indices:
        add(journal, index)
    assert journal.next_index("run-01") == next_index


def test_missing_volumes_are_counted_without_listing_two_thousand_millions(journal):
    for index in (1, 3):
        add(journal, index)
    assert journal.missing("run-01", 6, most=10) == (4, [0, 2, 4, 5])
    assert journal.missing("run-01", 2_000_000_000, most=3) == (1_999_999_998, [0, 2, 4])


def test_holes_are_ranges_of_what_did_not_come(journal):
    assert journal.holes("run-01", 3) == [range(3)]
    for index in (2, 0, 5):
        add(journal, index)
    assert journal.holes("run-01", 9) == [range(1, 2), range(3, 5), range(6, 9)]
    assert journal.holes("run-01", 1) == []


def test_a_stage_is_kept_once(journal):
    add(journal, 0)
    assert journal.add_decode(decode(1, 0, "scores"))
    assert not journal.add_decode(decode(2, 0, "scores"))
    assert [published.seq for published in journal.published(1, 10)] == [1]


def test_a_last_stage_and_its_volumes_state_are_one_commit(journal):
    add(journal, 0)
    journal.add_decode(decode(1, 0), PNG, outcome="decoded")
    assert journal.counts() == {"decoded": 1}
    assert journal.published(1, 10)[0].payload == PNG
    assert journal.last_seq() == 1


def test_an_event_is_kept_once_and_another_under_its_number_is_refused(journal):
    event = wire.Event(session="ses", run="run-01", event=0, onset_s=4.0)
    assert journal.add_event(event, None)
    assert not journal.add_event(event, None)
    with pytest.raises(JournalError) as error:
        journal.add_event(wire.Event(session="ses", run="run-01", event=0, onset_s=5.0), None)
    assert error.value.code == "conflict"


def test_a_full_disk_is_an_answer_and_leaves_the_journal_as_it_was(journal):
    add(journal, 0)
    connection = journal._database._connection
    (n_pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {n_pages}")
    header = wire.Volume(session="ses", run="run-01", index=1, shape=(1, 1, 1), dtype="float32", crc32=1)
    with pytest.raises(JournalError, match="free space") as error:
        journal.add_volume(header, np.zeros(100_000, np.float32), seen=None, whole=None)
    assert error.value.code == "storage"
    connection.execute("PRAGMA max_page_count = 1000000")
    assert journal.next_index("run-01") == 1
    add(journal, 1)
    assert journal.counts() == {"waiting": 2}


def test_a_file_that_is_no_journal_is_refused_with_its_path_and_what_to_do(tmp_path):
    path = tmp_path / "ses.sqlite3"
    path.write_bytes(b"this is not a database, and long enough to be looked at " * 100)
    with pytest.raises(JournalError, match=r"ses\.sqlite3.*move it") as error:
        Journal(path)
    assert error.value.code == "journal"


def test_a_damaged_journal_is_an_answer(journal):
    for index in range(50):
        add(journal, index)
    path = journal.path
    journal.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    damaged = Journal(path)
    with pytest.raises(JournalError, match="damaged") as error:
        damaged.waiting("weights")
    assert error.value.code == "journal"
    damaged.close()


def test_a_journal_of_another_schema_is_refused(tmp_path):
    path = tmp_path / "ses.sqlite3"
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(JournalError, match="schema 99"):
        Journal(path)


def test_numbers_go_on_over_sessions_and_a_damaged_journal_keeps_no_daemon_from_starting(tmp_path, caplog):
    (tmp_path / "broken.sqlite3").write_bytes(b"broken" * 1000)
    sessions = Sessions(tmp_path, wait_for_disk=True)
    for session, seq in (("first", 3), ("second", 7), ("third", 5)):
        journal = sessions.open(session)
        journal.open_run(hello(session=session), "weights")
        journal.add_decode(decode(seq, 0))
    add(sessions.open("first"), 0)
    sessions.close()

    resumed = Sessions(tmp_path, wait_for_disk=True)
    resumed.resume()
    assert resumed.names() == ("first", "third")  # volumes wait in the first; the third is the newest
    assert resumed.last_seq() == 7
    assert "broken.sqlite3" in caplog.text
    resumed.close()


def test_a_commit_that_fails_half_way_keeps_nothing(journal):
    def fail():
        with journal._database.commit() as database:
            database.execute("UPDATE runs SET n_volumes = 5")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert journal.run("run-01").n_volumes is None
    add(journal, 0)


def test_a_journal_that_another_program_keeps_locked_is_an_answer_that_may_pass(journal):
    other = sqlite3.connect(journal.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal._database._connection.execute("PRAGMA busy_timeout = 1")
    with pytest.raises(JournalError, match="database is locked") as error:
        add(journal, 0)
    assert error.value.code == "storage"
    other.execute("ROLLBACK")
    other.close()
    add(journal, 0)


@pytest.mark.parametrize("ending", ["", "-wal"])
@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_file_deleted_under_the_daemon_takes_no_further_volume(journal, ending, is_replaced):
    add(journal, 0)
    path = journal.path.with_name(journal.path.name + ending)
    aside = path.rename(path.with_name("aside"))
    if is_replaced:
        path.write_bytes(aside.read_bytes())
    for _ in range(2):
        with pytest.raises(JournalError, match="deleted or replaced") as error:
            add(journal, 1)
        assert error.value.code == "storage"
    aside.replace(path)
    add(journal, 1)
    assert journal.counts() == {"waiting": 2}


def test_a_second_hello_changes_nothing_and_an_end_is_remembered(journal):
    journal.open_run(hello(n_volumes=9), "others")
    record = journal.run("run-01")
    assert (record.name, record.weights, record.hello.n_volumes, record.n_volumes) == ("run-01", "weights", None, None)
    journal.end_run(wire.EndRun(session="ses", run="run-01", n_volumes=4), has_estimates=True)
    assert journal.run("run-01").n_volumes == 4
    assert journal.runs_to_finish("weights") == ["run-01"]
    journal.finish_run("run-01")
    assert journal.runs_to_finish("weights") == []


@pytest.mark.parametrize(("outcome", "left"), [("failed", []), ("decoded", ["run-01"])])
def test_a_failed_end_of_a_run_is_not_decoded_again(journal, outcome, left):
    add(journal, 0)
    journal.end_run(wire.EndRun(session="ses", run="run-01", n_volumes=1), has_estimates=True)
    journal.add_decode(decode(1, 0), outcome=outcome)
    assert journal.runs_to_finish("weights") == left


def test_a_volume_that_kills_the_decoder_is_counted(journal):
    add(journal, 0)
    assert [journal.count_crash("run-01", 0), journal.count_crash("run-01", 0)] == [1, 2]


def test_onsets_come_between_the_volumes_they_came_between(journal):
    def add_event(number):
        journal.add_event(wire.Event(session="ses", run="run-01", event=number, onset_s=number), None)

    add_event(0)
    add(journal, 0)
    add_event(1)
    add(journal, 1)
    (first, _), (second, _) = journal.run_volumes("run-01", 0)
    before_first = journal.events_between("run-01", 0, first.arrival)
    between = journal.events_between("run-01", first.arrival, second.arrival)
    assert [[event.header.event for event in events] for events in (before_first, between)] == [[0], [1]]
    assert journal.event("run-01", 1).header.onset_s == 1
    with pytest.raises(JournalError, match="run run-01 has no event 7"):
        journal.event("run-01", 7)


def test_a_trials_own_pair_goes_before_its_runs():
    run, onset = hello(right=100, foil=101), wire.Event(session="ses", run="run-01", event=0, onset_s=1.0)
    own = wire.Event(session="ses", run="run-01", event=0, onset_s=1.0, right="a", foil="b")
    assert Pair.named_by(own, run) == Pair("a", "b")
    assert Pair.named_by(onset, run) == Pair(100, 101)
    assert Pair.named_by(onset, hello()) is None


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_decode_whose_numbers_are_not_finite_is_refused_and_the_next_one_kept(journal, number):
    provenance = wire.Provenance(
        subject=1, preset="p", mode="zc", seed=1, engine="e", weights="w", ldm="l", simulated=True, version="0"
    )
    common = {
        "session": "ses",
        "run": "run-01",
        "index": 0,
        "stage": "scores",
        "provenance": provenance,
        "timings_s": {},
    }
    with pytest.raises(RecordError, match="scores of run run-01, volume 0 holds a number that is not finite"):
        journal.add_decode(wire.Decode(seq=1, retrieved=(wire.Retrieved(label="cat", score=number),), **common))
    with pytest.raises(RecordError, match="scores of run run-01, volume 0 holds a number that is not finite"):
        journal.add_decode(wire.Decode(seq=1, feedback=number, uncertainty=number, **common))
    assert journal.add_decode(wire.Decode(seq=1, **common))
    assert [message.seq for message in journal.published(1, 10)] == [1]
