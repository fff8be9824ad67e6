"""The sockets' handshakes: CURVE proves the client's key, and ZAP asks here whether the key may connect.

Source: ZeroMQ RFC 26 (CurveZMQ) and RFC 27 (ZAP).
"""

import asyncio
from collections import Counter
from typing import Any

import zmq
import zmq.asyncio
from zmq.auth import Authenticator
from zmq.utils.monitor import parse_monitor_message

from ...config import Config
from .audit import Audit
from .flood import WatchedRouter
from .guard import GuardedRouter
from .keyring import Keyring, keys_path, make_keys
from .revocation import end_revoked
from .roles import may_connect

REASONS: dict[int, tuple[str, str]] = {
    zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH: ("no_key", "a program without a key"),
    zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC: ("server_key", "a program with a key for another daemon"),
}
OTHER_REASON = ("handshake", "a program that did not finish its handshake")


class Authentication:
    """Lets clients of a keyring in, and counts and logs the others.

    `protect` comes before a socket is bound. Handshakes wait until `serve` runs.

    Parameters
    ----------
    counts : counts of refusals by reason
    """

    def __init__(self, keyring: Keyring, counts: Counter[str]) -> None:
        self.keyring, self._audit = keyring, Audit(counts)
        self._sockets: dict[str, zmq.asyncio.Socket] = {}
        self._authenticator: Authenticator | None = None
        self._address = ""

    def protect(self, context: zmq.asyncio.Context, socket: zmq.asyncio.Socket, name: str) -> None:
        """Require a key at a socket, which is not bound yet."""
        if self._authenticator is None:
            self._authenticator = Authenticator(context)
            self._authenticator.start()
        self._authenticator.configure_curve_callback(name, self)
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt_string(zmq.CURVE_SECRETKEY, self.keyring.server.secret)
        socket.setsockopt_string(zmq.ZAP_DOMAIN, name)
        # If nothing answers ZAP, nobody comes in.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        self._sockets[name] = socket

    def guard(self, name: str, router: WatchedRouter) -> GuardedRouter:
        """Return a protected ROUTER with a check of each message."""
        return GuardedRouter(router, name, self.keyring, self._audit)

    async def serve(self, decodes_endpoint: str) -> None:
        """Answer handshakes, and end the connections of revoked keys, for ever."""
        await asyncio.gather(
            self._answer(),
            end_revoked(self.keyring, self._sockets["decodes"], decodes_endpoint),
            *(self._watch(name) for name in self._sockets),
        )

    def callback(self, domain: str, key: bytes) -> bool:
        """Return whether a key may connect to a socket; the authenticator calls this."""
        client = self.keyring.find(key.decode())
        if client is None:
            self._audit.note("unknown_key", f"refused {self._address} at the {domain} socket: its key is not known")
        elif not may_connect(client, domain):
            roles = ", ".join(client.roles)
            self._audit.note(
                "role", f"refused {self._address} at the {domain} socket: key {client.name!r} has roles: {roles}"
            )
        return client is not None and may_connect(client, domain)

    async def _answer(self) -> None:
        assert self._authenticator is not None
        requests: Any = zmq.asyncio.Socket.shadow(self._authenticator.zap_socket)
        while True:
            request = await requests.recv_multipart()
            self._address = request[3].decode(errors="replace") if len(request) > 3 else ""
            await self._authenticator.handle_zap_message(request)
            await asyncio.sleep(0)  # a flood of handshakes must leave time for the other tasks

    async def _watch(self, name: str) -> None:
        """Count and log the handshakes that end before ZAP is asked."""
        failed = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        events: Any = self._sockets[name].get_monitor_socket(failed)
        while True:
            event = parse_monitor_message(await events.recv_multipart())
            reason, who = REASONS.get(event["value"], OTHER_REASON)
            self._audit.note(reason, f"refused {who} at the {name} socket")
            await asyncio.sleep(0)


def authentication_of(config: Config, counts: Counter[str]) -> Authentication | None:
    """Make the data folder's keys if there are none; return None if `[serve] keys` is off.

    Raises
    ------
    KeyFileError
        The keys cannot be made or read, or other users may read them.
    """
    make_keys(keys_path(config))
    return Authentication(Keyring(keys_path(config)), counts) if config.serve.keys == "required" else None
