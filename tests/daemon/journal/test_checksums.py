"""A journal whose bytes changed on the disk: the damage is found and named, and nothing of it is decoded."""

import random
import sqlite3

import msgspec
import numpy as np
import pytest
from journal_files import add_volume, journal_of, without_checksums

from braind.client import wire
from braind.daemon.journal.checksums import COVERED
from braind.daemon.journal.database import JournalError, RecordError
from braind.daemon.journal.journal import Journal
from braind.daemon.journal.recording import Recording
from braind.daemon.publish import message_of

EVENT = wire.Event(session="ses", run="run-01", event=0, onset_s=1.0)
SKIPPED = wire.Skipped(seq=1, session="ses", run="run-01", index=0, reason="a newer volume was waiting")


@pytest.fixture
def path(tmp_path):
    """The file of a session with a row in each table."""
    path = tmp_path / "ses.sqlite3"
    journal = journal_of(path, n_volumes=3)
    journal.keep_mask("weights", np.arange(5))
    journal.add_event(EVENT, b"png")
    journal.add_decode(SKIPPED, outcome="skipped")
    journal.close()
    return path


def change(path, statement):
    database = sqlite3.connect(path)
    with database:
        database.execute(statement)
    database.close()


def all_is_right(path):
    """Return whether every row of every table has its checksum."""
    with Recording(path) as recording:
        return not any(
            recording._database.row(f"SELECT 1 FROM {table} WHERE NOT {recording._is_right(table)}")
            for table in COVERED
        )


def test_every_row_has_its_checksum_whatever_was_done_with_it(path):
    journal = Journal(path)
    journal.set_state(2, "used")
    journal.count_crash("run-01", 2)
    journal.end_run(wire.EndRun(session="ses", run="run-01", n_volumes=3), has_estimates=True)
    journal.finish_run("run-01")
    journal.close()
    assert all_is_right(path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs SET n_volumes = 7",
        "UPDATE runs SET weights = 'other'",
        "UPDATE volumes SET run = 'run-02' WHERE arrival = 1",
        "UPDATE volumes SET volume_index = 9 WHERE arrival = 1",
        "UPDATE volumes SET state = 'waitjng' WHERE arrival = 1",
        "UPDATE events SET after_arrival = 0",
        "DELETE FROM volumes WHERE arrival = 2",
        "DELETE FROM voxels WHERE arrival = 2",
    ],
)
def test_a_start_finds_a_row_that_changed_or_is_gone(path, statement):
    change(path, statement)
    journal = Journal(path)
    with pytest.raises(RecordError, match=r"ses\.sqlite3: damaged, .*; move it and its -wal"):
        journal.check_sound()
    journal.close()


def test_voxels_that_changed_are_not_decoded_and_other_volumes_are(path):
    change(path, "UPDATE voxels SET masked = zeroblob(20) WHERE arrival = 2")
    journal = Journal(path)
    with pytest.raises(RecordError, match="arrival 2"):
        journal.volume(2)
    assert journal.volume(3).voxels[0] == 2
    journal.close()


def test_a_volume_that_is_sent_again_is_not_called_known_where_its_voxels_are_damaged(path):
    change(path, "UPDATE voxels SET masked = zeroblob(20) WHERE arrival = 2")
    journal = Journal(path)
    with pytest.raises(RecordError, match="run run-01, volume 1"):
        journal.same_volume(
            wire.Volume(session="ses", run="run-01", index=1, shape=(1, 1, 5), dtype="float32", crc32=1),
            np.zeros(5, np.float32),
        )
    journal.close()


def test_a_damaged_onset_is_not_used(path):
    change(path, "UPDATE events SET header = replace(header, '1.0', '2.0')")
    journal = Journal(path)
    with pytest.raises(RecordError, match="event 0 of run run-01"):
        journal.events_between("run-01", 0, 10)
    with pytest.raises(RecordError, match="event 0 of run run-01"):
        journal.event("run-01", 0)
    journal.close()


@pytest.mark.parametrize("column", ["header", "payload"])
def test_a_damaged_message_is_left_out_and_the_next_one_is_published(path, column, caplog):
    journal = Journal(path)
    journal.add_decode(msgspec.structs.replace(SKIPPED, seq=2, index=1), b"png")
    change(path, f"UPDATE decodes SET {column} = x'00' WHERE seq = 1")
    messages = [message_of(published) for published in journal.published(1, 10)]
    assert [message and message.seq for message in messages] == [None, 2]
    assert "message 1 of the journals is damaged and left out" in caplog.text
    journal.close()


def test_a_run_whose_header_changed_cannot_be_ended_as_if_it_were_whole(path):
    change(path, "UPDATE runs SET hello = replace(hello, '1.8', '1.9')")
    journal = Journal(path)
    with pytest.raises(RecordError, match="run run-01"):
        journal.end_run(wire.EndRun(session="ses", run="run-01", n_volumes=3), has_estimates=False)
    journal.close()
    assert not all_is_right(path)


def test_a_journal_of_an_earlier_braind_is_read_and_gets_checksums_when_it_is_written(path):
    without_checksums(path)
    with Recording(path) as recording:
        assert recording.counts() == {"skipped": 1, "waiting": 2}
        recording.check_sound()
    journal = Journal(path)
    add_volume(journal, 3)
    journal.check_sound()
    assert journal.volume(1).voxels[0] == 0
    journal.close()
    assert all_is_right(path)


def test_a_flipped_bit_anywhere_in_the_file_is_found_or_does_no_harm(path):
    content, chance = path.read_bytes(), random.Random(5)
    with Recording(path) as recording:
        before = everything(recording)
    for _ in range(400):
        flipped = bytearray(content)
        at, bit = chance.randrange(len(content)), chance.randrange(8)
        flipped[at] ^= 1 << bit
        path.write_bytes(flipped)
        try:
            with Recording(path) as recording:
                recording.check_sound()
                assert everything(recording) == before, f"byte {at}, bit {bit}"
        except JournalError:
            continue


def everything(recording):
    """Return all that is read of a recording."""
    (run,) = recording.runs()
    volumes = recording.volumes(run)
    voxels = [recording.voxels(arrival).tobytes() for arrival, _ in volumes]
    messages = recording.published(1, 10)
    if not all(message.is_whole for message in messages):
        raise JournalError("a damaged message was found")
    return run, volumes, voxels, recording.events(run), recording.counts(), messages
