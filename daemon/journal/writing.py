"""SQLite files that are written: in write-ahead mode, by several processes at once. Nothing here knows of volumes."""

import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .database import DatabaseReader, JournalError, check_schema, log_path
from .lost_commits import committed_frames

LOCK_WAIT_S = 0.5
"""A file that another program has locked is refused after this time: a scan waits meanwhile."""
COMMIT_S = 0.02
"""A little more than a commit takes."""
OWNER_ONLY = 0o600

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tables:
    """The tables of a file: `sql` makes them, and `migrations` bring a file of an older schema to the next one."""

    sql: str
    schema: int
    migrations: dict[int, str]


class Database(DatabaseReader):
    """A SQLite file in write-ahead mode. The next use opens it again after `close`.

    The last process that closes it folds the write-ahead log into it.

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
        self._is_log_doubtful = False
        """Whether a write or an fsync failed since the log was begun."""
        self._connection: sqlite3.Connection | None = None
        self._current()

    def fold_log(self, wait_s: float = 0) -> bool:
        """Move everything from the write-ahead log into the file.

        Return False if another process still reads the log after `wait_s` seconds.
        """
        with self._answering():
            connection = self._current()
            connection.execute(f"PRAGMA busy_timeout = {round(1000 * wait_s)}")
            try:
                is_busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                connection.execute(f"PRAGMA busy_timeout = {round(1000 * LOCK_WAIT_S)}")
            return not is_busy

    @contextmanager
    def commit(self) -> Iterator[sqlite3.Connection]:
        """Run the statements of the block in one transaction: all of them, or none.

        Raises
        ------
        JournalError
            `code` storage when the disk is full, fails or stays locked, or when somebody deleted the file; journal when
            the file is damaged.
        """
        if self._is_log_doubtful and not self._has_certain_log():
            raise JournalError(
                f"{self.path}: its disk failed, and another program reads the -wal file, so that it cannot be written "
                "anew; close that program, then try again",
                code="storage",
            )
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

    def _has_certain_log(self) -> bool:
        """Begin the write-ahead log anew; return False if that is not possible now.

        After a failed fsync the system may call bytes written that are not on the disk. A later fsync would succeed,
        and a power cut would then lose every commit behind these bytes. The decoder reads the log too, for moments.
        """
        self._is_log_doubtful = not self.fold_log(LOCK_WAIT_S)
        return not self._is_log_doubtful

    @contextmanager
    def _answering(self) -> Iterator[None]:
        with super()._answering():
            try:
                yield
            except sqlite3.Error as error:
                self._is_log_doubtful |= _is_disk_error(error)
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
        committed = set(committed_frames(log_path(self.path)))
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
        log_inode = _inode(log_path(self.path))
        self._log_inode = self._log_inode or log_inode
        if _inode(self.path) != self._inode or log_inode != self._log_inode:
            raise self._gone()

    def _gone(self) -> JournalError:
        return JournalError(
            f"{self.path}: this file or its -wal file was deleted or replaced while it was in use; end the daemon, "
            "put both files back or move them away, and start it again",
            code="storage",
        )

    def _keep_lost(self, committed: set[int]) -> None:
        """Copy a write-ahead log with commits that SQLite cannot read: the next commit overwrites them."""
        unread = self._unread(committed)
        deadline_s = time.monotonic() + LOCK_WAIT_S
        while unread and time.monotonic() < deadline_s:
            # Another process may be within a commit: SQLite reads its frames when the disk has confirmed them.
            time.sleep(COMMIT_S)
            unread &= self._unread(set(committed_frames(log_path(self.path))))
        if unread:
            aside = self.path.with_name(f"{self.path.name}-wal.damaged-{time.time_ns()}")
            shutil.copyfile(log_path(self.path), aside)
            logger.error(
                "%s: %d commits of its -wal file follow damaged bytes and cannot be read: volumes may be missing; the "
                "file is kept as %s", self.path, len(unread), aside.name,
            )  # fmt: skip

    def _unread(self, committed: set[int]) -> set[int]:
        """Return the commits, by their last frames, that SQLite does not read."""
        assert self._connection is not None
        if not committed:
            return set()
        _, n_read, _ = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return {frame for frame in committed if frame > n_read}

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


def _is_disk_error(error: sqlite3.Error) -> bool:
    # The low byte of SQLite's code is the class of the error.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF == sqlite3.SQLITE_IOERR


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
