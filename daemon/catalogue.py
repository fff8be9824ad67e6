"""The catalogue of a data folder's sessions: what a start must know of each journal without opening it.

The catalogue is a cache. An entry counts only while its journal has the size and the time of change that the entry
names, so a catalogue that is old, damaged or missing costs only time.
"""

import logging
from pathlib import Path

import msgspec

from ..whole_file import write_whole
from .journal.database import DatabaseReader, JournalError, log_path
from .journal.journal import Journal
from .journal.reader import JournalReader
from .journal.records import JournalFacts
from .journal.tables import READABLE

FILE_NAME = "catalogue.json"

logger = logging.getLogger(__name__)


class _Entry(msgspec.Struct, frozen=True):
    n_bytes: int
    changed_ns: int
    facts: JournalFacts


class Catalogue:
    """The facts of all readable journals in a folder, by session.

    Parameters
    ----------
    journals_path : Path
    """

    def __init__(self, journals_path: Path) -> None:
        self._path = journals_path / FILE_NAME
        self._journals_path = journals_path
        self._entries: dict[str, _Entry] = {}

    def read(self) -> dict[str, JournalFacts]:
        """Return the facts of all readable journals; open only journals that changed since they were noted.

        An unreadable journal is logged and not touched: it must not keep today's scan from starting.
        """
        noted = self._noted()
        self._entries = {}
        for path in sorted(self._journals_path.glob("*.sqlite3")):
            try:
                self._entries[path.stem] = _current(path, noted.get(path.stem)) or _entry(path, _read_facts(path))
            except (JournalError, OSError) as error:
                logger.error("session %s is left out: %s", path.stem, error)
        if self._entries != noted:
            self.save()
        return {session: entry.facts for session, entry in self._entries.items()}

    def note(self, session: str, facts: JournalFacts) -> None:
        """Note the facts of a journal that was closed."""
        try:
            self._entries[session] = _entry(self._journals_path / f"{session}.sqlite3", facts)
        except OSError:
            self._entries.pop(session, None)

    def _noted(self) -> dict[str, _Entry]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, _Entry])
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
            return {}

    def save(self) -> None:
        """Write the catalogue, if it can be written: the next start is quicker then."""
        try:
            with write_whole(self._path) as unfinished_path:
                unfinished_path.write_bytes(msgspec.json.encode(self._entries))
        except OSError as error:
            logger.warning("%s: cannot be written (%s); the next start reads all journals", self._path, error.strerror)


def _current(path: Path, entry: _Entry | None) -> _Entry | None:
    """Return the entry if it is true of the file now."""
    if entry is None or _log_bytes(path):
        return None
    status = path.stat()
    return entry if (status.st_size, status.st_mtime_ns) == (entry.n_bytes, entry.changed_ns) else None


def _entry(path: Path, facts: JournalFacts) -> _Entry:
    status = path.stat()
    return _Entry(status.st_size, status.st_mtime_ns, facts)


def _read_facts(path: Path) -> JournalFacts:
    if _log_bytes(path):
        # A daemon was killed. A writer folds its write-ahead log into the file.
        journal: JournalReader = Journal(path)
    else:
        journal = JournalReader(path, DatabaseReader(path, schemas=READABLE))
    try:
        return journal.facts()
    finally:
        journal.close()


def _log_bytes(path: Path) -> int:
    try:
        return log_path(path).stat().st_size
    except FileNotFoundError:
        return 0
