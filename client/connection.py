"""The socket of every client, and the errors of a daemon that is absent or refuses."""

import time
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from ..errors import BraindError
from .address import Address
from .wire import PROTOCOL_VERSION, Refused

# A peer is gone after three missed heartbeats, as is usual in realtime systems.
HEARTBEAT_MS = 1000
PEER_GONE_MS = 3000
RECONNECT_MS = 100
RECONNECT_MAX_MS = 2000
LONGEST_POLL_MS = 500
"""On Windows, Python sees Ctrl-C only when ZeroMQ has returned."""
HANDSHAKES = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
MANY_BROKEN_OFF = 2
"""One handshake may break off because the daemon ends; a request without an answer asks whether there were more."""
MOST_BROKEN_OFF = 4
"""So many handshakes in a row do not break off by chance."""


NEEDS_KEY = (
    "requires a key: give a key file with --key or key=…; `braind keys add NAME --role ROLE` on the daemon's machine "
    "makes one"
)


class NoDaemonError(BraindError):
    """No daemon answers at the address."""

    code = "no_daemon"


class RefusedByDaemon(BraindError):
    """The daemon refused a message or the key; `code` and the sentence are the daemon's, `refused` is its answer.

    A client raises it too where the daemon gives no reason: its key fails, or the versions of the protocol differ.
    """

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.sentence, code=refused.code)
        self.refused = refused


class DaemonSocket(zmq.Socket):
    """A socket that connects to the daemon now, or as soon as the daemon is there.

    `poll` raises RefusedByDaemon (`code` key) if the daemon refuses the key, wants one, or wants none.
    """

    address: Address | None = None
    handshakes: zmq.Socket | None = None
    """Receives an event for each handshake."""
    n_broken_off = 0
    """How many handshakes in a row broke off."""

    def poll(self, timeout: float | None = None, flags: int = zmq.POLLIN) -> int:
        """Wait at most `timeout` milliseconds; return the flags that are ready, or 0."""
        assert self.handshakes is not None
        deadline = None if timeout is None else time.monotonic() + timeout / 1000
        poller = zmq.Poller()
        poller.register(self, flags)
        poller.register(self.handshakes, zmq.POLLIN)
        while True:
            left_ms = LONGEST_POLL_MS if deadline is None else max(0, int((deadline - time.monotonic()) * 1000))
            ready = dict(poller.poll(min(left_ms, LONGEST_POLL_MS)))
            if self in ready:
                return ready[self]
            self.check_handshakes()
            if not ready and deadline is not None and time.monotonic() >= deadline:
                return 0

    def check_handshakes(self) -> None:
        """Read the events of failed handshakes. Raises RefusedByDaemon if the daemon's answer cannot change."""
        assert self.handshakes is not None
        while self.handshakes.getsockopt(zmq.EVENTS) & zmq.POLLIN:  # pyright: ignore[reportOperatorIssue]
            event = parse_monitor_message(self.handshakes.recv_multipart())
            if event["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.n_broken_off = 0
                continue
            if event["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                raise self._key_refused()
            if event["value"] == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
                raise self._other_mechanism()
            # The side that finds the mismatch first closes the connection, and the other side learns no reason.
            self.n_broken_off += 1
            if self.n_broken_off >= MOST_BROKEN_OFF:
                raise self._broken_off()

    def silent(self, wanted: str) -> BraindError:
        """Return the error for a daemon that does not answer; `wanted` describes the request."""
        assert self.address is not None
        self.check_handshakes()
        if self.n_broken_off >= MANY_BROKEN_OFF:
            return self._broken_off()
        return NoDaemonError(f"no daemon answers at {self.address} ({wanted}): start it with `braind serve`")

    def close(self, linger: int | None = None) -> None:
        """Close the socket, and the socket of its handshakes."""
        if self.handshakes is not None and not self.closed:
            self.disable_monitor()
            self.handshakes.close(linger=0)
        super().close(linger)

    def _broken_off(self) -> RefusedByDaemon:
        assert self.address is not None
        if self.address.key:
            return _refused(
                f"the daemon at {self.address} breaks off each handshake: key {self.address.key.name!r} was made for "
                "another daemon, or the port belongs to another socket; make a key with `braind keys add` on this "
                "daemon's machine, or correct the port"
            )
        return _refused(
            f"the program at {self.address} breaks off each handshake. It is no daemon, or a daemon that {NEEDS_KEY}"
        )

    def _key_refused(self) -> RefusedByDaemon:
        assert self.address is not None
        assert self.address.key is not None
        key = self.address.key
        return _refused(
            f"the daemon at {self.address} refused the key {key.name!r} (roles: {', '.join(key.roles)}): it was "
            "revoked, or it lacks the role for this; make another with `braind keys add` on the daemon's machine"
        )

    def _other_mechanism(self) -> RefusedByDaemon:
        assert self.address is not None
        if self.address.key:
            return _refused(f"the daemon at {self.address} takes no keys: leave the key out")
        return _refused(f"the daemon at {self.address} {NEEDS_KEY}")


def connect(context: zmq.Context[Any], socket_type: int, address: Address) -> DaemonSocket:
    """Return a socket that connects to the daemon now, or as soon as the daemon is there."""
    socket = context.socket(socket_type, socket_class=DaemonSocket)
    socket.address = address
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, 4)
    # Without a connection, messages wait in the program, which can send them again, and not in ZeroMQ's queue.
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, PEER_GONE_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, PEER_GONE_MS)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
    if address.is_v6:
        socket.setsockopt(zmq.IPV6, 1)
    if address.key:
        socket.setsockopt_string(zmq.CURVE_SECRETKEY, address.key.secret)
        socket.setsockopt_string(zmq.CURVE_PUBLICKEY, address.key.public)
        socket.setsockopt_string(zmq.CURVE_SERVERKEY, address.key.server)
    socket.handshakes = socket.get_monitor_socket(HANDSHAKES)
    socket.connect(address.url)
    return socket


def check_protocol(version: int, address: Address) -> None:
    """Raise RefusedByDaemon (`code` protocol) if the daemon speaks a version that this program would misunderstand."""
    if version != PROTOCOL_VERSION:
        raise _refused(
            f"the daemon at {address} speaks protocol {version}, this program {PROTOCOL_VERSION}; update the older "
            "of the two",
            "protocol",
        )


def _refused(sentence: str, code: str = "key") -> RefusedByDaemon:
    return RefusedByDaemon(Refused(code=code, sentence=sentence))
