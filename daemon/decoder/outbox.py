"""The messages that the decoder journals for the viewers. Each gets the next number."""

import time
from collections.abc import Callable

import msgspec

from ...client.wire import Numbered
from .. import link
from ..journal.records import NO_EVENT, VolumeState
from .run_journal import RunJournal


class Outbox:
    """Numbers and journals messages, and tells the front, which publishes them.

    Parameters
    ----------
    next_seq : int
        The number of the next message.
    send : function
        Sends a line to the front.
    """

    def __init__(self, next_seq: int, send: Callable[[link.ToFront], None]) -> None:
        self._next_seq, self._send = next_seq, send

    def publish(
        self,
        journal: RunJournal,
        message: Numbered,
        payload: bytes | None = None,
        *,
        event: int = NO_EVENT,
        at_end: bool = False,
        outcome: VolumeState | None = None,
    ) -> None:
        """Commit a message under the next number, as `Journal.add_decode` does. The message's own `seq` and `made_s`
        are ignored.

        A message is not committed if an earlier decoder journaled it and died before the volume was settled.
        """
        numbered = msgspec.structs.replace(message, seq=self._next_seq, made_s=round(time.time(), 3))
        if journal.add_decode(numbered, payload, event=event, at_end=at_end, outcome=outcome):
            self._send(link.Committed(session=journal.session, seq=self._next_seq))
            self._next_seq += 1
