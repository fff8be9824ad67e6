"""Receive what the daemon publishes, without gaps: messages that the network loses are fetched again."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import zmq
import zmq.asyncio

from . import wire
from .address import Address
from .connection import connect
from .control import ControlClient
from .key import Key
from .sequence import Published, PublishedSequence, Received

if TYPE_CHECKING:
    from .endpoints import Endpoints

logger = logging.getLogger(__name__)

RETRY_S = 0.5
"""A hole that could not be fetched is fetched again after this time."""


class DecodeSubscriber:
    """Receives decodes, skipped volumes, gaps and heartbeats in the order in which they were published.

    ```python
    with DecodeSubscriber(stages=("scores", "xzc")) as subscriber:
        for received in subscriber:
            decode = received.message
            if isinstance(decode, Decode) and decode.stage == "scores":
                decode.feedback, received.labels, received.scores  # right minus foil; the best candidates
            elif isinstance(decode, Decode):
                received.picture  # (height, width, 3), uint8
    ```

    Every decode, skipped volume and gap has a number `seq`, from 1. Each is delivered once, in the order of the
    numbers. Numbers that are missing before a message, or before a heartbeat's `last_seq`, are fetched from the control
    socket. While the daemon does not answer, later messages wait, but for no longer than `sequence.FETCH_PATIENCE_S`
    seconds. A number lower than the last one means that another daemon counts, from 1.

    The constructor subscribes and then asks for the newest number. All messages that are published after the
    constructor has returned are delivered. If no daemon answers within `sequence.START_S` seconds, the first message
    that comes is the first.

    Parameters
    ----------
    host, decodes_port, control_port : the daemon's sockets
    key : a key or the path of its file, for a daemon that requires keys
    from_seq : the first message wanted; None begins with the next message
    history : how many earlier messages are wanted too, if `from_seq` is None
    stages : deliver only decodes of these stages, skipped volumes, gaps and heartbeats; None delivers every stage
    newest_only : of the messages that came while the program was busy, deliver only the newest decode of each stage and
        the newest message of each other type; nothing is fetched, and `from_seq` and `history` have no effect
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        decodes_port: int = 5561,
        control_port: int = 5562,
        *,
        key: Key | Path | str | None = None,
        from_seq: int | None = None,
        history: int = 0,
        stages: Collection[wire.Stage] | None = None,
        newest_only: bool = False,
    ) -> None:
        decodes = Address.parse(host, decodes_port, key)
        self._context = zmq.Context()
        self._socket = connect(self._context, zmq.SUB, decodes)
        self._socket.setsockopt(zmq.SUBSCRIBE, wire.MAGIC)
        self._poller: zmq.asyncio.Poller | None = None
        self._control = ControlClient(decodes.host, control_port, decodes.key)
        self._sequence = PublishedSequence(self._control, from_seq, history)
        self._stages, self._newest_only = stages, newest_only
        self._pending: deque[Received] = deque()
        self._waiting: Received | None = None
        """A message of the stream before which messages are missing that could not be fetched."""
        self._taking: asyncio.Task[None] | None = None
        """Takes a message in a thread. It may outlive a cancelled `receive_async`."""
        if not newest_only:
            try:
                self._sequence.start()
            except BaseException:
                self.close()
                raise

    @property
    def n_lost(self) -> int:
        """How many messages the daemon no longer had when they were fetched."""
        return self._sequence.n_lost

    @classmethod
    def at(cls, where: "Endpoints", **options: Any) -> Self:
        """Return a subscriber of the daemon with these endpoints."""
        host, decodes_port, key = where.address("decodes")
        return cls(host, decodes_port, where.address("control").port, key=key, **options)

    def receive(self, timeout_s: float | None = None) -> Received | None:
        """Return the next message; None if none comes within `timeout_s` seconds. Without a limit, wait for ever.

        Raises
        ------
        RefusedByDaemon
            The daemon refused the key or wants one.
        """
        deadline = _deadline(timeout_s)
        while not self._has_pending():
            if self._waiting is not None:
                time.sleep(_retry_s(deadline))
                self._take(self._waiting)
            elif not self._socket.poll(_milliseconds_to(deadline)):
                return None
            elif (received := self._read()) is not None:
                self._take(received)
            if self._waiting is not None and _is_past(deadline):
                return None
        return self._pending.popleft()

    async def receive_async(self, timeout_s: float | None = None) -> Received | None:
        """Return the next message as `receive` does, without blocking the event loop."""
        assert self._socket.handshakes is not None
        if self._poller is None:
            self._poller = zmq.asyncio.Poller()
            self._poller.register(self._socket, zmq.POLLIN)
            self._poller.register(self._socket.handshakes, zmq.POLLIN)
        deadline = _deadline(timeout_s)
        await self._finish_taking()
        while not self._has_pending():
            if self._waiting is not None:
                await asyncio.sleep(_retry_s(deadline))
                await self._take_async(self._waiting)
            elif not await self._poller.poll(_milliseconds_to(deadline)):
                return None
            elif not self._socket.poll(0):
                continue
            elif (received := self._read()) is not None:
                await self._take_async(received)
            if self._waiting is not None and _is_past(deadline):
                return None
        return self._pending.popleft()

    def __iter__(self) -> Iterator[Received]:
        while True:
            received = self.receive()
            if received is not None:
                yield received

    def close(self) -> None:
        """Close the sockets; the subscriber cannot be used after."""
        self._socket.close()
        self._context.term()
        self._control.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _has_pending(self) -> bool:
        """Say whether a message can be delivered now; with `newest_only`, drop all but the newest messages."""
        while self._newest_only and self._socket.poll(0):
            received = self._read()
            if received is not None:
                self._take(received)
        return bool(self._pending)

    def _read(self) -> Received | None:
        """Read one message; return None, and log a warning, if it is not a published message."""
        try:
            message, payload = wire.decode(self._socket.recv_multipart())
        except wire.WireError as error:
            logger.warning("ignored a published message: %s", error)
            return None
        if not isinstance(message, Published):
            logger.warning("ignored a published %s", type(message).__name__)
            return None
        return Received(message, payload[0] if payload else None)

    def _take(self, received: Received) -> None:
        """Make a message of the stream pending, after the messages that are missing before it."""
        if self._newest_only:
            self._deliver(received)
            return
        messages, is_complete = self._sequence.take(received)
        self._waiting = None if is_complete else received
        for message in messages:
            self._deliver(message)

    async def _take_async(self, received: Received) -> None:
        if self._newest_only or not self._sequence.may_ask(received.message):
            self._take(received)
            return
        self._taking = asyncio.create_task(asyncio.to_thread(self._take, received))
        await self._finish_taking()

    async def _finish_taking(self) -> None:
        if self._taking is not None:
            await asyncio.wait([self._taking])  # being cancelled here does not cancel the task
            taking, self._taking = self._taking, None
            taking.result()

    def _deliver(self, received: Received) -> None:
        message = received.message
        if isinstance(message, wire.Decode) and self._stages is not None and message.stage not in self._stages:
            return
        if self._newest_only:
            self._pending = deque(one for one in self._pending if _kind(one) != _kind(received))
        self._pending.append(received)


def _kind(received: Received) -> tuple[type, str]:
    message = received.message
    return type(message), message.stage if isinstance(message, wire.Decode) else ""


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _milliseconds_to(deadline: float | None) -> int | None:
    return None if deadline is None else max(0, int((deadline - time.monotonic()) * 1000))


def _is_past(deadline: float | None) -> bool:
    return deadline is not None and deadline <= time.monotonic()


def _retry_s(deadline: float | None) -> float:
    return RETRY_S if deadline is None else min(RETRY_S, max(0.0, deadline - time.monotonic()))
