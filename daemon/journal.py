"""The session's journal: what was acked, what was made of it. One SQLite file a session, shared by both processes.

It is the only queue between front and decoder: the front adds volumes and events, the decoder takes what waits and adds
decodes, the front publishes those. So a crash of either is a replay. It knows no sockets and decides nothing.
"""

import time
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..client.wire import Decode, EndRun, Event, Hello, Skipped, Volume
from .database import Database, JournalError
from .records import NO_EVENT, JournaledEvent, JournaledVolume, Published, RunRecord, State, Waiting

Array = NDArray[Any]

SCHEMA = 1

_TABLES = """
CREATE TABLE runs (
    run TEXT PRIMARY KEY, hello BLOB NOT NULL, weights TEXT NOT NULL, n_volumes INTEGER, opened_unix_s REAL NOT NULL,
    finish TEXT);
CREATE TABLE volumes (
    arrival INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL REFERENCES runs, volume_index INTEGER NOT NULL,
    crc32 INTEGER NOT NULL, header BLOB NOT NULL, arrived_unix_s REAL NOT NULL, state TEXT NOT NULL,
    n_crashes INTEGER NOT NULL DEFAULT 0, UNIQUE (run, volume_index));
CREATE INDEX volumes_by_state ON volumes (state, arrival);
CREATE TABLE voxels (arrival INTEGER PRIMARY KEY REFERENCES volumes, masked BLOB NOT NULL, whole BLOB, seen BLOB);
CREATE TABLE events (
    run TEXT NOT NULL REFERENCES runs, event INTEGER NOT NULL, after_arrival INTEGER NOT NULL, header BLOB NOT NULL,
    seen BLOB, PRIMARY KEY (run, event));
CREATE TABLE decodes (
    seq INTEGER PRIMARY KEY, run TEXT NOT NULL, volume_index INTEGER NOT NULL, event INTEGER NOT NULL,
    stage TEXT NOT NULL, header BLOB NOT NULL, payload BLOB, UNIQUE (run, volume_index, event, stage));
"""
# Which voxels were kept under which weights: a fit on recorded sessions has the journal only. Made when it is first
# needed, so that a session which an earlier braind began goes on.
_MASKS = "CREATE TABLE IF NOT EXISTS masks (weights TEXT PRIMARY KEY, voxel_index BLOB NOT NULL)"


class Journal:
    """One session's journal.

    Parameters
    ----------
    path : Path
        The SQLite file; made when it is missing.
    wait_for_disk : bool
        True: a commit returns when the disk has it (the front, whose acks promise that). False: a commit survives the
        death of every process but not a power cut (the decoder, whose decodes can be made again from the volumes).
    """

    def __init__(self, path: Path, *, wait_for_disk: bool = True) -> None:
        self.path = path
        self.session = path.stem
        self._database = Database(path, tables=_TABLES, schema=SCHEMA, wait_for_disk=wait_for_disk)

    def close(self) -> None:
        """Close the file; the last one to close it folds the write-ahead log into it."""
        self._database.close()

    # ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def keep_mask(self, weights: str, voxel_index: Array) -> None:
        """Remember which voxels, (n_voxels,) int64 into the flattened volume, are kept under these weights."""
        with self._database.commit() as database:
            database.execute(_MASKS)
            database.execute(
                "INSERT OR IGNORE INTO masks VALUES (?, ?)", (weights, np.asarray(voxel_index, "<i8").tobytes())
            )

    def open_run(self, hello: Hello, weights: str) -> None:
        """Remember a run, once: a second `Hello` of the same run changes nothing."""
        with self._database.commit() as database:
            database.execute(
                "INSERT OR IGNORE INTO runs VALUES (?, ?, ?, NULL, ?, NULL)",
                (hello.run, msgspec.json.encode(hello), weights, time.time()),
            )

    def run(self, run: str) -> RunRecord | None:
        """Return a run's record, or None when it was never opened."""
        row = self._database.row("SELECT hello, weights, n_volumes FROM runs WHERE run = ?", run)
        return row and RunRecord(msgspec.json.decode(row[0], type=Hello), row[1], row[2])

    def newest_run(self) -> str:
        """Return the run that was opened last, "" when there is none."""
        row = self._database.row("SELECT run FROM runs ORDER BY rowid DESC LIMIT 1")
        return row[0] if row else ""

    def end_run(self, message: EndRun, *, has_estimates: bool) -> None:
        """Remember how many volumes a run has; a BOLD run's end may complete its last trials' estimates."""
        with self._database.commit() as database:
            database.execute(
                "UPDATE runs SET n_volumes = ?, finish = ? WHERE run = ?",
                (message.n_volumes, "waiting" if has_estimates else "done", message.run),
            )

    def missing(self, run: str, n_volumes: int, most: int) -> tuple[int, list[int]]:
        """Return how many of a run's indices below `n_volumes` are not journaled, and at most `most` of them."""
        stored = [index for (index,) in self._database.rows(
            "SELECT volume_index FROM volumes WHERE run = ? AND volume_index < ? ORDER BY volume_index", run, n_volumes
        )]  # fmt: skip
        # No list of all indices: a sender may announce two thousand million.
        gaps = (range(before + 1, after) for before, after in pairwise([-1, *stored, n_volumes]))
        return n_volumes - len(stored), list(islice(chain.from_iterable(gaps), most))

    def next_index(self, run: str) -> int:
        """Return the first index of a run that is not journaled."""
        row = self._database.row(
            # 0 if it is missing, else the lowest index whose successor is.
            "SELECT min(candidate) FROM ("
            "SELECT 0 AS candidate WHERE NOT EXISTS (SELECT 1 FROM volumes WHERE run = ?1 AND volume_index = 0) "
            "UNION ALL SELECT volume_index + 1 FROM volumes AS this WHERE run = ?1 AND NOT EXISTS ("
            "SELECT 1 FROM volumes WHERE run = ?1 AND volume_index = this.volume_index + 1))",
            run,
        )
        return row[0]

    def highest_index(self, run: str) -> int:
        """Return the highest index of a run that is journaled, -1 when there is none."""
        row = self._database.row("SELECT max(volume_index) FROM volumes WHERE run = ?", run)
        return -1 if row[0] is None else row[0]

    # ── volumes and events, written by the front ────────────────────────────────────────────────────────────────────

    def same_volume(self, volume: Volume, voxels: Array) -> bool | None:
        """Return whether the journal has this volume: None if not, False if it has other bytes at the same index."""
        row = self._database.row(
            "SELECT crc32, masked FROM volumes JOIN voxels USING (arrival) WHERE run = ? AND volume_index = ?",
            volume.run,
            volume.index,
        )
        return row and row[0] == volume.crc32 and row[1] == voxels.tobytes()

    def add_volume(
        self, volume: Volume, voxels: Array, *, seen: bytes | None, whole: bytes | None, state: State = "waiting"
    ) -> None:
        """Commit a volume; from here on it may be acked.

        Raises
        ------
        JournalError
            `code` storage when the disk is full or fails; nothing of the volume is kept then.
        """
        with self._database.commit() as database:
            arrival = database.execute(
                "INSERT INTO volumes (run, volume_index, crc32, header, arrived_unix_s, state) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (volume.run, volume.index, volume.crc32, msgspec.json.encode(volume), time.time(), state),
            ).lastrowid
            database.execute("INSERT INTO voxels VALUES (?, ?, ?, ?)", (arrival, voxels.tobytes(), whole, seen))

    def add_event(self, event: Event, seen: bytes | None) -> bool:
        """Commit a trial's onset. False if the journal has the same one; `JournalError` (conflict) if another."""
        header = msgspec.json.encode(event)
        row = self._database.row("SELECT header FROM events WHERE run = ? AND event = ?", event.run, event.event)
        if row:
            if row[0] != header:
                raise JournalError(
                    f"run {event.run}, event {event.event}: another onset has this number already; the first is kept",
                    code="conflict",
                )
            return False
        with self._database.commit() as database:
            database.execute(
                "INSERT INTO events SELECT ?, ?, coalesce(max(arrival), 0), ?, ? FROM volumes",
                (event.run, event.event, header, seen),
            )
        return True

    def count_crash(self, run: str, index: int) -> int:
        """Note that the decoder died over a volume; return how often it has."""
        with self._database.commit() as database:
            database.execute(
                "UPDATE volumes SET n_crashes = n_crashes + 1 WHERE run = ? AND volume_index = ?", (run, index)
            )
        row = self._database.row("SELECT n_crashes FROM volumes WHERE run = ? AND volume_index = ?", run, index)
        return row[0] if row else 0

    # ── what the decoder takes and hands back ───────────────────────────────────────────────────────────────────────

    def waiting(self, weights: str) -> list[Waiting]:
        """Return the volumes that wait, in the order they came, of the runs masked by these weights."""
        rows = self._database.rows(
            "SELECT arrival, run, volume_index FROM volumes JOIN runs USING (run) "
            "WHERE state = 'waiting' AND weights = ? ORDER BY arrival",
            weights,
        )
        return [Waiting(arrival, self.session, run, index) for arrival, run, index in rows]

    def runs_to_finish(self, weights: str) -> list[str]:
        """Return the runs that ended and whose last trials were not asked for yet."""
        rows = self._database.rows("SELECT run FROM runs WHERE finish = 'waiting' AND weights = ?", weights)
        return [run for (run,) in rows]

    def finish_run(self, run: str) -> None:
        """Remember that nothing is to come of a run any more."""
        with self._database.commit() as database:
            database.execute("UPDATE runs SET finish = 'done' WHERE run = ?", (run,))

    def run_volumes(self, run: str, after_arrival: int) -> list[tuple[Waiting, State]]:
        """Return a run's volumes that came after `after_arrival`, in the order they came, with their states."""
        rows = self._database.rows(
            "SELECT arrival, run, volume_index, state FROM volumes WHERE run = ? AND arrival > ? ORDER BY arrival",
            run,
            after_arrival,
        )
        return [(Waiting(arrival, self.session, run, index), state) for arrival, run, index, state in rows]

    def volume(self, arrival: int) -> JournaledVolume:
        """Read a volume back."""
        row = self._database.row(
            "SELECT header, masked, seen FROM volumes JOIN voxels USING (arrival) WHERE arrival = ?", arrival
        )
        if row is None:
            raise JournalError(f"{self.path}: no volume has arrival {arrival}; was the file changed by hand?")
        return JournaledVolume(msgspec.json.decode(row[0], type=Volume), np.frombuffer(row[1], np.float32), row[2])

    def events(self, run: str, from_arrival: int, before_arrival: int) -> list[JournaledEvent]:
        """Return a run's onsets with from_arrival ≤ after_arrival < before_arrival, in the order they came."""
        rows = self._database.rows(
            "SELECT header, seen, after_arrival FROM events "
            "WHERE run = ? AND after_arrival >= ? AND after_arrival < ? ORDER BY rowid",
            run,
            from_arrival,
            before_arrival,
        )
        return [JournaledEvent(msgspec.json.decode(row[0], type=Event), row[1], row[2]) for row in rows]

    def event(self, run: str, event: int) -> JournaledEvent:
        """Read an onset back."""
        row = self._database.row(
            "SELECT header, seen, after_arrival FROM events WHERE run = ? AND event = ?", run, event
        )
        if row is None:
            raise JournalError(f"{self.path}: run {run} has no event {event}; was the file changed by hand?")
        return JournaledEvent(msgspec.json.decode(row[0], type=Event), row[1], row[2])

    def add_decode(
        self,
        message: Decode | Skipped,
        payload: bytes | None = None,
        *,
        event: int = NO_EVENT,
        at_end: bool = False,
        outcome: State | None = None,
    ) -> bool:
        """Commit one message for the viewers, and with it what became of its volume, if that is settled now.

        False if the journal has this stage of this volume already: then the message is not kept. `at_end`: it is of the
        run's end, whose last volume may have told of the same trial.
        """
        stage = message.stage if isinstance(message, Decode) else "skipped"
        stage += " at the end" if at_end else ""
        with self._database.commit() as database:
            added = database.execute(
                "INSERT INTO decodes VALUES (?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (run, volume_index, event, stage) DO NOTHING",
                (message.seq, message.run, message.index, event, stage, msgspec.json.encode(message), payload),
            )
            if outcome:
                database.execute(
                    "UPDATE volumes SET state = ? WHERE run = ? AND volume_index = ?",
                    (outcome, message.run, message.index),
                )
            if outcome == "failed":
                # What failed may have been the run's end.
                database.execute("UPDATE runs SET finish = 'done' WHERE run = ? AND finish = 'waiting'", (message.run,))
        return added.rowcount == 1

    def set_state(self, arrival: int, state: State) -> None:
        """Say what became of a volume."""
        with self._database.commit() as database:
            database.execute("UPDATE volumes SET state = ? WHERE arrival = ?", (state, arrival))

    # ── what is read by everybody ───────────────────────────────────────────────────────────────────────────────────

    def published(self, from_seq: int, limit: int) -> list[Published]:
        """Return at most `limit` messages for the viewers, from number `from_seq` on."""
        return [
            Published(*row)
            for row in self._database.rows(
                "SELECT seq, header, payload FROM decodes WHERE seq >= ? ORDER BY seq LIMIT ?", from_seq, limit
            )
        ]

    def opened_unix_s(self) -> float:
        """Return when the newest run was opened, 0 when there is none."""
        row = self._database.row("SELECT max(opened_unix_s) FROM runs")
        return row[0] or 0.0

    def last_seq(self) -> int:
        """Return the highest number of a message for the viewers, 0 when there is none."""
        row = self._database.row("SELECT max(seq) FROM decodes")
        return row[0] or 0

    def counts(self) -> dict[str, int]:
        """Return how many volumes are in each state."""
        return dict(self._database.rows("SELECT state, count(*) FROM volumes GROUP BY state"))
