"""The journals that are open in this process: the newest session's, and every one in which volumes still wait."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .database import JournalError
from .journal import Journal
from .records import Published

logger = logging.getLogger(__name__)


class Sessions:
    """The journals of a data folder, by session, the newest last.

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
        """Return a session's journal, opened, or made, if need be; from now on it is the newest.

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

    def __getitem__(self, session: str) -> Journal:
        """Return the journal of a session that is open."""
        return self._open[session]

    def find(self, session: str) -> Journal | None:
        """Return a session's journal if it is open."""
        return self._open.get(session)

    def resume(self) -> None:
        """Open what an earlier daemon left: the newest session, last, and those in which volumes still wait.

        A journal that cannot be read is reported and left as it is: it must not keep today's scan from starting.
        """
        found: list[tuple[float, Journal]] = []
        for path in sorted(self.journals_path.glob("*.sqlite3")):
            try:
                journal = Journal(path, wait_for_disk=self._wait_for_disk)
                self._last_seq_of_closed = max(self._last_seq_of_closed, journal.last_seq())
                found.append((journal.opened_unix_s(), journal))
            except JournalError as error:
                logger.error("%s", error)
        found.sort(key=lambda opened: opened[0])
        for _, journal in found:
            if journal is found[-1][1] or journal.counts().get("waiting"):
                self._open[journal.session] = journal
            else:
                journal.close()

    @contextmanager
    def without_if_damaged(self, session: str) -> Iterator[None]:
        """Go on without a session whose journal turns out to be damaged; a full disk is raised, for it may pass."""
        try:
            yield
        except JournalError as error:
            if error.code == "storage":
                raise
            logger.error("%s", error)
            self._open.pop(session).close()

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
        """Return the highest number of a message for the viewers, over all sessions."""
        return max([self._last_seq_of_closed, *(journal.last_seq() for journal in self._open.values())])

    def published(self, from_seq: int, limit: int) -> list[Published]:
        """Return at most `limit` messages for the viewers from number `from_seq` on, over the open sessions."""
        found: list[Published] = []
        for journal in self.all():
            with self.without_if_damaged(journal.session):
                found += journal.published(from_seq, limit)
        return sorted(found, key=lambda message: message.seq)[:limit]

    def n_waiting(self) -> int:
        """Return how many volumes wait to be decoded."""
        return sum(journal.counts().get("waiting", 0) for journal in self._open.values())

    def close(self) -> None:
        """Close all."""
        for journal in self._open.values():
            journal.close()
