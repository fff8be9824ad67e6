"""Reading a session's journal: what the daemon and the offline programs share."""

from itertools import chain, islice, pairwise
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from ...arrays import Array
from ...client.wire import Event, Gap, Hello, Mark, Volume
from . import checksums
from .database import DatabaseReader, JournalError, RecordError
from .records import (
    JournaledEvent,
    JournaledVolume,
    JournalFacts,
    Pending,
    Published,
    RunRecord,
    VolumeState,
)
from .soundness import find_damage

FIRST_WITH_CHECKSUMS = 2
"""The first schema whose rows have checksums."""
REMEDY = "move it and its -wal and -shm files away to start the session anew, and keep them"

Header = TypeVar("Header")


class JournalReader:
    """Reads a session's journal. All methods raise JournalError if the file is damaged."""

    def __init__(self, path: Path, database: DatabaseReader) -> None:
        self.path = path
        self.session = path.stem
        self._database = database
        self._hellos: dict[str, Hello] = {}
        self._has_checksums = database.schema() >= FIRST_WITH_CHECKSUMS

    def close(self) -> None:
        """Close the file. The last writer that closes it folds the write-ahead log into it."""
        self._database.close()

    def run(self, run: str) -> RunRecord | None:
        """Return a run's record; None if the run was never opened."""
        row = self._database.row(f"SELECT {self._run_columns()} FROM runs WHERE run = ?", run)
        return row and self._record(*row)

    def runs(self) -> list[RunRecord]:
        """Return the runs in the order in which they were opened."""
        rows = self._database.rows(f"SELECT {self._run_columns()} FROM runs ORDER BY rowid")
        return [self._record(*row) for row in rows]

    def hello(self, run: str) -> Hello:
        """Return the message that opened a run. The message never changes, so it is parsed once.

        Raises
        ------
        JournalError
            If the file is damaged or the run was never opened.
        """
        if run not in self._hellos:
            record = self.run(run)
            if record is None:
                raise JournalError(f"{self.path}: run {run} was never opened; was the file changed by hand?")
            self._hellos[run] = record.hello
        return self._hellos[run]

    def newest_run(self) -> str:
        """Return the run that was opened last; "" if the journal has no run."""
        row = self._database.row("SELECT run FROM runs ORDER BY rowid DESC LIMIT 1")
        return row[0] if row else ""

    def facts(self) -> JournalFacts:
        """Return the journal in short."""
        opened_unix_s, first_seq, last_seq, has_work = self._database.row(
            "SELECT (SELECT max(opened_unix_s) FROM runs), (SELECT min(seq) FROM decodes), "
            "(SELECT max(seq) FROM decodes), EXISTS (SELECT 1 FROM volumes WHERE state = 'waiting') "
            "OR EXISTS (SELECT 1 FROM runs WHERE finish = 'waiting')"
        )
        return JournalFacts(opened_unix_s or 0.0, bool(has_work), first_seq or 0, last_seq or 0)

    def is_over(self) -> bool:
        """Return whether every run has ended."""
        return not self._database.row("SELECT EXISTS (SELECT 1 FROM runs WHERE n_volumes IS NULL)")[0]

    def check_sound(self) -> None:
        """Raise RecordError if rows are damaged or missing.

        Voxels, pictures and decodes are large: their checksums are compared when they are read.
        """
        damage = find_damage(self._database) if self._has_checksums else None
        if damage:
            raise RecordError(f"{self.path}: damaged, {damage}; {REMEDY}")

    def last_seq(self) -> int:
        """Return the highest number of a message for the viewers; 0 if the journal has no message."""
        row = self._database.row("SELECT max(seq) FROM decodes")
        return row[0] or 0

    def counts(self) -> dict[str, int]:
        """Return the number of volumes in each state."""
        return dict(self._database.rows("SELECT state, count(*) FROM volumes GROUP BY state"))

    def n_waiting(self) -> int:
        """Return the number of volumes that wait to be decoded."""
        return self._database.row("SELECT count(*) FROM volumes WHERE state = 'waiting'")[0]

    def published(self, from_seq: int, limit: int) -> list[Published]:
        """Return at most `limit` messages for the viewers, from number `from_seq` on."""
        rows = self._database.rows(
            f"SELECT seq, header, payload, {self._is_right('decodes')} FROM decodes "
            "WHERE seq >= ? ORDER BY seq LIMIT ?",
            from_seq,
            limit,
        )
        return [Published(seq, header, payload, bool(is_whole)) for seq, header, payload, is_whole in rows]

    def run_volumes(self, run: str, after_arrival: int) -> list[tuple[Pending, VolumeState]]:
        """Return a run's volumes after `after_arrival`, in the order of arrival, with their states."""
        rows = self._database.rows(
            "SELECT arrival, run, volume_index, state FROM volumes WHERE run = ? AND arrival > ? ORDER BY arrival",
            run,
            after_arrival,
        )
        return [(Pending(arrival, self.session, run, index), state) for arrival, run, index, state in rows]

    def holes(self, run: str, n_volumes: int) -> list[range]:
        """Return the indices below `n_volumes` that are not journaled, as ranges."""
        stored = [index for (index,) in self._database.rows(
            "SELECT volume_index FROM volumes WHERE run = ? AND volume_index < ? ORDER BY volume_index", run, n_volumes
        )]  # fmt: skip
        # The indices are not listed, because a sender may announce 2 billion volumes.
        return [range(before + 1, after) for before, after in pairwise([-1, *stored, n_volumes]) if after - before > 1]

    def missing(self, run: str, n_volumes: int, most: int) -> tuple[int, list[int]]:
        """Return the number of indices below `n_volumes` that are not journaled, and at most `most` of them."""
        holes = self.holes(run, n_volumes)
        return sum(map(len, holes)), list(islice(chain.from_iterable(holes), most))

    def gaps(self, run: str) -> list[Gap]:
        """Return the gaps of a run that were published."""
        rows = self._database.rows(
            f"SELECT header, {self._is_right('decodes')} FROM decodes WHERE run = ? AND stage = 'gap'", run
        )
        return [self._parsed(header, Gap, f"a gap of run {run}", is_whole) for header, is_whole in rows]

    def volume(self, arrival: int) -> JournaledVolume:
        """Return a journaled volume."""
        row = self._database.row(
            f"SELECT header, masked, voxels.seen, {self._is_right('volumes')} AND {self._is_right('voxels')} "
            "FROM volumes JOIN voxels USING (arrival) WHERE arrival = ?",
            arrival,
        )
        if row is None:
            raise RecordError(f"{self.path}: no volume has arrival {arrival}; was the file changed by hand?")
        header, masked, seen, is_whole = row
        volume = self._parsed(header, Volume, f"arrival {arrival}", is_whole)
        return JournaledVolume(volume, np.frombuffer(masked, np.float32), seen)

    def first_voxels(self, run: str) -> Array | None:
        """Return the voxels of a run's volume that arrived first, (n_voxels,) float32; None before any volume."""
        row = self._database.row("SELECT min(arrival) FROM volumes WHERE run = ?", run)
        return None if row is None or row[0] is None else self.volume(row[0]).voxels

    def events_between(self, run: str, from_arrival: int, before_arrival: int) -> list[JournaledEvent]:
        """Return a run's onsets with from_arrival ≤ after_arrival < before_arrival, in the order of arrival."""
        rows = self._database.rows(
            f"SELECT event, header, seen, after_arrival, {self._is_right('events')} FROM events "
            "WHERE run = ? AND after_arrival >= ? AND after_arrival < ? ORDER BY rowid",
            run,
            from_arrival,
            before_arrival,
        )
        return [self._event(run, *row) for row in rows]

    def event(self, run: str, event: int) -> JournaledEvent:
        """Return a journaled onset."""
        row = self._database.row(
            f"SELECT event, header, seen, after_arrival, {self._is_right('events')} FROM events "
            "WHERE run = ? AND event = ?",
            run,
            event,
        )
        if row is None:
            raise JournalError(f"{self.path}: run {run} has no event {event}; was the file changed by hand?")
        return self._event(run, *row)

    def volume_headers(self, run: RunRecord, after_arrival: int) -> list[tuple[int, Volume]]:
        """Return the arrival and the header of each volume of a run after `after_arrival`, in the order of arrival."""
        rows = self._database.rows(
            f"SELECT arrival, header, {self._is_right('volumes')} FROM volumes WHERE run = ? AND arrival > ? "
            "ORDER BY arrival",
            run.name,
            after_arrival,
        )
        return [
            (arrival, self._parsed(header, Volume, f"arrival {arrival}", is_whole))
            for arrival, header, is_whole in rows
        ]

    def event_headers(self, run: RunRecord, after_row: int) -> list[tuple[int, Event]]:
        """Return the row and the header of each onset of a run after `after_row`, in the order of arrival."""
        rows = self._database.rows(
            f"SELECT rowid, header, {self._is_right('events')} FROM events WHERE run = ? AND rowid > ? ORDER BY rowid",
            run.name,
            after_row,
        )
        return [
            (row, self._parsed(header, Event, f"row {row} in table events", is_whole)) for row, header, is_whole in rows
        ]

    def extent(self, run: str) -> tuple[int, int]:
        """Return the number of a run's volumes, and the highest index; -1 if no volume is journaled."""
        row = self._database.row("SELECT count(*), coalesce(max(volume_index), -1) FROM volumes WHERE run = ?", run)
        return row[0], row[1]

    def index_before(self, run: str, unix_s: float) -> int | None:
        """Return the index of the volume of a run that came last before a time, s since 1970; None without one."""
        row = self._database.row(
            "SELECT volume_index FROM volumes WHERE run = ? AND arrived_unix_s <= ? ORDER BY arrival DESC LIMIT 1",
            run,
            unix_s,
        )
        return row[0] if row else None

    def seen(self, run: str, index: int) -> bytes | None:
        """Return the seen picture of a volume as a PNG; None if it came without one."""
        row = self._database.row("SELECT arrival FROM volumes WHERE run = ? AND volume_index = ?", run, index)
        return self.volume(row[0]).seen if row else None

    def marks(self) -> list[Mark]:
        """Return the session's marks, in the order in which they came."""
        # A journal has no table of marks before its first mark.
        if not self._database.row("SELECT 1 FROM sqlite_schema WHERE name = 'marks'"):
            return []
        rows = self._database.rows(f"SELECT mark, header, {checksums.is_right('marks')} FROM marks ORDER BY mark")
        return [self._parsed(header, Mark, f"mark {number}", is_whole) for number, header, is_whole in rows]

    def _event(
        self, run: str, event: int, header: bytes, seen: bytes | None, after: int, is_whole: int
    ) -> JournaledEvent:
        return JournaledEvent(self._parsed(header, Event, f"event {event} of run {run}", is_whole), seen, after)

    def _run_columns(self) -> str:
        return f"run, hello, weights, n_volumes, {self._is_right('runs')}"

    def _record(self, run: str, hello: bytes, weights: str, n_volumes: int | None, is_whole: int) -> RunRecord:
        return RunRecord(self._parsed(hello, Hello, f"run {run}", is_whole), weights, n_volumes)

    def _is_right(self, table: str) -> str:
        """Return the SQL expression that is 1 if a row has its checksum; 1 for a file without checksums."""
        return checksums.is_right(table) if self._has_checksums else "1"

    def _parsed(self, content: bytes, kind: type[Header], what: str, is_whole: int) -> Header:
        """Return a stored message; raise RecordError if it is no message, or if its row has another checksum."""
        if not is_whole:
            raise self._damaged(what)
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError, RecursionError) as error:
            raise RecordError(
                f"{self.path}: damaged, the header of {what} is not readable ({error}); {REMEDY}"
            ) from error

    def _damaged(self, what: str) -> RecordError:
        return RecordError(f"{self.path}: damaged, the bytes of {what} do not match their checksum; {REMEDY}")
