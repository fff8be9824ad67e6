"""The sessions of a data folder. A process opens a session's journal when the journal is needed."""

import logging
from collections import OrderedDict
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..choices import Durability
from .catalogue import Catalogue
from .journal.database import JournalError
from .journal.journal import Journal
from .journal.records import JournalFacts, Published
from .journal.writing import Database

MOST_OPEN_FILES = 32
"""So many journals are open at most: each needs three of the process's file descriptors."""

logger = logging.getLogger(__name__)


class Sessions:
    """The journals in use, by session, the newest last: the newest session's journal, and every journal with work.

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
        self.durability: Durability = "full" if wait_for_disk else "normal"
        self._catalogue = Catalogue(journals_path)
        self._in_use: dict[str, Journal] = {}
        self._at_rest: dict[str, JournalFacts] = {}
        self._highest_at_rest = 0
        """No message of a session at rest has a higher number."""
        self._open_files: OrderedDict[Database, None] = OrderedDict()

    def open(self, session: str) -> Journal:
        """Return a session's journal; open or make it if it is not in use. The session is the newest from now on.

        Raises
        ------
        JournalError
            If the file is damaged or cannot be written.
        """
        journal = self._in_use.pop(session, None) or self._opened(session)
        self._in_use[session] = journal
        self._at_rest.pop(session, None)
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
                self.open(session).check_sound()

    def __getitem__(self, session: str) -> Journal:
        """Return a session's journal; raise JournalError if the session was left out."""
        journal = self.find(session)
        if journal is None:
            raise JournalError(f"{self.path(session)} is not open: it was damaged; see above")
        return journal

    def find(self, session: str) -> Journal | None:
        """Return a session's journal; None if there is none, or if it was found damaged.

        Raises
        ------
        JournalError
            `code` storage if the file cannot be read now.
        """
        if session not in self._in_use and self._is_at_rest(session):
            newest = self.newest()
            with self.without_if_damaged(session):
                self.open(session)
            if newest:
                self._in_use[newest.session] = self._in_use.pop(newest.session)
        return self._in_use.get(session)

    def resume(self) -> None:
        """Take over an earlier daemon's journals: every journal with work, and the newest journal last."""
        self._at_rest = self._catalogue.read()
        self._highest_at_rest = max((facts.last_seq for facts in self._at_rest.values()), default=0)
        by_time = sorted(self._at_rest, key=lambda session: self._at_rest[session].opened_unix_s)
        for session in [name for name in by_time[:-1] if self._at_rest[name].has_work] + by_time[-1:]:
            try:
                with self.without_if_damaged(session):
                    self.open(session).check_sound()
            except JournalError as error:
                logger.error("session %s is left out: %s", session, error)

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
            self._at_rest.pop(session, None)
            journal = self._in_use.pop(session, None)
            if journal is not None:
                journal.close()

    def rest_idle(self, keep: Container[str] = ()) -> None:
        """Close the journals without work, but the newest journal and those of the sessions to keep.

        The next use of a closed session opens it again.
        """
        for journal in [journal for journal in self.all()[:-1] if journal.session not in keep]:
            with self.without_if_damaged(journal.session):
                facts = journal.facts()
                if not facts.has_work:
                    self._rest(journal, facts)

    def names(self) -> tuple[str, ...]:
        """Return the sessions in use, the newest last."""
        return tuple(self._in_use)

    def newest(self) -> Journal | None:
        """Return the journal that was opened last."""
        return next(reversed(self._in_use.values()), None)

    def all(self) -> list[Journal]:
        """Return the journals in use, the newest last."""
        return list(self._in_use.values())

    def last_seq(self) -> int:
        """Return the highest number of a message for the viewers, over all readable sessions."""
        highest = self._highest_at_rest
        for journal in self.all():
            with self.without_if_damaged(journal.session):
                highest = max(highest, journal.last_seq())
        return highest

    def published(self, from_seq: int, limit: int) -> list[Published]:
        """Return at most `limit` messages for the viewers from number `from_seq` on, over all readable sessions."""
        found: list[Published] = []
        for journal in self.all():
            with self.without_if_damaged(journal.session):
                found += journal.published(from_seq, limit)
        found = _first(found, limit)
        # The publisher asks for new messages all the time, and there may be thousands of sessions at rest.
        if from_seq > self._highest_at_rest:
            return found
        resting = [(facts.first_seq, name) for name, facts in self._at_rest.items() if facts.last_seq >= from_seq]
        for first_seq, session in sorted(resting):
            if len(found) == limit and found[-1].seq < first_seq:
                break
            if not self._is_at_rest(session):
                continue
            with self.without_if_damaged(session):
                journal = self._opened(session)
                found = _first(found + journal.published(from_seq, limit), limit)
                journal.close()
        return found

    def n_waiting(self) -> int:
        """Return the number of volumes that wait to be decoded, over all readable sessions."""
        n_waiting = 0
        for journal in self.all():
            with self.without_if_damaged(journal.session):
                n_waiting += journal.n_waiting()
        return n_waiting

    def n_to_decode(self, weights: str) -> int:
        """Return the number of waiting volumes and unfinished runs that were recorded under these weights."""
        n_to_decode = 0
        for journal in self.all():
            with self.without_if_damaged(journal.session):
                n_to_decode += len(journal.waiting(weights)) + len(journal.runs_to_finish(weights))
        return n_to_decode

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
        for journal in self.all():
            journal.close()

    def write_catalogue(self) -> None:
        """Close all journals and write the catalogue. No other process may have the journals open."""
        for journal in self.all():
            with self.without_if_damaged(journal.session):
                self._rest(journal, journal.facts())
        for session, facts in self._at_rest.items():
            self._catalogue.note(session, facts)
        self._catalogue.save()

    def _is_at_rest(self, session: str) -> bool:
        """Return whether a session is at rest. A deleted session is not, and must not be made anew."""
        if session in self._at_rest and not self.path(session).exists():
            del self._at_rest[session]
        return session in self._at_rest

    def _rest(self, journal: Journal, facts: JournalFacts) -> None:
        journal.close()
        self._in_use.pop(journal.session, None)
        self._at_rest[journal.session] = facts
        self._highest_at_rest = max(self._highest_at_rest, facts.last_seq)

    def _opened(self, session: str) -> Journal:
        return Journal(self.path(session), wait_for_disk=self.durability == "full", on_use=self._limit_open_files)

    def _limit_open_files(self, database: Database) -> None:
        """Close the files that were not used for longest, so that at most `MOST_OPEN_FILES` are open."""
        self._open_files[database] = None
        self._open_files.move_to_end(database)
        while len(self._open_files) > MOST_OPEN_FILES:
            oldest, _ = self._open_files.popitem(last=False)
            oldest.close()

    def path(self, session: str) -> Path:
        """Return the path of a session's journal."""
        return self.journals_path / f"{session}.sqlite3"


def _first(published: list[Published], limit: int) -> list[Published]:
    return sorted(published, key=lambda message: message.seq)[:limit]
