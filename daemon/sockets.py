"""The daemon's three sockets and their limits."""

import os
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import zmq
import zmq.asyncio

from ..client.endpoints import Endpoints
from ..config import ServeConfig
from ..errors import BraindError
from .flood import FloodGuard, WatchedRouter, can_watch

OLDEST_LIBZMQ = (4, 3, 5)  # bytes from a stranger can exploit older versions (CVE-2019-13132, CVE-2020-15166)
LARGEST_PICTURE_BYTES = 8 * 1024 * 1024
# Bytes of a connection that make no message, or no message that was taken yet (`daemon/flood.py`). A scanner client
# sends up to eight volumes ahead of their acks: they fit into twice the largest frame.
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
# where `daemon/flood.py` cannot bound the bytes.
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
    ingest: WatchedRouter
    decodes: zmq.asyncio.Socket
    control: WatchedRouter
    endpoints: Endpoints
    guard: FloodGuard

    def close(self) -> None:
        """Close the three sockets. Messages in their queues have `LINGER_MS` to leave."""
        self.guard.close()
        self.context.destroy(linger=LINGER_MS)


def bind_sockets(serve: ServeConfig, shape: tuple[int, int, int]) -> Sockets:
    """Bind the sockets of `[serve]`; port 0 takes any free port.

    Raises
    ------
    SocketError
        Names the port that cannot be bound, and its setting.
    """
    if zmq.zmq_version_info() < OLDEST_LIBZMQ:
        raise SocketError(f"libzmq {zmq.zmq_version()} is too old, 4.3.5 is needed: pip install -U pyzmq")
    context = zmq.asyncio.Context()
    try:
        ingest, ingest_at = _bind(context, zmq.ROUTER, serve.host, serve.ingest_port, "ingest", _largest_frame(shape))
        decodes, decodes_at = _bind(context, zmq.XPUB, serve.host, serve.decodes_port, "decodes", LARGEST_SUBSCRIPTION)
        control, control_at = _bind(context, zmq.ROUTER, serve.host, serve.control_port, "control", 64 * 1024)
        decodes.setsockopt(zmq.XPUB_VERBOSE, 1)  # `daemon/subscriptions.py` counts every subscription
    except SocketError:
        context.destroy(linger=0)
        raise
    endpoints = Endpoints(ingest=ingest_at, decodes=decodes_at, control=control_at, pid=os.getpid())
    guard = FloodGuard(
        {
            endpoints.address("ingest")[1]: 2 * _largest_frame(shape),
            endpoints.address("control")[1]: LARGEST_CONTROL_BYTES,
        }
    )
    return Sockets(context, WatchedRouter(ingest, guard), decodes, WatchedRouter(control, guard), endpoints, guard)


def _largest_frame(shape: tuple[int, int, int]) -> int:
    # A volume of the wrong shape or dtype must arrive, so that the front can refuse it with a reason.
    return 4 * int(np.prod(shape)) * np.dtype(np.float64).itemsize + LARGEST_PICTURE_BYTES


def _bind(
    context: zmq.asyncio.Context, kind: int, host: str, port: int, name: str, largest_frame: int
) -> tuple[zmq.asyncio.Socket, str]:
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
    if ":" in host:
        socket.setsockopt(zmq.IPV6, 1)
        host = f"[{host}]"
    try:
        socket.bind(f"tcp://{host}:{port or '*'}")
    except zmq.ZMQError as error:
        with suppress(zmq.ZMQError):
            socket.close(linger=0)
        if error.errno == zmq.EADDRINUSE:
            why = "another program, perhaps another braind serve, is using it"
        else:
            why = str(error)
        raise SocketError(
            f"port {port} on {host} cannot be bound ({why}); stop that program or set [serve] {name}_port to another",
            code="port_in_use" if error.errno == zmq.EADDRINUSE else "socket",
        ) from error
    endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT)
    return socket, endpoint
