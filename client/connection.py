"""The options of every client's socket, and the errors of a daemon that is absent or refuses."""

from typing import TYPE_CHECKING

import zmq

from ..errors import BraindError

if TYPE_CHECKING:
    from .wire import Refused

# A peer is gone after three missed heartbeats, as is usual in realtime systems.
HEARTBEAT_MS = 1000
PEER_GONE_MS = 3000
RECONNECT_MS = 100
RECONNECT_MAX_MS = 2000


class NoDaemonError(BraindError):
    """No daemon answers at the address."""

    code = "no_daemon"


class RefusedByDaemon(BraindError):
    """The daemon refused a message; `code` and the sentence are the daemon's, `refused` is its answer."""

    def __init__(self, refused: "Refused") -> None:
        super().__init__(refused.sentence, code=refused.code)
        self.refused = refused


def no_daemon(host: str, port: int, wanted: str) -> NoDaemonError:
    """Return the error for a daemon that does not answer; `wanted` describes the request."""
    return NoDaemonError(f"no daemon answers at {host}:{port} ({wanted}): start it with `braind serve`")


def connect(context: zmq.Context, socket_type: int, host: str, port: int) -> zmq.Socket:
    """Return a socket that connects to the daemon now, or as soon as the daemon is there."""
    socket = context.socket(socket_type)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, 4)
    # Without a connection, messages wait in the program, which can send them again, and not in ZeroMQ's queue.
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, PEER_GONE_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, PEER_GONE_MS)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
    if ":" in host:
        socket.setsockopt(zmq.IPV6, 1)
        host = f"[{host}]"
    socket.connect(f"tcp://{host}:{port}")
    return socket
