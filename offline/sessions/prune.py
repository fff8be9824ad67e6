"""Deletes old sessions: which sessions may go, and why the others stay."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import msgspec

from ...client.endpoints import is_served
from ...config import Config, data_path
from .listing import SessionRow, SessionsError, journal_files, list_sessions

DAY_S = 86400.0


class Pruning(msgspec.Struct, frozen=True, kw_only=True):
    """An old session. `kept` says why it stays; "" if it may go."""

    session: str
    n_bytes: int
    opened_unix_s: float | None
    kept: str = ""


def old_sessions(config: Config, older_than_days: float) -> list[Pruning]:
    """Return the sessions whose newest run was opened longer ago than this, and all unreadable sessions."""
    rows = list_sessions(config)
    opened_before_s = time.time() - older_than_days * DAY_S
    numbers = [row.last_seq for row in rows if row.last_seq]
    return [
        Pruning(
            session=row.session,
            n_bytes=row.n_bytes,
            opened_unix_s=row.opened_unix_s,
            kept=_why_kept(row, config, max(numbers, default=0)),
        )
        for row in rows
        if row.problem or _last_used_unix_s(row) < opened_before_s
    ]


def delete_session(config: Config, session: str) -> None:
    """Delete a session's journal with its -wal and -shm files.

    Raises
    ------
    SessionsError
        If a program has the journal open, or a file cannot be deleted.
    """
    path = _journal(config, session)
    try:
        # In exclusive mode the lock is only given if no other program has the journal open.
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as journal:
            journal.execute("PRAGMA locking_mode = EXCLUSIVE")
            journal.execute("BEGIN EXCLUSIVE")
            for file in journal_files(path):
                file.unlink()
            journal.execute("ROLLBACK")
    except (sqlite3.Error, OSError) as error:
        raise SessionsError(f"{path} is not deleted ({error}): is it open in another program?") from error
    for file in journal_files(path):
        file.unlink()


def _why_kept(row: SessionRow, config: Config, highest_seq: int) -> str:
    if row.problem:
        return f"cannot be read, so it is not known whether volumes wait: {row.problem}"
    if row.is_waiting:
        n_waiting = row.volumes.get("waiting", 0)
        what = f"{n_waiting} volumes wait" if n_waiting else "the last trials of a run wait"
        return f"{what} to be decoded"
    if len(journal_files(_journal(config, row.session))) > 1 and is_served(config):
        return "the running braind serve has it open"
    if row.last_seq and row.last_seq == highest_seq:
        return "it holds the newest message for viewers: the next message is numbered after it"
    return ""


def _last_used_unix_s(row: SessionRow) -> float:
    if row.opened_unix_s:
        return row.opened_unix_s
    # No run was opened: the file alone knows its age.
    return Path(row.path).stat().st_mtime


def _journal(config: Config, session: str) -> Path:
    return data_path(config) / "journals" / f"{session}.sqlite3"
