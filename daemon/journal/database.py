"""SQLite files that are read and not changed. Every SQLite error becomes a JournalError; no volume is known here."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import BraindError
from .checksums import row_checksum

READ_WAIT_S = 5.0
"""No scan waits for a `DatabaseReader`."""


class JournalError(BraindError):
    """A journal that is damaged (`code` journal), or that cannot be read or written now (`code` storage: try again)."""

    code = "journal"


class RecordError(JournalError):
    """One record of a journal is damaged; the other records can still be read."""


class DatabaseReader:
    """Reads a SQLite file and changes no byte of the file, of its -wal file or of its -shm file.

    Another process may write the file at the same time. Neither process waits for the other.

    Parameters
    ----------
    path : Path
    schemas : range
        The versions that the file may have.

    Raises
    ------
    JournalError
        If the file is missing, damaged or of another schema.
    """

    def __init__(self, path: Path, *, schemas: range) -> None:
        self.path = path
        self._is_live = self._has_log()
        options = "mode=ro&" + ("readonly_shm=1" if self._is_live else "immutable=1")
        self._connection: sqlite3.Connection | None = self._connect(options, READ_WAIT_S)
        self._close_unless(lambda: check_schema(path, self.schema(), schemas))

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Return all rows."""
        with self._answering():
            return self._current().execute(query, values).fetchall()

    def row(self, query: str, *values: Any) -> Any:
        """Return the first row, or None."""
        with self._answering():
            return self._current().execute(query, values).fetchone()

    def schema(self) -> int:
        """Return the version of the tables."""
        return self.row("PRAGMA user_version")[0]

    def _current(self) -> sqlite3.Connection:
        """Return the connection; connect anew if a writer has opened the file since."""
        if self._connection is None:
            raise JournalError(f"{self.path}: read after it was closed")
        # Without a write-ahead log no writer has the file open. The file is read as immutable then: with any other
        # option SQLite creates the log and its index.
        if not self._is_live and self._has_log():
            self._connection.close()
            self._is_live = True
            self._connection = self._connect("mode=ro&readonly_shm=1", READ_WAIT_S)
        return self._connection

    def _has_log(self) -> bool:
        log, index_path = log_path(self.path), self.path.with_name(self.path.name + "-shm")
        try:
            n_bytes = log.stat().st_size
        except FileNotFoundError:
            return False
        if index_path.exists():
            return True
        if n_bytes:
            raise JournalError(
                f"{self.path}: its -wal file is here without its -shm file; copy all three files, or fold the -wal "
                f"file in: sqlite3 {self.path.name} 'PRAGMA wal_checkpoint(TRUNCATE)'"
            )
        return False

    def _connect(self, options: str, wait_s: float) -> sqlite3.Connection:
        with self._answering():
            # isolation_level: only `commit` begins transactions.
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?{options}", uri=True, timeout=wait_s, isolation_level=None
            )
            connection.create_function("row_checksum", -1, row_checksum, deterministic=True)
            return connection

    def _close_unless(self, is_usable: Callable[[], None]) -> None:
        try:
            with self._answering():
                is_usable()
        except JournalError:
            self.close()
            raise

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            # SQLITE_ERROR: a table or column is missing. No code: a text, perhaps SQLite's sentence about a damaged
            # table, is not UTF-8. Neither error passes by itself.
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
                raise JournalError(
                    f"{self.path}: cannot be read or written just now ({error}); free space on its disk, check its "
                    "rights, or close the program that has it locked, then try again",
                    code="storage",
                ) from error
            raise JournalError(
                f"{self.path}: damaged or no braind journal ({error}); move it and its -wal and -shm files away to "
                "start the session anew, and keep them: sqlite3's .recover command reads what is left"
            ) from error


def check_schema(path: Path, found: int, readable: range) -> None:
    """Refuse a file of a schema that this braind does not read (JournalError)."""
    if found not in readable:
        raise JournalError(
            f"{path}: a file of schema {found}, this braind writes {readable[-1]}; move it away or name another session"
        )


def log_path(path: Path) -> Path:
    """Return the path of a file's write-ahead log."""
    return path.with_name(path.name + "-wal")
