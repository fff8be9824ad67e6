"""The open journals of a process: the newest session's journal, and every journal with waiting volumes."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .journal.database import JournalError
from .journal.journal import Journal
from .journal.records import Published

logger = logging.getLogger(__name__)


class Sessions:
    """The open journals of a data folder, by session, the newest last.

    A damaged journal is logged by name and closed. The other sessions go on.

    Parameters
    ----------
    journals_path : Path
        Folder of the SQLite files, one a session.
    wait_for_disk : bool
        As for `Journal`.
    """

    def __init__(self, journals_path: Path, *, wait_for_disk: bool) -> None:
        self.journals_path = journals_path
        self._wait_for_disk = wait_for_disk
        self._open: dict[str, Journal] = {}
        self._last_seq_of_closed = 0

    def open(self, session: str) -> Journal:
        """Return a session's journal; open or make it if it is not open. The session is the newest from now on.

        Raises
        ------
        JournalError
            If the file is damaged or cannot be written.
        """
        journal = self._open.pop(session, None)
        if journal is None:
            journal = Journal(self.journals_path / f"{session}.sqlite3", wait_for_disk=self._wait_for_disk)
        self._open[session] = journal
        return journal

    def open_all(self, sessions: Iterable[str]) -> None:
        """Open the journals of these sessions; log damaged journals and leave them out.

        Raises
        ------
        JournalError
            `code` storage if a file cannot be read or written now.
        """
        for session in sessions:
            with self.without_if_damaged(session):
                self.open(session).check_readable()

    def __getitem__(self, session: str) -> Journal:
        """Return the journal of an open session; raise JournalError if the session was left out."""
        if session not in self._open:
            raise JournalError(f"{self.journals_path / session}.sqlite3 is not open: it was damaged; see above")
        return self._open[session]

    def find(self, session: str) -> Journal | None:
        """Return a session's journal if it is open."""
        return self._open.get(session)

    def resume(self) -> None:
        """Open an earlier daemon's journals: every journal with waiting volumes, and the newest journal last.

        An unreadable journal is logged and not touched: it must not keep today's scan from starting.
        """
        found: list[tuple[float, int, Journal]] = []
        for path in sorted(self.journals_path.glob("*.sqlite3")):
            try:
                found.append(self._resumed(path))
            except JournalError as error:
                logger.error("session %s is left out: %s", path.stem, error)
        found.sort(key=lambda resumed: resumed[0])
        for _, n_waiting, journal in found:
            if journal is found[-1][2] or n_waiting:
                self._open[journal.session] = journal
            else:
                journal.close()

    def _resumed(self, path: Path) -> tuple[float, int, Journal]:
        """Return the time of a session's newest run, the number of waiting volumes, and the journal."""
        journal = Journal(path, wait_for_disk=self._wait_for_disk)
        try:
            journal.check_readable()
            facts = journal.opened_unix_s(), journal.counts().get("waiting", 0)
            self._last_seq_of_closed = max(self._last_seq_of_closed, journal.last_seq())
        except JournalError:
            journal.close()
            raise
        return *facts, journal

    @contextmanager
    def without_if_damaged(self, session: str) -> Iterator[None]:
        """If the block finds the session's journal damaged, close the session and go on without it.

        Raises
        ------
        JournalError
            `code` storage if the disk is full or fails: this may pass, so the session stays open.
        """
        try:
            yield
        except JournalError as error:
            if error.code == "storage":
                raise
            logger.error("session %s is left out from now on: %s", session, error)
            journal = self._open.pop(session, None)
            if journal is not None:
                journal.close()

    def names(self) -> tuple[str, ...]:
        """Return the open sessions, the newest last."""
        return tuple(self._open)

    def newest(self) -> Journal | None:
        """Return the journal that was opened last."""
        return next(reversed(self._open.values()), None)

    def all(self) -> list[Journal]:
        """Return the open journals, the newest last."""
        return list(self._open.values())

    def last_seq(self) -> int:
        """Return the highest number of a message for the viewers, over all readable sessions."""
        highest = self._last_seq_of_closed
        for journal in self.all():
            with self.without_if_damaged(journal.session):
                highest = max(highest, journal.last_seq())
        return highest

    def published(self, from_seq: int, limit: int) -> list[Published]:
        """Return at most `limit` messages for the viewers from number `from_seq` on, over the open sessions."""
        found: list[Published] = []
        for journal in self.all():
            with self.without_if_damaged(journal.session):
                found += journal.published(from_seq, limit)
        return sorted(found, key=lambda message: message.seq)[:limit]

    def n_waiting(self) -> int:
        """Return the number of volumes that wait to be decoded, over all readable sessions."""
        n_waiting = 0
        for journal in self.all():
            with self.without_if_damaged(journal.session):
                n_waiting += journal.counts().get("waiting", 0)
        return n_waiting

    def n_to_decode(self, weights: str) -> int:
        """Return the number of waiting volumes and unfinished runs that were recorded under these weights."""
        return sum(len(journal.waiting(weights)) + len(journal.runs_to_finish(weights)) for journal in self.all())

    def log_waiting(self, weights: str) -> None:
        """Log each session's waiting volumes: those recorded under these weights, and those under other weights."""
        for journal in self.all():
            with self.without_if_damaged(journal.session):
                n_usable = len(journal.waiting(weights))
                n_others = journal.counts().get("waiting", 0) - n_usable
                if n_usable:
                    logger.info("session %s: %d volumes wait to be decoded", journal.session, n_usable)
                if n_others > 0:
                    logger.warning(
                        "session %s: %d volumes were recorded under other weights and stay as they are",
                        journal.session, n_others,
                    )  # fmt: skip

    def log_left(self) -> None:
        """Log the number of volumes that the next daemon will decode."""
        try:
            n_waiting = self.n_waiting()
        except JournalError as error:
            logger.error("whether volumes wait for the next braind serve is not known: %s", error)
            return
        if n_waiting:
            logger.info("%d volumes wait in the journal for the next braind serve", n_waiting)

    def close(self) -> None:
        """Close all journals."""
        for journal in self._open.values():
            journal.close()
