"""Publishing: each journaled message is sent to the viewers once, in the order of the messages' numbers."""

import asyncio
import logging
from collections.abc import Callable

import msgspec
import zmq.asyncio

from ..client import wire
from .journal.database import JournalError
from .journal.records import Published
from .logs import Outage
from .sessions import Sessions
from .state import DaemonState

HEARTBEAT_S = 1.0
BATCH = 32

logger = logging.getLogger(__name__)


class Publisher:
    """Reads new messages from the journals and sends them to every viewer.

    A slow viewer loses messages and delays nobody. It sees a gap in the numbers and fetches the lost messages.
    """

    def __init__(
        self,
        socket: zmq.asyncio.Socket,
        sessions: Sessions,
        state: DaemonState,
        on_published: Callable[[wire.Numbered], None],
    ) -> None:
        self._socket, self._sessions, self._state = socket, sessions, state
        self._on_published = on_published
        self._publishing = asyncio.Lock()
        self._reading = Outage(logger, "decodes cannot be published")

    async def publish_new(self) -> None:
        """Send the messages that were journaled since the last call.

        If a journal cannot be read now, the error is logged once and the next call goes on from there. Each heartbeat
        makes such a call.
        """
        async with self._publishing:
            while batch := self._unpublished():
                for published in batch:
                    await self._publish(published)

    async def _publish(self, published: Published) -> None:
        message = message_of(published)
        if message is not None:
            await self._socket.send_multipart(frames(published))
        # Set afterwards: a heartbeat must not count a message that is not sent yet.
        self._state.last_seq = published.seq
        if message is not None:
            self._on_published(message)

    def _unpublished(self) -> list[Published]:
        try:
            found = self._sessions.published(self._state.last_seq + 1, BATCH)
        except JournalError as error:
            self._reading.failed(error)
            return []
        self._reading.passed()
        return found

    async def beat(self) -> None:
        """Send a heartbeat once a second, for ever. New messages are sent before it."""
        while True:
            await self.publish_new()
            await self._socket.send_multipart(wire.encode(self._state.heartbeat()))
            self._rest_idle()
            await asyncio.sleep(HEARTBEAT_S)

    async def tell_stopped(self) -> None:
        """Send the last heartbeat of a daemon that stops in order."""
        last = msgspec.structs.replace(self._state.heartbeat(), state="stopped")
        await self._socket.send_multipart(wire.encode(last))

    def _rest_idle(self) -> None:
        try:
            self._sessions.rest_idle()
        except JournalError as error:
            self._reading.failed(error)


def message_of(published: Published) -> wire.Numbered | None:
    """Return a journaled message; None if it is damaged, which is logged. A viewer could not trust it."""
    if not published.is_whole:
        logger.error(
            "message %d of the journals is damaged and left out: its bytes do not match their checksum", published.seq
        )
        return None
    try:
        message, _ = wire.decode([wire.MAGIC, published.header])
    except wire.WireError as error:
        logger.error("message %d of the journals is damaged and left out: %s", published.seq, error)
        return None
    return message if isinstance(message, wire.Numbered) else None


def frames(published: Published) -> list[bytes]:
    """Return the multipart frames of a journaled message."""
    return [wire.MAGIC, published.header, *([published.payload] if published.payload is not None else [])]


def is_last(message: wire.Decode | wire.Skipped) -> bool:
    """Return whether the message is a volume's last: it was skipped, or a trial's last stage was made."""
    return isinstance(message, wire.Skipped) or message.is_last
