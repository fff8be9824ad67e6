"""A session's journal, opened for reading only. Fits and reports use it, also while a daemon writes the journal."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from ...arrays import Array
from ...client.wire import MAGIC, Event, Numbered, Volume, WireError, decode
from ...whole_file import write_whole
from .database import DatabaseReader, JournalError, RecordError
from .reader import JournalReader
from .records import RunRecord, VolumeState
from .tables import READABLE

MESSAGES_AT_ONCE = 50
"""Each message may hold a picture."""


class Arrival(NamedTuple):
    """A journaled volume without its content. `arrival` numbers volumes in the order of their commits."""

    arrival: int
    volume_index: int
    state: VolumeState
    arrived_unix_s: float


class Recording(JournalReader):
    """A recorded session. Reading changes none of its files.

    Raises
    ------
    JournalError
        If the file is missing, damaged or no journal.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise JournalError(f"{path}: no such session; the daemon keeps them in the data folder's journals")
        super().__init__(path, DatabaseReader(path, schemas=READABLE))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def voxel_index(self, run: RunRecord) -> Array:
        """Return the indices of a run's voxels in the flattened volume: (n_voxels,) int64, rising."""
        has_masks = self._database.row("SELECT 1 FROM sqlite_schema WHERE name = 'masks'")
        row = has_masks and self._database.row(
            f"SELECT voxel_index, {self._is_right('masks')} FROM masks WHERE weights = ?", run.weights
        )
        if not row:
            raise JournalError(
                f"{self.path}: run {run.name} does not say which voxels it has: an older braind recorded it"
            )
        if not row[1]:
            raise self._damaged(f"the voxel indices of weights {run.weights}")
        return np.frombuffer(row[0], "<i8")

    def events(self, run: RunRecord) -> list[Event]:
        """Return a run's onsets, sorted by time."""
        rows = self._database.rows(
            f"SELECT header, event, {self._is_right('events')} FROM events WHERE run = ?", run.name
        )
        events = [
            self._parsed(header, Event, f"event {number} of run {run.name}", is_whole)
            for header, number, is_whole in rows
        ]
        return sorted(events, key=lambda event: event.onset_s)

    def volumes(self, run: RunRecord) -> list[tuple[int, Volume]]:
        """Return the arrival and the header of each volume of a run, sorted by index."""
        rows = self._database.rows(
            f"SELECT arrival, header, {self._is_right('volumes')} FROM volumes WHERE run = ? ORDER BY volume_index",
            run.name,
        )
        return [
            (arrival, self._parsed(header, Volume, f"arrival {arrival}", is_whole))
            for arrival, header, is_whole in rows
        ]

    def voxels(self, arrival: int) -> Array:
        """Return a volume's voxels: (n_voxels,) float32, % signal change for betas, raw for BOLD."""
        row = self._database.row(f"SELECT masked, {self._is_right('voxels')} FROM voxels WHERE arrival = ?", arrival)
        if row is None:
            raise JournalError(f"{self.path}: no volume has arrival {arrival}; was the file changed by hand?")
        if not row[1]:
            raise self._damaged(f"the voxels of arrival {arrival}")
        return np.frombuffer(row[0], np.float32)

    def arrivals(self, run: RunRecord) -> list[Arrival]:
        """Return a run's volumes without their content, in the order of arrival."""
        rows = self._database.rows(
            "SELECT arrival, volume_index, state, arrived_unix_s FROM volumes WHERE run = ? ORDER BY arrival", run.name
        )
        return [Arrival(*row) for row in rows]

    def count_and_newest(self, run: RunRecord) -> tuple[int, float | None]:
        """Return the number of a run's volumes, and the newest one's arrival in seconds since 1970, if there is one."""
        row = self._database.row("SELECT COUNT(*), MAX(arrived_unix_s) FROM volumes WHERE run = ?", run.name)
        assert row is not None
        return row[0], row[1]

    def messages(self, from_seq: int = 1, n: int | None = None) -> Iterator[tuple[Numbered, bytes | None]]:
        """Yield the messages for the viewers with their payloads, in the order of the numbers.

        The first message is number `from_seq` or the next that there is, and at most `n` messages come.
        """
        next_seq, n_left = from_seq, sys.maxsize if n is None else n
        while published := self.published(next_seq, min(n_left, MESSAGES_AT_ONCE)):
            n_left -= len(published)
            next_seq = published[-1].seq + 1
            for seq, header, payload, is_whole in published:
                if not is_whole:
                    raise self._damaged(f"message {seq}")
                try:
                    message, _ = decode([MAGIC, header])
                except WireError as error:
                    raise RecordError(f"{self.path}: damaged, message {seq} is not readable ({error})") from error
                if not isinstance(message, Numbered):
                    raise RecordError(f"{self.path}: damaged, message {seq} is a {type(message).__name__}")
                yield message, payload

    def last_decode_seq(self) -> int:
        """Return the number of the newest decode's scores, which every decode has; 0 if there is no decode."""
        (seq,) = self._database.row("SELECT max(seq) FROM decodes WHERE stage LIKE 'scores%'")
        return seq or 0

    def first_seq_of_newest(self, n_trials: int) -> int:
        """Return the lowest number of a message about the newest `n_trials` trials; 0 if there is no message."""
        (first_seq,) = self._database.row(
            "SELECT min(first_seq) FROM (SELECT min(seq) AS first_seq FROM decodes "
            "GROUP BY run, event, CASE WHEN event < 0 THEN volume_index END ORDER BY max(seq) DESC LIMIT ?)",
            n_trials,
        )
        return first_seq or 0

    def copy_to(self, path: Path) -> None:
        """Write the session into one SQLite file that needs no -wal file, also while a daemon writes the journal.

        Raises
        ------
        JournalError
        OSError
            If the file cannot be made.
        """
        with write_whole(path) as unfinished_path:
            self._database.rows("VACUUM INTO ?", str(unfinished_path))
