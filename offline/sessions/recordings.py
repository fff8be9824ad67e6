"""Recorded sessions for the monitor: it may not read journals itself, so it is given these functions."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ...client.wire import Mark
from ...config import Config, journals_path
from ...daemon.journal.recording import Recording
from ...tui.state.recorded import Message, Recordings
from .listing import list_sessions


def recordings(config: Config) -> Recordings:
    """Return the functions that read the sessions of a data folder."""
    return Recordings(journals_path(config), partial(list_sessions, config), read_messages, fetch_messages, read_marks)


def read_messages(path: Path, n_with_pictures: int) -> Iterator[Message]:
    """Yield a session's messages in order; only messages about the newest `n_with_pictures` trials have payloads.

    Raises
    ------
    JournalError
        If the journal cannot be read; from a damaged message on.
    """
    with Recording(path) as recording:
        first_seq = recording.first_seq_of_newest(n_with_pictures)
        for message, payload in recording.messages():
            yield message, payload if message.seq >= first_seq else None


def fetch_messages(path: Path, seqs: tuple[int, ...]) -> list[Message]:
    """Return a session's messages of these numbers. A message that is not there any more is left out.

    Raises
    ------
    JournalError
        If the journal cannot be read, or a message is damaged.
    """
    found: list[Message] = []
    with Recording(path) as recording:
        for seq in sorted(seqs):
            found += [one for one in recording.messages(seq, 1) if one[0].seq == seq]
    return found


def read_marks(path: Path) -> list[Mark]:
    """Return what operators noted in a session.

    Raises
    ------
    JournalError
        If the journal cannot be read, or a mark is damaged.
    """
    with Recording(path) as recording:
        return recording.marks()
