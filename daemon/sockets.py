"""The daemon's three sockets and their limits."""

import os
from dataclasses import dataclass
from functools import partial

import numpy as np
import zmq
import zmq.asyncio

from ..client.address import Address
from ..client.endpoints import Endpoints
from ..config import ServeConfig
from ..errors import BraindError
from .access.authentication import Authentication
from .access.connections import Connections
from .access.flood import FloodGuard, WatchedRouter, can_watch
from .access.guard import Router
from .access.loopback import numeric_host

OLDEST_LIBZMQ = (4, 3, 5)  # bytes from a stranger can exploit older versions (CVE-2019-13132, CVE-2020-15166)
LARGEST_PICTURE_BYTES = 8 * 1024 * 1024
# Bytes of a connection that make no message, or a message that was not taken yet (`daemon/access/flood.py`). A scanner
# client sends up to eight volumes ahead of their acks: they fit into twice the largest frame.
LARGEST_CONTROL_BYTES = 4 * 1024 * 1024
LARGEST_SUBSCRIPTION = 1024  # a handshake with keys has up to about 800 bytes
VIEWER_BYTES = 4096  # the kernel's buffer of what a viewer sends: subscriptions and heartbeats
HANDSHAKE_MS = 2000
# The daemon answers heartbeats and sends none. libzmq (4.3.5, and its main branch of 2026) aborts the process when a
# heartbeat is due for a peer that reset its connection while its queue was full: `!_io_error`, stream_engine_base.cpp.
# Clients' own heartbeats say after which silence they are gone; the kernel finds other peers that are gone.
KEEPALIVE = {
    zmq.TCP_KEEPALIVE: 1, zmq.TCP_KEEPALIVE_IDLE: 5, zmq.TCP_KEEPALIVE_INTVL: 5, zmq.TCP_KEEPALIVE_CNT: 3,
}  # fmt: skip
LINGER_MS = 500
# Messages in the queue of each peer. A volume may have megabytes, a decode has tens of kilobytes. `INGEST_QUEUE` holds
# where `daemon/access/flood.py` cannot bound the bytes.
INGEST_QUEUE = 4
REPLY_QUEUE = 512
VIEWER_QUEUE = 64


class SocketError(BraindError):
    """A port that cannot be bound, or a ZeroMQ library that must not be used."""

    code = "socket"


@dataclass(frozen=True)
class Sockets:
    """The bound sockets: ingest and control are ROUTERs, decodes is an XPUB. `endpoints` holds their addresses."""

    context: zmq.asyncio.Context
    ingest: Router
    decodes: zmq.asyncio.Socket
    control: Router
    endpoints: Endpoints
    guard: FloodGuard

    def close(self) -> None:
        """Close the three sockets. Messages in their queues have `LINGER_MS` to leave."""
        self.guard.close()
        self.context.destroy(linger=LINGER_MS)


def bind_sockets(
    serve: ServeConfig,
    shape: tuple[int, int, int],
    authentication: Authentication | None = None,
    connections: Connections | None = None,
) -> Sockets:
    """Bind the sockets of `[serve]`; port 0 takes any free port. With `authentication`, each requires a key.

    `connections` notes the connection of each message.

    Raises
    ------
    SocketError
        Names the port that cannot be bound, and its setting.
    """
    if zmq.zmq_version_info() < OLDEST_LIBZMQ:
        raise SocketError(f"libzmq {zmq.zmq_version()} is too old, 4.3.5 is needed: pip install -U pyzmq")
    context = zmq.asyncio.Context()
    try:
        ingest = _socket(context, zmq.ROUTER, _largest_frame(shape))
        decodes = _socket(context, zmq.XPUB, LARGEST_SUBSCRIPTION)
        control = _socket(context, zmq.ROUTER, 64 * 1024)
        decodes.setsockopt(zmq.XPUB_VERBOSE, 1)  # `daemon/access/subscriptions.py` counts every subscription
        if authentication:
            for name, socket in (("ingest", ingest), ("decodes", decodes), ("control", control)):
                authentication.protect(context, socket, name)
        host = numeric_host(serve)
        endpoints = Endpoints(
            ingest=_bind(ingest, Address(host, serve.ingest_port), "ingest"),
            decodes=_bind(decodes, Address(host, serve.decodes_port), "decodes"),
            control=_bind(control, Address(host, serve.control_port), "control"),
            pid=os.getpid(),
            key=str(authentication.keyring.owner_path) if authentication else "",
        )
    except BraindError:
        context.destroy(linger=0)
        raise
    guard = FloodGuard(
        {
            Address.parse(endpoints.ingest).port: 2 * _largest_frame(shape),
            Address.parse(endpoints.control).port: LARGEST_CONTROL_BYTES,
        }
    )
    note = (connections or Connections()).note
    watched = {
        "ingest": WatchedRouter(ingest, guard, partial(note, "ingest")),
        "control": WatchedRouter(control, guard, partial(note, "control")),
    }
    routers: dict[str, Router] = {
        name: authentication.guard(name, router) if authentication else router for name, router in watched.items()
    }
    return Sockets(context, routers["ingest"], decodes, routers["control"], endpoints, guard)


def _largest_frame(shape: tuple[int, int, int]) -> int:
    # A volume of the wrong shape or dtype must arrive, so that the front can refuse it with a reason.
    return 4 * int(np.prod(shape)) * np.dtype(np.float64).itemsize + LARGEST_PICTURE_BYTES


def _socket(context: zmq.asyncio.Context, kind: int, largest_frame: int) -> zmq.asyncio.Socket:
    socket = context.socket(kind)
    socket.linger = LINGER_MS
    socket.setsockopt(zmq.MAXMSGSIZE, largest_frame)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    for option, value in KEEPALIVE.items():
        socket.setsockopt(option, value)
    # An XPUB takes topics into memory before they are counted. A short queue keeps few of them on the way.
    socket.rcvhwm = 0 if kind == zmq.ROUTER and can_watch() else INGEST_QUEUE
    if kind == zmq.XPUB:
        socket.setsockopt(zmq.RCVBUF, VIEWER_BYTES)
    socket.sndhwm = VIEWER_QUEUE if kind == zmq.XPUB else REPLY_QUEUE
    return socket


def _bind(socket: zmq.asyncio.Socket, address: Address, name: str) -> str:
    """Bind a socket; return its address in ZeroMQ's form."""
    socket.setsockopt(zmq.IPV6, int(address.is_v6))
    try:
        socket.bind(address.url)
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            why = "another program, perhaps another braind serve, is using it"
        else:
            why = str(error)
        raise SocketError(
            f"port {address.port} on {address.host} cannot be bound ({why}); stop that program or set [serve] "
            f"{name}_port to another",
            code="port_in_use" if error.errno == zmq.EADDRINUSE else "socket",
        ) from error
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)
