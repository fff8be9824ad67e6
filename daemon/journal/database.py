"""SQLite files: `Database` writes and reads, `DatabaseReader` only reads. Every SQLite error becomes a JournalError.

This file knows nothing of volumes.
"""

import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ...errors import BraindError
from .checksums import row_checksum
from .lost_commits import committed_frames

LOCK_WAIT_S = 0.5
"""A file that another program has locked is refused after this time: a scan waits meanwhile."""
READ_WAIT_S = 5.0
"""No scan waits for a `DatabaseReader`."""
OWNER_ONLY = 0o600

logger = logging.getLogger(__name__)


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
        log_path, index_path = _log_path(self.path), self.path.with_name(self.path.name + "-shm")
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

    def _connect(self, options: str, wait_s: float) -> sqlite3.Connection:
        with self._answering():
            # isolation_level: only `commit` begins transactions.
            connection = sqlite3.connect(
                f"file:{quote(str(self.path))}?{options}", uri=True, timeout=wait_s, isolation_level=None
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


@dataclass(frozen=True)
class Tables:
    """The tables of a file: `sql` makes them, and `migrations` bring a file of an older schema to the next one."""

    sql: str
    schema: int
    migrations: dict[int, str]


class Database(DatabaseReader):
    """A SQLite file in write-ahead mode. `rest` closes it, and the next use opens it again.

    Parameters
    ----------
    path : Path
        The file is made if it is missing. Only its owner may read it.
    tables : Tables
        A file of a newer schema is refused.
    wait_for_disk : bool
        True: a commit returns when the data are on the disk. False: a commit survives the death of every process, but
        not a power cut.
    on_use : function
        Called with this object before each use.
    """

    def __init__(
        self,
        path: Path,
        tables: Tables,
        *,
        wait_for_disk: bool,
        on_use: Callable[["Database"], None] = lambda _: None,
    ) -> None:
        self.path = path
        self._tables, self._wait_for_disk, self._on_use = tables, wait_for_disk, on_use
        self._inode: int | None = None
        self._log_inode: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._current()

    def rest(self) -> None:
        """Close the file until the next use. The last process that closes it folds the write-ahead log into it."""
        self.close()

    def fold_log(self) -> None:
        """Move everything from the write-ahead log into the file, unless another process reads the log just now."""
        with self._answering():
            connection = self._current()
            connection.execute("PRAGMA busy_timeout = 0")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            connection.execute(f"PRAGMA busy_timeout = {round(1000 * LOCK_WAIT_S)}")

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
            connection = self._current()
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._check_in_place()
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # SQLite rolls back by itself after some errors.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _current(self) -> sqlite3.Connection:
        self._on_use(self)
        if self._connection is None:
            self._open()
        assert self._connection is not None
        return self._connection

    def _open(self) -> None:
        if self._inode is None:
            self._make()
        elif _inode(self.path) != self._inode:
            raise self._gone()
        self._log_inode = None
        committed = committed_frames(_log_path(self.path))
        self._connection = self._connect("mode=rw", LOCK_WAIT_S)
        self._close_unless(lambda: self._keep_lost(committed))
        self._close_unless(self._prepare)
        self._inode = self._inode or _inode(self.path)

    def _make(self) -> None:
        """Make the file if it is missing; let nobody but its owner read it."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, OWNER_ONLY)
            try:
                if os.fstat(descriptor).st_uid == os.geteuid():
                    os.fchmod(descriptor, OWNER_ONLY)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise JournalError(
                f"{self.path}: cannot be read or written just now ({error.strerror}); free space on its disk or check "
                "its rights, then try again",
                code="storage",
            ) from error

    def _check_in_place(self) -> None:
        """Refuse to write to a file that has no name any more: its content would be lost with the process."""
        log_inode = _inode(_log_path(self.path))
        self._log_inode = self._log_inode or log_inode
        if _inode(self.path) != self._inode or log_inode != self._log_inode:
            raise self._gone()

    def _gone(self) -> JournalError:
        return JournalError(
            f"{self.path}: this file or its -wal file was deleted or replaced while it was in use; end the daemon, "
            "put both files back or move them away, and start it again",
            code="storage",
        )

    def _keep_lost(self, committed: list[int]) -> None:
        """Copy a write-ahead log with commits that SQLite cannot read: the next commit overwrites them."""
        assert self._connection is not None
        if not committed:
            return
        _, n_read, _ = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        n_lost = sum(frame > n_read for frame in committed)
        if n_lost:
            aside = self.path.with_name(f"{self.path.name}-wal.damaged-{time.time_ns()}")
            shutil.copyfile(_log_path(self.path), aside)
            logger.error(
                "%s: %d commits of its -wal file follow damaged bytes and cannot be read: volumes may be missing; the "
                "file is kept as %s", self.path, n_lost, aside.name,
            )  # fmt: skip

    def _prepare(self) -> None:
        assert self._connection is not None
        connection, tables = self._connection, self._tables
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._wait_for_disk else 'NORMAL'}")
        schema = connection.execute("PRAGMA user_version").fetchone()[0]
        is_empty = not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
        if is_empty and not schema:
            self._run(tables.sql, tables.schema)
        else:
            while schema in tables.migrations:
                self._run(tables.migrations[schema], schema + 1)
                schema += 1
            check_schema(self.path, schema, range(tables.schema, tables.schema + 1))

    def _run(self, statements: str, schema: int) -> None:
        assert self._connection is not None
        try:
            self._connection.executescript(f"BEGIN IMMEDIATE; {statements} PRAGMA user_version = {schema}; COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def check_schema(path: Path, found: int, readable: range) -> None:
    """Refuse a file of a schema that this braind does not read (JournalError)."""
    if found not in readable:
        raise JournalError(
            f"{path}: a file of schema {found}, this braind writes {readable[-1]}; move it away or name another session"
        )


def _log_path(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
