"""The daemon's three sockets and their limits."""

import os
from dataclasses import dataclass

import numpy as np
import zmq
import zmq.asyncio

from ..client.address import Address
from ..client.endpoints import Endpoints
from ..config import ServeConfig
from ..errors import BraindError
from .access.authentication import Authentication
from .access.guard import Router
from .access.loopback import numeric_host

OLDEST_LIBZMQ = (4, 3, 5)  # bytes from a stranger can exploit older versions (CVE-2019-13132, CVE-2020-15166)
LARGEST_PICTURE_BYTES = 8 * 1024 * 1024
HANDSHAKE_MS = 2000
HEARTBEAT_MS = 1000
SILENCE_MS = 3000
LINGER_MS = 500
# Messages in the queue of each peer. A volume may have megabytes, a decode has tens of kilobytes.
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

    def close(self) -> None:
        """Close the three sockets. Messages in their queues have `LINGER_MS` to leave."""
        self.context.destroy(linger=LINGER_MS)


def bind_sockets(
    serve: ServeConfig, shape: tuple[int, int, int], authentication: Authentication | None = None
) -> Sockets:
    """Bind the sockets of `[serve]`; port 0 takes any free port. With `authentication`, each requires a key.

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
        decodes = _socket(context, zmq.XPUB, 4096)
        control = _socket(context, zmq.ROUTER, 64 * 1024)
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
    if authentication:
        return Sockets(context, authentication.guard("ingest"), decodes, authentication.guard("control"), endpoints)
    return Sockets(context, ingest, decodes, control, endpoints)


def _largest_frame(shape: tuple[int, int, int]) -> int:
    # A volume of the wrong shape or dtype must arrive, so that the front can refuse it with a reason.
    return 4 * int(np.prod(shape)) * np.dtype(np.float64).itemsize + LARGEST_PICTURE_BYTES


def _socket(context: zmq.asyncio.Context, kind: int, largest_frame: int) -> zmq.asyncio.Socket:
    socket = context.socket(kind)
    socket.linger = LINGER_MS
    socket.setsockopt(zmq.MAXMSGSIZE, largest_frame)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, SILENCE_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, SILENCE_MS)
    socket.rcvhwm = INGEST_QUEUE
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
