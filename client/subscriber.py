"""Hear what the daemon publishes, without holes: what the network loses is fetched again."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple, Self

import numpy as np
import zmq
import zmq.asyncio

from . import wire
from .connection import NoDaemonError, RefusedByDaemon, connect
from .control import ControlClient

logger = logging.getLogger(__name__)

FETCH_LIMIT = 100


class Received(NamedTuple):
    """A published message; `png` is the picture that came with it: of stage `scores` the seen one, else the decoded."""

    message: wire.Decode | wire.Skipped | wire.Heartbeat
    png: bytes | None = None

    @property
    def picture(self) -> wire.Array | None:
        """The picture, of shape (height, width, 3), uint8; `PictureError` if the bytes are no PNG."""
        from .pictures import read_picture

        return None if self.png is None else read_picture(self.png)

    @property
    def scores(self) -> wire.Array:
        """The best candidates' scores, of shape (k,), float32, best first; empty but for stage `scores`."""
        retrieved = self.message.retrieved if isinstance(self.message, wire.Decode) else ()
        return np.array([one.score for one in retrieved], np.float32)

    @property
    def labels(self) -> list[str]:
        """The best candidates' labels, in the order of `scores`."""
        return [one.label for one in self.message.retrieved] if isinstance(self.message, wire.Decode) else []


class DecodeSubscriber:
    """Decodes, skipped volumes and heartbeats, in the order in which they were published.

    ```python
    with DecodeSubscriber(stages=("scores", "xzc")) as subscriber:
        for received in subscriber:
            decode = received.message
            if isinstance(decode, Decode) and decode.stage == "scores":
                decode.feedback, received.labels, received.scores  # right minus foil; the best candidates
            elif isinstance(decode, Decode):
                received.picture  # (height, width, 3), uint8
    ```

    Every decode and skipped volume has a number `seq`, counted from 1. A hole before a message, or before a
    heartbeat's `last_seq`, is fetched from the control socket and delivered first.

    Parameters
    ----------
    from_seq : the first message wanted; None is what comes from now on
    history : with `from_seq` None, how many earlier messages are wanted too
    stages : only decodes of these stages are delivered (skipped volumes and heartbeats are, too); None is all
    newest_only : pass over what came while the program was busy, but for the newest decode of each stage and the newest
        other message; then nothing is fetched, and `from_seq` and `history` mean nothing
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        decodes_port: int = 5561,
        control_port: int = 5562,
        *,
        from_seq: int | None = None,
        history: int = 0,
        stages: Collection[wire.Stage] | None = None,
        newest_only: bool = False,
    ) -> None:
        self._context = zmq.Context()
        self._socket = connect(self._context, zmq.SUB, host, decodes_port)
        self._socket.setsockopt(zmq.SUBSCRIBE, wire.MAGIC)
        self._async_socket: Any = None
        self._control = ControlClient(host, control_port)
        self._last_seq = None if from_seq is None else from_seq - 1
        self._history = history
        self._stages, self._newest_only = stages, newest_only
        self._pending: deque[Received] = deque()
        self.n_lost = 0
        """Messages that the daemon no longer had when they were fetched."""

    def receive(self, timeout_s: float | None = None) -> Received | None:
        """Return the next message, or None if none comes within `timeout_s` seconds."""
        deadline = _deadline(timeout_s)
        while not self._has_pending():
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
        while not self._has_pending():
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

    def _has_pending(self) -> bool:
        """Say whether a message can be delivered now; with `newest_only`, leave only the newest ones to be."""
        while self._newest_only and self._socket.poll(0):
            heard = self._hear()
            if heard is not None:
                self._deliver(heard, [])
        return bool(self._pending)

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
        if self._newest_only:
            return range(0)
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
        for received in (*fetched, heard):
            message = received.message
            if isinstance(message, wire.Decode) and self._stages is not None and message.stage not in self._stages:
                continue
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
