"""SQLite files: `Database` writes and reads, `DatabaseReader` only reads. Every SQLite error becomes a JournalError.

This file knows nothing of volumes.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ...errors import BraindError

BUSY_TIMEOUT_S = 5.0


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
    schema : int
        The version that the file must have.

    Raises
    ------
    JournalError
        If the file is missing, damaged or of another schema.
    """

    def __init__(self, path: Path, *, schema: int) -> None:
        self.path = path
        self._is_live = self._has_log()
        self._connection = self._connect("mode=ro&" + ("readonly_shm=1" if self._is_live else "immutable=1"))
        self._close_unless(lambda: self._check(schema))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Return all rows."""
        with self._answering():
            return self._current().execute(query, values).fetchall()

    def row(self, query: str, *values: Any) -> Any:
        """Return the first row, or None."""
        with self._answering():
            return self._current().execute(query, values).fetchone()

    def _current(self) -> sqlite3.Connection:
        """Return the connection; connect anew if a writer has opened the file since."""
        # Without a write-ahead log no writer has the file open. The file is read as immutable then: with any other
        # option SQLite creates the log and its index.
        if not self._is_live and self._has_log():
            self._connection.close()
            self._is_live = True
            self._connection = self._connect("mode=ro&readonly_shm=1")
        return self._connection

    def _has_log(self) -> bool:
        log_path, index_path = (self.path.with_name(self.path.name + ending) for ending in ("-wal", "-shm"))
        try:
            n_bytes = log_path.stat().st_size
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

    def _connect(self, options: str) -> sqlite3.Connection:
        with self._answering():
            # isolation_level: only `commit` begins transactions.
            return sqlite3.connect(
                f"file:{quote(str(self.path))}?{options}", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
            )

    def _close_unless(self, is_usable: Any) -> None:
        try:
            with self._answering():
                is_usable()
        except JournalError:
            self._connection.close()
            raise

    def _check(self, schema: int) -> None:
        if self._schema() != schema:
            raise JournalError(
                f"{self.path}: a file of schema {self._schema()}, this braind writes {schema}; move it away or name "
                "another session"
            )

    def _schema(self) -> int:
        return self._connection.execute("PRAGMA user_version").fetchone()[0]

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            # SQLITE_ERROR: a table or column is missing. No code: a text is not UTF-8. Neither error passes by itself.
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
                raise JournalError(
                    f"{self.path}: cannot be read or written just now ({error}); free space on its disk or check its "
                    "rights, then try again",
                    code="storage",
                ) from error
            raise JournalError(
                f"{self.path}: damaged or no braind journal ({error}); move it and its -wal and -shm files away to "
                "start the session anew, and keep them: sqlite3's .recover command reads what is left"
            ) from error


class Database(DatabaseReader):
    """A SQLite file in write-ahead mode.

    Parameters
    ----------
    path : Path
        The file is made if it is missing.
    tables : str
        The statements that make the tables.
    schema : int
        The version of the tables. A file of another version is refused.
    wait_for_disk : bool
        True: a commit returns when the data are on the disk. False: a commit survives the death of every process, but
        not a power cut.
    """

    def __init__(self, path: Path, *, tables: str, schema: int, wait_for_disk: bool = False) -> None:
        self.path = path
        self._inodes: tuple[int | None, ...] = ()
        self._connection = self._connect("mode=rwc")
        self._close_unless(lambda: self._prepare(tables, schema, wait_for_disk))

    @contextmanager
    def commit(self) -> Iterator[sqlite3.Connection]:
        """Run the statements of the block in one transaction: all of them, or none.

        Raises
        ------
        JournalError
            `code` storage when the disk is full, fails or stays locked, or when somebody deleted the file; journal when
            the file is damaged.
        """
        with self._answering():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._check_in_place()
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite rolls back by itself after some errors.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _current(self) -> sqlite3.Connection:
        return self._connection

    def _check_in_place(self) -> None:
        """Refuse to write to a file that has no name any more: what is written would be lost with the process."""
        inodes = tuple(
            path.stat().st_ino if path.exists() else None
            for path in (self.path, self.path.with_name(f"{self.path.name}-wal"))
        )
        self._inodes = self._inodes or inodes
        if inodes != self._inodes:
            raise JournalError(
                f"{self.path}: this file or its -wal file was deleted or replaced while it was open; end the daemon, "
                "put both files back or move them away, and start it again",
                code="storage",
            )

    def _prepare(self, tables: str, schema: int, wait_for_disk: bool) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute(f"PRAGMA synchronous = {'FULL' if wait_for_disk else 'NORMAL'}")
        is_empty = not self._connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
        if is_empty and not self._schema():
            self._connection.executescript(f"BEGIN IMMEDIATE; {tables} PRAGMA user_version = {schema}; COMMIT")
        else:
            self._check(schema)
