"""Viewers' subscriptions: a connection that subscribes to more than viewers need is closed.

libzmq keeps every topic of a connection in memory, about 45 bytes for each byte of a topic, and has no limit. A
subscription's frame tells the file descriptor of its connection (`ZMQ_SRCFD` in zmq_msg_get(3)), so the daemon can
close the connection. libzmq then forgets the connection's topics.

libzmq does not tell which of two connections with the same descriptor a frame came from. Frames of a flood that were
not read before its connection ended can therefore close the next connection once; viewers connect again by themselves.
"""

import asyncio
import logging
import os
import socket
from contextlib import suppress

import zmq
import zmq.asyncio

from ...client.wire import MAGIC
from ..logs import Throttle
from .connections import Connections, descriptor_of, socket_inode

MOST_SUBSCRIPTIONS = 8
"""Viewers need one. A connection with more, counted from its start, is closed."""

BATCH = 512
"""Subscriptions that are read before the other tasks have their turn."""
SUBSCRIBE = b"\x01"

logger = logging.getLogger(__name__)


class Subscriptions:
    """Reads the viewers' subscriptions.

    Parameters
    ----------
    decodes : XPUB
        With `XPUB_VERBOSE`: the socket then hands over each subscription, also of a topic that other viewers have.
    connections : Connections
        Notes the viewers' connections.
    """

    def __init__(self, decodes: zmq.asyncio.Socket, connections: Connections) -> None:
        self._decodes, self._connections = decodes, connections
        self._port = int(decodes.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
        self._counts: dict[int, tuple[int, int]] = {}
        """The inode and the number of subscriptions of each connection, by file descriptor."""
        self._refused = Throttle(logger)

    async def read(self) -> None:
        """Read subscriptions, for ever. An XPUB socket keeps them in its queue until they are read."""
        waiting = zmq.Socket.shadow(self._decodes)
        while True:
            await self._decodes.poll()
            # A flood fills the queue faster than single awaits empty it, and must not keep the other tasks waiting.
            with suppress(zmq.Again):
                for _ in range(BATCH):
                    subscription = waiting.recv(zmq.NOBLOCK, copy=False)
                    if subscription.bytes[:1] == SUBSCRIBE:
                        self._check(subscription)
            await asyncio.sleep(0)

    def _check(self, subscription: zmq.Frame) -> None:
        descriptor = descriptor_of(subscription)
        # The connection may be gone, and another file may have its number.
        inode = socket_inode(descriptor)
        known, count = self._counts.get(descriptor, (None, 0))
        if inode is None or (known == inode and count > MOST_SUBSCRIPTIONS):
            return
        if known != inode:
            self._connections.note("decodes", subscription)
        topic = subscription.bytes[1:]
        count = count + 1 if known == inode else 1
        if len(topic) > len(MAGIC):
            count = MOST_SUBSCRIPTIONS + 1
            what = f"to {topic[:16]!r}, while every message begins with {MAGIC.decode()}"
        else:
            what = f"more than {MOST_SUBSCRIPTIONS} times"
        self._counts[descriptor] = inode, count
        if count > MOST_SUBSCRIPTIONS:
            self._close(descriptor, what)

    def _close(self, descriptor: int, what: str) -> None:
        """Shut a viewer's connection down. libzmq, which owns the descriptor, finds the connection ended."""
        with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
            if connection.getsockname()[1] == self._port:
                connection.shutdown(socket.SHUT_RDWR)
                self._refused.warn(f"closed a viewer that subscribed {what}: subscribe once, to {MAGIC.decode()}")
