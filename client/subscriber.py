"""Hear what the daemon publishes, without holes: what the network loses is fetched again."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import zmq
import zmq.asyncio

from . import wire
from .connection import NoDaemonError, RefusedByDaemon, connect
from .control import ControlClient

logger = logging.getLogger(__name__)

FETCH_LIMIT = 100


class Received(NamedTuple):
    """A published message; `png` is the picture that came with it."""

    message: wire.Decode | wire.Skipped | wire.Heartbeat
    png: bytes | None = None


class DecodeSubscriber:
    """Decodes, skipped volumes and heartbeats, in the order in which they were published.

    ```python
    with DecodeSubscriber() as subscriber:
        for message, png in subscriber:
            ...
    ```

    Every decode and skipped volume has a number `seq`, counted from 1. A hole before a message, or before a
    heartbeat's `last_seq`, is fetched from the control socket and delivered first.

    Parameters
    ----------
    from_seq : the first message wanted; None is what comes from now on
    history : with `from_seq` None, how many earlier messages are wanted too
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        decodes_port: int = 5561,
        control_port: int = 5562,
        *,
        from_seq: int | None = None,
        history: int = 0,
    ) -> None:
        self._context = zmq.Context()
        self._socket = connect(self._context, zmq.SUB, host, decodes_port)
        self._socket.setsockopt(zmq.SUBSCRIBE, wire.MAGIC)
        self._async_socket: Any = None
        self._control = ControlClient(host, control_port)
        self._last_seq = None if from_seq is None else from_seq - 1
        self._history = history
        self._pending: deque[Received] = deque()
        self.n_lost = 0
        """Messages that the daemon no longer had when they were fetched."""

    def receive(self, timeout_s: float | None = None) -> Received | None:
        """Return the next message, or None if none comes within `timeout_s` seconds."""
        deadline = _deadline(timeout_s)
        while not self._pending:
            if not self._socket.poll(_milliseconds_to(deadline)):
                return None
            heard = self._hear()
            if heard is not None:
                self._deliver(heard, self._fetch(self._missing_before(heard.message)))
        return self._pending.popleft()

    async def receive_async(self, timeout_s: float | None = None) -> Received | None:
        """Do as `receive` without blocking the event loop."""
        if self._async_socket is None:
            self._async_socket = zmq.asyncio.Socket.shadow(self._socket)
        deadline = _deadline(timeout_s)
        while not self._pending:
            if not await self._async_socket.poll(_milliseconds_to(deadline)):
                return None
            heard = self._hear()
            if heard is not None:
                missing = self._missing_before(heard.message)
                self._deliver(heard, await asyncio.to_thread(self._fetch, missing) if missing else [])
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

    def _hear(self) -> Received | None:
        """Read one message; None if it is none of those that are published."""
        try:
            message, payload = wire.decode(self._socket.recv_multipart())
        except wire.WireError as error:
            logger.warning("ignored a published message: %s", error)
            return None
        if not isinstance(message, wire.Decode | wire.Skipped | wire.Heartbeat):
            logger.warning("ignored a published %s", type(message).__name__)
            return None
        return Received(message, payload[0] if payload else None)

    def _missing_before(self, message: wire.Decode | wire.Skipped | wire.Heartbeat) -> range:
        """Return the numbers not heard that come before this message, and take the message's as the last one heard."""
        is_heartbeat = isinstance(message, wire.Heartbeat)
        newest = message.last_seq if is_heartbeat else message.seq
        before = newest if is_heartbeat else newest - 1
        if self._last_seq is None:
            self._last_seq = max(0, before - self._history)
        # One publisher's numbers only grow: a smaller one means that another counts, from 1.
        elif before < self._last_seq:
            self._last_seq = 0
        missing = range(self._last_seq + 1, before + 1)
        self._last_seq = newest
        return missing

    def _fetch(self, missing: range) -> list[Received]:
        fetched: list[Received] = []
        next_seq = missing.start
        try:
            while next_seq < missing.stop:
                answers = self._control.fetch(next_seq, min(FETCH_LIMIT, missing.stop - next_seq))
                wanted = [(message, payload) for message, payload in answers if message.seq in missing]
                fetched += [Received(message, payload[0] if payload else None) for message, payload in wanted]
                if not wanted or wanted[-1][0].seq < next_seq:
                    break
                next_seq = wanted[-1][0].seq + 1
        except (NoDaemonError, RefusedByDaemon, wire.WireError) as error:
            logger.warning("decodes %d to %d cannot be fetched: %s", next_seq, missing.stop - 1, error)
        self.n_lost += len(missing) - len(fetched)
        return fetched

    def _deliver(self, heard: Received, fetched: list[Received]) -> None:
        self._pending.extend(fetched)
        self._pending.append(heard)


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _milliseconds_to(deadline: float | None) -> int | None:
    return None if deadline is None else max(0, int((deadline - time.monotonic()) * 1000))
