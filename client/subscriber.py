"""Receive what the daemon publishes, without gaps: messages that the network loses are fetched again."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import zmq
import zmq.asyncio

from . import wire
from .address import Address
from .connection import NoDaemonError, RefusedByDaemon, connect
from .control import ControlClient
from .key import Key

if TYPE_CHECKING:
    from .endpoints import Endpoints

logger = logging.getLogger(__name__)

FETCH_LIMIT = 100


class Received(NamedTuple):
    """A published message and its picture, a PNG file's bytes.

    The picture of stage `scores` is the seen picture; the picture of any other stage is the decoded one.
    """

    message: wire.Decode | wire.Skipped | wire.Heartbeat
    png: bytes | None = None

    @property
    def picture(self) -> wire.Array | None:
        """The picture: (height, width, 3) uint8, sRGB; None without one. Raises PictureError if it is not a PNG."""
        from .pictures import read_picture

        return None if self.png is None else read_picture(self.png)

    @property
    def scores(self) -> wire.Array:
        """The best candidates' scores (correlations): (k,) float32, best first; empty unless the stage is `scores`."""
        retrieved = self.message.retrieved if isinstance(self.message, wire.Decode) else ()
        return np.array([one.score for one in retrieved], np.float32)

    @property
    def labels(self) -> list[str]:
        """The best candidates' labels, in the order of `scores`."""
        return [one.label for one in self.message.retrieved] if isinstance(self.message, wire.Decode) else []


class DecodeSubscriber:
    """Receives decodes, skipped volumes and heartbeats in the order in which they were published.

    ```python
    with DecodeSubscriber(stages=("scores", "xzc")) as subscriber:
        for received in subscriber:
            decode = received.message
            if isinstance(decode, Decode) and decode.stage == "scores":
                decode.feedback, received.labels, received.scores  # right minus foil; the best candidates
            elif isinstance(decode, Decode):
                received.picture  # (height, width, 3), uint8
    ```

    Every decode and every skipped volume has a number `seq`, from 1. Numbers that are missing before a message, or
    before a heartbeat's `last_seq`, are fetched from the control socket and delivered first. A number lower than the
    last one means that another daemon counts, from 1.

    Parameters
    ----------
    host, decodes_port, control_port : the daemon's sockets
    key : a key or the path of its file, for a daemon that requires keys
    from_seq : the first message wanted; None begins with the next message
    history : how many earlier messages are wanted too, if `from_seq` is None
    stages : deliver only decodes of these stages, skipped volumes and heartbeats; None delivers every stage
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
        self._last_seq = None if from_seq is None else from_seq - 1
        self._history = history
        self._stages, self._newest_only = stages, newest_only
        self._pending: deque[Received] = deque()
        self.n_lost = 0
        """How many messages the daemon no longer had when they were fetched."""

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
            if not self._socket.poll(_milliseconds_to(deadline)):
                return None
            received = self._read()
            if received is not None:
                self._deliver(received, self._fetch(self._missing_before(received.message)))
        return self._pending.popleft()

    async def receive_async(self, timeout_s: float | None = None) -> Received | None:
        """Return the next message as `receive` does, without blocking the event loop."""
        assert self._socket.handshakes is not None
        if self._poller is None:
            self._poller = zmq.asyncio.Poller()
            self._poller.register(self._socket, zmq.POLLIN)
            self._poller.register(self._socket.handshakes, zmq.POLLIN)
        deadline = _deadline(timeout_s)
        while not self._has_pending():
            if not await self._poller.poll(_milliseconds_to(deadline)):
                return None
            if not self._socket.poll(0):
                continue
            received = self._read()
            if received is not None:
                missing = self._missing_before(received.message)
                self._deliver(received, await asyncio.to_thread(self._fetch, missing) if missing else [])
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
                self._deliver(received, [])
        return bool(self._pending)

    def _read(self) -> Received | None:
        """Read one message; return None, and log a warning, if it is not a published message."""
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
        """Return the missing numbers before this message, and note the message's number as the last one."""
        if self._newest_only:
            return range(0)
        is_heartbeat = isinstance(message, wire.Heartbeat)
        newest = message.last_seq if is_heartbeat else message.seq
        before = newest if is_heartbeat else newest - 1
        if self._last_seq is None:
            self._last_seq = max(0, before - self._history)
        # One daemon's numbers only grow. A smaller number means that another daemon counts, from 1.
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

    def _deliver(self, newest: Received, fetched: list[Received]) -> None:
        for received in (*fetched, newest):
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
