"""Reading a session's journal: what the daemon and the offline programs share."""

from pathlib import Path
from typing import TypeVar

import msgspec

from ...client.wire import Hello
from .database import DatabaseReader, JournalError, RecordError
from .records import Published, RunRecord

SCHEMA = 1

Header = TypeVar("Header")


class JournalReader:
    """Reads a session's journal. All methods raise JournalError if the file is damaged."""

    def __init__(self, path: Path, database: DatabaseReader) -> None:
        self.path = path
        self.session = path.stem
        self._database = database
        self._hellos: dict[str, Hello] = {}

    def close(self) -> None:
        """Close the file. The last writer that closes it folds the write-ahead log into it."""
        self._database.close()

    def run(self, run: str) -> RunRecord | None:
        """Return a run's record; None if the run was never opened."""
        row = self._database.row("SELECT hello, weights, n_volumes FROM runs WHERE run = ?", run)
        return row and self._record(run, *row)

    def runs(self) -> list[RunRecord]:
        """Return the runs in the order in which they were opened."""
        rows = self._database.rows("SELECT run, hello, weights, n_volumes FROM runs ORDER BY rowid")
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

    def opened_unix_s(self) -> float:
        """Return the Unix time at which the newest run was opened, in s; 0 if the journal has no run."""
        row = self._database.row("SELECT max(opened_unix_s) FROM runs")
        return row[0] or 0.0

    def last_seq(self) -> int:
        """Return the highest number of a message for the viewers; 0 if the journal has no message."""
        row = self._database.row("SELECT max(seq) FROM decodes")
        return row[0] or 0

    def counts(self) -> dict[str, int]:
        """Return the number of volumes in each state."""
        return dict(self._database.rows("SELECT state, count(*) FROM volumes GROUP BY state"))

    def published(self, from_seq: int, limit: int) -> list[Published]:
        """Return at most `limit` messages for the viewers, from number `from_seq` on."""
        return [
            Published(*row)
            for row in self._database.rows(
                "SELECT seq, header, payload FROM decodes WHERE seq >= ? ORDER BY seq LIMIT ?", from_seq, limit
            )
        ]

    def _record(self, run: str, hello: bytes, weights: str, n_volumes: int | None) -> RunRecord:
        return RunRecord(self._parsed(hello, Hello, f"run {run}"), weights, n_volumes)

    def _parsed(self, content: bytes, kind: type[Header], what: str) -> Header:
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
            raise RecordError(
                f"{self.path}: damaged, the header of {what} is not readable ({error}); move it and its -wal and -shm "
                "files away to start the session anew, and keep them"
            ) from error
