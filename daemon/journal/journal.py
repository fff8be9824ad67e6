"""A session's journal: acked volumes and events, and their decodes. One SQLite file, shared by both processes.

The journal is the only queue between front and decoder. The front adds volumes and events. The decoder takes waiting
volumes and adds decodes. The front publishes the decodes. A process that starts after a crash goes on from the journal.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from ...arrays import Array
from ...client.wire import Decode, EndRun, Event, Hello, Mark, Numbered, Volume
from .checksums import is_right, made
from .database import JournalError, RecordError
from .reader import JournalReader
from .records import NO_EVENT, Pending, VolumeState
from .tables import MARKS, TABLES
from .writing import Database

logger = logging.getLogger(__name__)


class Journal(JournalReader):
    """One session's journal.

    Parameters
    ----------
    path : Path
        The SQLite file. It is made if it is missing.
    wait_for_disk : bool
        True (the front): a commit returns when the data are on the disk; an ack promises that. False (the decoder): a
        commit survives the death of every process but not a power cut; a decode can be made again from its volume.
    on_use : function
        As for `Database`.
    """

    def __init__(
        self, path: Path, *, wait_for_disk: bool = True, on_use: Callable[[Database], None] = lambda _: None
    ) -> None:
        self._database: Database
        super().__init__(path, Database(path, TABLES, wait_for_disk=wait_for_disk, on_use=on_use))

    def fold_log(self) -> None:
        """Move everything into the one file, so that a copy of that file is the whole session.

        If the disk fails, the log stays as it is: nothing is lost.
        """
        try:
            self._database.fold_log()
        except JournalError as error:
            logger.warning("session %s: its -wal file stays beside it: %s", self.session, error)

    # ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def keep_mask(self, weights: str, voxel_index: Array) -> None:
        """Commit the voxel indices of these weights: (n_voxels,) int64 into the flattened volume."""
        with self._database.commit() as database:
            database.execute(
                "INSERT OR IGNORE INTO masks VALUES (?1, ?2, row_checksum(?1, ?2))",
                (weights, np.asarray(voxel_index, "<i8").tobytes()),
            )

    def open_run(self, hello: Hello, weights: str) -> None:
        """Commit a run. A second `Hello` of the same run changes nothing."""
        with self._database.commit() as database:
            database.execute(
                "INSERT OR IGNORE INTO runs VALUES (?1, ?2, ?3, NULL, ?4, NULL, row_checksum(?1, ?2, ?3, NULL, ?4))",
                (hello.run, msgspec.json.encode(hello), weights, time.time()),
            )

    def end_run(self, message: EndRun, *, has_estimates: bool) -> None:
        """Commit a run's number of volumes. `has_estimates`: the run's end may complete its last trials' estimates."""
        with self._database.commit() as database:
            changed = database.execute(
                "UPDATE runs SET n_volumes = ?1, finish = ?2, "
                "checksum = row_checksum(run, hello, weights, ?1, opened_unix_s) "
                f"WHERE run = ?3 AND {is_right('runs')}",
                (message.n_volumes, "waiting" if has_estimates else "done", message.run),
            )
            if not changed.rowcount:
                raise self._damaged(f"run {message.run}")

    def next_index(self, run: str) -> int:
        """Return the lowest index of a run that is not journaled."""
        row = self._database.row(
            # 0 if volume 0 is missing, else the lowest index after which a volume is missing.
            "SELECT min(candidate) FROM ("
            "SELECT 0 AS candidate WHERE NOT EXISTS (SELECT 1 FROM volumes WHERE run = ?1 AND volume_index = 0) "
            "UNION ALL SELECT volume_index + 1 FROM volumes AS this WHERE run = ?1 AND NOT EXISTS ("
            "SELECT 1 FROM volumes WHERE run = ?1 AND volume_index = this.volume_index + 1))",
            run,
        )
        return row[0]

    def highest_index(self, run: str) -> int:
        """Return the highest journaled index of a run; -1 if no volume is journaled."""
        row = self._database.row("SELECT max(volume_index) FROM volumes WHERE run = ?", run)
        return -1 if row[0] is None else row[0]

    # ── volumes and events, written by the front ────────────────────────────────────────────────────────────────────

    def same_volume(self, volume: Volume, voxels: Array) -> bool | None:
        """Return True if the journal has this volume, False if its index has other bytes, None if the index is free."""
        row = self._database.row(
            f"SELECT crc32, masked, {is_right('volumes')} AND {is_right('voxels')} "
            "FROM volumes LEFT JOIN voxels USING (arrival) WHERE run = ? AND volume_index = ?",
            volume.run,
            volume.index,
        )
        if row is None:
            return None
        crc32, masked, is_whole = row
        if not is_whole:
            raise self._damaged(f"run {volume.run}, volume {volume.index}")
        return crc32 == volume.crc32 and masked == voxels.tobytes()

    def add_volume(
        self, volume: Volume, voxels: Array, *, seen: bytes | None, whole: bytes | None, state: VolumeState = "waiting"
    ) -> None:
        """Commit a volume. The front may ack it afterwards.

        Raises
        ------
        JournalError
            `code` storage when the disk is full or fails. Nothing of the volume is kept then.
        """
        with self._database.commit() as database:
            arrival = database.execute(
                "INSERT INTO volumes (run, volume_index, crc32, header, arrived_unix_s, state) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (volume.run, volume.index, volume.crc32, msgspec.json.encode(volume), time.time(), state),
            ).lastrowid
            # The checksum covers the arrival, which SQLite gives.
            database.execute(f"UPDATE volumes SET checksum = {made('volumes')} WHERE arrival = ?", (arrival,))
            database.execute(
                "INSERT INTO voxels VALUES (?1, ?2, ?3, ?4, row_checksum(?1, ?2, ?3, ?4))",
                (arrival, voxels.tobytes(), whole, seen),
            )

    def add_event(self, event: Event, seen: bytes | None) -> bool:
        """Commit a trial's onset; return False if the journal has it already.

        Raises
        ------
        JournalError
            `code` conflict if the journal has another onset under this number.
        """
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
            (after_arrival,) = database.execute("SELECT coalesce(max(arrival), 0) FROM volumes").fetchone()
            database.execute(
                "INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, row_checksum(?1, ?2, ?3, ?4, ?5))",
                (event.run, event.event, after_arrival, header, seen),
            )
        return True

    def add_mark(self, mark: Mark) -> None:
        """Commit an operator's mark."""
        with self._database.commit() as database:
            database.execute(MARKS)
            (number,) = database.execute("SELECT coalesce(max(mark), 0) + 1 FROM marks").fetchone()
            database.execute(
                "INSERT INTO marks VALUES (?1, ?2, row_checksum(?1, ?2))", (number, msgspec.json.encode(mark))
            )

    def count_crash(self, run: str, index: int) -> int:
        """Count one more crash of the decoder over a volume; return the volume's number of crashes."""
        with self._database.commit() as database:
            database.execute(
                "UPDATE volumes SET n_crashes = n_crashes + 1 WHERE run = ? AND volume_index = ?", (run, index)
            )
        row = self._database.row("SELECT n_crashes FROM volumes WHERE run = ? AND volume_index = ?", run, index)
        return row[0] if row else 0

    # ── what the decoder takes and hands back ───────────────────────────────────────────────────────────────────────

    def waiting(self, weights: str) -> list[Pending]:
        """Return the waiting volumes of the runs recorded under these weights, in the order of arrival."""
        rows = self._database.rows(
            "SELECT arrival, run, volume_index FROM volumes JOIN runs USING (run) "
            "WHERE state = 'waiting' AND weights = ? ORDER BY arrival",
            weights,
        )
        return [Pending(arrival, self.session, run, index) for arrival, run, index in rows]

    def runs_to_finish(self, weights: str) -> list[str]:
        """Return the ended runs whose last trials still wait to be decoded."""
        rows = self._database.rows("SELECT run FROM runs WHERE finish = 'waiting' AND weights = ?", weights)
        return [run for (run,) in rows]

    def finish_run(self, run: str) -> None:
        """Commit that a run has no further decode."""
        with self._database.commit() as database:
            database.execute("UPDATE runs SET finish = 'done' WHERE run = ?", (run,))

    def add_decode(
        self,
        message: Numbered,
        payload: bytes | None = None,
        *,
        event: int = NO_EVENT,
        at_end: bool = False,
        outcome: VolumeState | None = None,
    ) -> bool:
        """Commit one message for the viewers and, if `outcome` is given, the new state of its volume.

        Returns False if the journal has this stage of this volume already; the message is not kept then. `at_end`: the
        message belongs to the run's end. Without it a trial of the run's last volume would have the same key.

        Raises
        ------
        RecordError
            If the message could not be read back, because it holds a number that is not finite. Nothing is kept.
        JournalError
        """
        stage = message.stage if isinstance(message, Decode) else str(message.__struct_config__.tag)
        stage += " at the end" if at_end else ""
        header = msgspec.json.encode(message)
        if not _is_read_back(header, message):
            raise RecordError(
                f"{stage} of run {message.run}, volume {message.index} holds a number that is not finite, and is not "
                "kept; check the units and the scale of the volumes, and the weights"
            )
        with self._database.commit() as database:
            added = database.execute(
                "INSERT INTO decodes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, row_checksum(?1, ?2, ?3, ?4, ?5, ?6, ?7)) "
                "ON CONFLICT (run, volume_index, event, stage) DO NOTHING",
                (message.seq, message.run, message.index, event, stage, header, payload),
            )
            if outcome:
                database.execute(
                    "UPDATE volumes SET state = ? WHERE run = ? AND volume_index = ?",
                    (outcome, message.run, message.index),
                )
            if outcome == "failed":
                # The message may be about the run's end.
                database.execute("UPDATE runs SET finish = 'done' WHERE run = ? AND finish = 'waiting'", (message.run,))
        return added.rowcount == 1

    def set_state(self, arrival: int, state: VolumeState) -> None:
        """Commit a volume's state."""
        with self._database.commit() as database:
            database.execute("UPDATE volumes SET state = ? WHERE arrival = ?", (state, arrival))


def _is_read_back(header: bytes, message: Numbered) -> bool:
    """Return whether JSON gives the same message again. A number that is not finite becomes null in JSON."""
    try:
        return msgspec.json.decode(header, type=type(message)) == message
    except msgspec.ValidationError:
        return False
