"""One SQLite file, opened so that a commit is a promise and an error is an answer. It knows nothing of volumes."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import BraindError

BUSY_TIMEOUT_S = 5.0


class JournalError(BraindError):
    """A journal that cannot be read (`code` journal) or written just now (`code` storage, worth trying again)."""

    code = "journal"


class Database:
    """A SQLite file in write-ahead mode.

    Parameters
    ----------
    path : Path
        Made when it is missing.
    tables : str
        The statements that make the tables.
    schema : int
        Their version; a file of another one is refused.
    wait_for_disk : bool
        True: a commit returns when the disk has it. False: a commit survives the death of every process, but not a
        power cut.
    is_read_only : bool
        The file must be there, and is left as it is, whoever writes it meanwhile.
    """

    def __init__(
        self, path: Path, *, tables: str, schema: int, wait_for_disk: bool = False, is_read_only: bool = False
    ) -> None:
        self.path = path
        with self._answering():
            # Transactions are begun by `commit` alone.
            self._connection = sqlite3.connect(
                f"file:{quote(str(path))}?mode={'ro' if is_read_only else 'rwc'}",
                uri=True,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
            )
        try:
            with self._answering():
                if is_read_only:
                    self._check(schema)
                    return
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute(f"PRAGMA synchronous = {'FULL' if wait_for_disk else 'NORMAL'}")
                self._make_or_check(tables, schema)
        except JournalError:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file; the last one to close it folds the write-ahead log into it."""
        self._connection.close()

    @contextmanager
    def commit(self) -> Iterator[sqlite3.Connection]:
        """Carry out what stands inside, whole or not at all.

        Raises
        ------
        JournalError
            `code` storage when the disk is full, fails or stays locked; journal when the file is damaged.
        """
        with self._answering():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite rolls back by itself after some errors.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Return all rows."""
        with self._answering():
            return self._connection.execute(query, values).fetchall()

    def row(self, query: str, *values: Any) -> Any:
        """Return the first row, or None."""
        with self._answering():
            return self._connection.execute(query, values).fetchone()

    def _make_or_check(self, tables: str, schema: int) -> None:
        is_empty = not self._connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
        if is_empty and not self._schema():
            self._connection.executescript(f"BEGIN IMMEDIATE; {tables} PRAGMA user_version = {schema}; COMMIT")
        else:
            self._check(schema)

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
        except sqlite3.OperationalError as error:
            raise JournalError(
                f"{self.path}: cannot be read or written just now ({error}); free space on its disk or check its "
                "rights, then try again",
                code="storage",
            ) from error
        except sqlite3.DatabaseError as error:
            raise JournalError(
                f"{self.path}: damaged or no braind journal ({error}); move it and its -wal and -shm files away to "
                "start the session anew, and keep them: sqlite3's .recover command reads what is left"
            ) from error
