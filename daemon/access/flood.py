"""Bytes that a connection sent and that make no message: bounded, so that no peer fills the front's memory.

libzmq hands a message over when its last frame has come, and does not limit the number of frames. So a thread watches
each connection: the kernel counts the bytes that came (`tcpi_bytes_received` of `TCP_INFO`), and the daemon counts the
bytes of the messages that it took. libzmq names a message's connection by its file descriptor (`ZMQ_SRCFD` in
zmq_msg_get(3)).

A queue that is full stops libzmq's reading. If the peer then resets the connection, libzmq 4.3.5 can abort the process
(`!_io_error` in stream_engine_base.cpp). So where this thread runs, the queues of ingest and control have no other
bound than the bytes.

A frame costs the front at least 64 bytes: many tiny frames cost up to 30 times the limit. Subscriptions are bounded in
`daemon/access/subscriptions.py`.
"""

import logging
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import zmq
import zmq.asyncio

from ..logs import Throttle
from .connections import descriptor_of

DESCRIPTORS = Path("/proc/self/fd")
TICK_S = 0.02
HEARTBEAT_BYTES_S = 256
"""Bytes a second that a connection may have for heartbeats."""
FRAME_OVERHEAD_BYTES = 64
"""More than ZeroMQ adds to a frame, with encryption."""
TCP_INFO_BYTES_RECEIVED = slice(128, 136)

logger = logging.getLogger(__name__)


class _Connection(NamedTuple):
    inode: int
    port: int
    since_s: float


def can_watch() -> bool:
    """Return whether this system tells what the thread needs: Linux does."""
    return DESCRIPTORS.is_dir() and hasattr(socket, "TCP_INFO")


class FloodGuard:
    """Watches the daemon's connections in a thread, and shuts one down that sent too many bytes without a message.

    Parameters
    ----------
    limits : bytes by the daemon's port
    """

    def __init__(self, limits: Mapping[int, int]) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._taken: dict[int, int] = {}
        """Bytes of the messages that the daemon took, by file descriptor."""
        self._connections: dict[int, _Connection] = {}
        self._stop = threading.Event()
        self._shut = Throttle(logger)
        self._thread = threading.Thread(target=self._watch, name="flood guard", daemon=True)
        if can_watch():
            self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def take(self, frames: Sequence[zmq.Frame]) -> None:
        """Count a message as taken."""
        descriptor = descriptor_of(frames[-1])
        n_bytes = sum(map(len, frames)) + FRAME_OVERHEAD_BYTES * len(frames)
        with self._lock:
            self._taken[descriptor] = self._taken.get(descriptor, 0) + n_bytes

    def _watch(self) -> None:
        while not self._stop.wait(TICK_S):
            for name in os.listdir(DESCRIPTORS):
                # A descriptor may be closed, and another file may get its number, between any two of these calls.
                with suppress(OSError):
                    self._check(int(name))

    def _check(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if not stat.S_ISSOCK(found.st_mode):
            return
        known = self._connections.get(descriptor)
        if known and known.inode == found.st_ino and known.port not in self._limits:
            return
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            if known is None or known.inode != found.st_ino:
                known = _Connection(found.st_ino, _own_port(connection), time.monotonic())
                self._connections[descriptor] = known
                with self._lock:
                    self._taken[descriptor] = 0
            if known.port in self._limits:
                self._check_connection(descriptor, known, connection)

    def _check_connection(self, descriptor: int, known: _Connection, connection: socket.socket) -> None:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES_RECEIVED.stop)
        (received,) = struct.unpack("=Q", info[TCP_INFO_BYTES_RECEIVED])
        with self._lock:
            taken = self._taken[descriptor] = min(self._taken.get(descriptor, 0), received)
        limit = self._limits[known.port] + HEARTBEAT_BYTES_S * int(time.monotonic() - known.since_s)
        if received - taken > limit:
            self._shut.warn(
                f"closed a connection to port {known.port}: it sent {received - taken} bytes ahead of the daemon, or "
                f"without end; at most {limit} are kept"
            )
            connection.shutdown(socket.SHUT_RDWR)


class WatchedRouter:
    """A ROUTER socket whose messages are counted as taken.

    Parameters
    ----------
    socket : ROUTER
    guard : FloodGuard
    note : function
        Called with a frame of each message, before the message is handed on.
    """

    def __init__(self, socket: zmq.asyncio.Socket, guard: FloodGuard, note: Callable[[zmq.Frame], None]) -> None:
        self._socket, self._guard, self._note = socket, guard, note
        self.sender = ""
        """Without keys nobody knows who sends."""

    async def recv_frames(self) -> list[zmq.Frame]:
        """Receive a message: the sender's identity, then the message's frames."""
        frames = await self._socket.recv_multipart(copy=False)
        self._guard.take(frames)
        self._note(frames[-1])
        return frames

    async def recv_multipart(self) -> list[bytes]:
        """Receive a message as bytes."""
        return [frame.bytes for frame in await self.recv_frames()]

    async def send_multipart(self, frames: list[Any]) -> None:
        """Send a message: the receiver's identity, then the message's frames."""
        await self._socket.send_multipart(frames)


def _own_port(connection: socket.socket) -> int:
    """Return the own port of a TCP connection; 0 for every other socket, among them listening ones."""
    try:
        connection.getpeername()
        return connection.getsockname()[1] if connection.family in (socket.AF_INET, socket.AF_INET6) else 0
    except OSError:
        return 0
