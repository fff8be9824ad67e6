"""The clients' open connections: who they are, by their keys, and when they were heard last.

libzmq names a message's connection by its file descriptor (`ZMQ_SRCFD` in zmq_msg_get(3)), and hands over the peer's
address and, with keys, its public key.
"""

import os
import stat
import time
from dataclasses import dataclass
from typing import Literal

import zmq

from ...client import wire
from .keyring import Keyring

MOST_CONNECTIONS = 64
"""So many connections are told at most, those that were heard last."""
MOST_KEPT = 512
"""Connections that ended are forgotten when so many are known."""
REVOKED = "(revoked)"

Socket = Literal["ingest", "decodes", "control"]


@dataclass
class _Connection:
    socket: Socket
    descriptor: int
    inode: int
    address: str
    public: str
    heard_s: float
    clock: tuple[float | None, float | None] = (None, None)


class Connections:
    """Notes each message's connection. A connection is told as long as its file descriptor is open.

    Parameters
    ----------
    keyring : Keyring or None
        Names the clients' keys and roles. None: no keys are required.
    """

    def __init__(self, keyring: Keyring | None = None) -> None:
        self._keyring = keyring
        self._known: dict[tuple[int, int], _Connection] = {}
        """By file descriptor and inode: another connection may get the same descriptor later."""
        self._sender: _Connection | None = None

    def note(self, socket: Socket, frame: zmq.Frame) -> None:
        """Note that a message came over a socket; `frame` is one of its frames."""
        descriptor = descriptor_of(frame)
        inode = socket_inode(descriptor)
        if inode is None:
            return
        connection = self._known.get((descriptor, inode))
        if connection is None:
            if len(self._known) >= MOST_KEPT:
                self._forget_ended()
            connection = _Connection(
                socket, descriptor, inode, _property(frame, "Peer-Address"), _property(frame, "User-Id"), 0.0
            )
            self._known[descriptor, inode] = connection
        connection.heard_s = time.monotonic()
        if socket == "ingest":
            self._sender = connection

    def note_clock(self, offset_s: float, uncertainty_s: float | None) -> None:
        """Note the clock offset that the newest message of the ingest socket tells."""
        if self._sender is not None:
            self._sender.clock = offset_s, uncertainty_s

    def connected(self) -> tuple[wire.Connected, ...]:
        """Return the open connections, sorted by socket, at most `MOST_CONNECTIONS`."""
        self._forget_ended()
        newest = sorted(self._known.values(), key=lambda one: -one.heard_s)[:MOST_CONNECTIONS]
        order = ("ingest", "decodes", "control")
        return tuple(self._told(one) for one in sorted(newest, key=lambda one: order.index(one.socket)))

    def _told(self, connection: _Connection) -> wire.Connected:
        client = self._keyring.find(connection.public) if self._keyring else None
        return wire.Connected(
            socket=connection.socket,
            address=connection.address,
            key=client.name if client else REVOKED if self._keyring else "",
            roles=client.roles if client else (),
            silent_s=round(time.monotonic() - connection.heard_s, 3),
            clock_offset_s=connection.clock[0],
            clock_uncertainty_s=connection.clock[1],
        )

    def _forget_ended(self) -> None:
        self._known = {key: one for key, one in self._known.items() if socket_inode(one.descriptor) == one.inode}


def descriptor_of(frame: zmq.Frame) -> int:
    """Return the file descriptor that a frame came over; -1 if it is not known."""
    try:
        return int(frame.get(zmq.SRCFD))
    except zmq.ZMQError:
        return -1


def _property(frame: zmq.Frame, name: str) -> str:
    try:
        return str(frame.get(name))
    except zmq.ZMQError:
        return ""


def socket_inode(descriptor: int) -> int | None:
    """Return the inode of an open socket, which no other socket of the machine has; None if it is not a socket."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_ino if stat.S_ISSOCK(found.st_mode) else None
