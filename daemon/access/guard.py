"""A ROUTER that passes on only the messages that their senders may send, and answers all others with `Refused`."""

import asyncio
from typing import Any, Protocol

import zmq

from ...client import wire
from .audit import Audit
from .flood import WatchedRouter
from .keyring import Client, Keyring
from .roles import lacking_role


class Router(Protocol):
    """A ROUTER socket, with a guard before it or not."""

    @property
    def sender(self) -> str:
        """The name of the key that sent the newest message; "" without keys."""
        ...

    def recv_multipart(self) -> Any:
        """Return the next message: the sender's id, then its frames."""
        ...

    def send_multipart(self, frames: list[Any], /) -> Any:
        """Send an answer."""
        ...


class GuardedRouter:
    """A ROUTER whose senders have proved their keys. Each message is checked, so that a revoked key ends at once."""

    def __init__(self, socket: WatchedRouter, name: str, keyring: Keyring, audit: Audit) -> None:
        self._socket, self._name = socket, name
        self._keyring, self._audit = keyring, audit
        self.sender = ""

    async def recv_multipart(self) -> list[bytes]:
        """Return the next message that its sender may send."""
        while True:
            received = await self._socket.recv_frames()
            sender, *frames = (frame.bytes for frame in received)
            client = self._keyring.find(_user_id(received[0]))
            refused = self._refused(client, frames)
            if refused is None:
                self.sender = client.name if client else ""
                return [sender, *frames]
            await self._socket.send_multipart([sender, *wire.encode(refused)])
            # Receiving from a socket with messages does not yield to the other tasks. This does.
            await asyncio.sleep(0)

    async def send_multipart(self, frames: list[Any], /) -> None:
        """Send an answer."""
        await self._socket.send_multipart(frames)

    def _refused(self, client: Client | None, frames: list[bytes]) -> wire.Refused | None:
        if client is None:
            sentence = "this key was revoked: make another with `braind keys add` on the daemon's machine"
            self._audit.note("revoked_key", f"refused a message to the {self._name} socket: its key was revoked")
            return wire.Refused(code="key", sentence=sentence)
        lacking = lacking_role(client, self._name, frames)
        if lacking is None:
            return None
        self._audit.note("role", f"refused: {lacking}")
        return wire.Refused(code="role", sentence=f"{lacking}; `braind keys add` makes a key with other roles")


def _user_id(frame: Any) -> str:
    try:
        return frame.get("User-Id")
    except zmq.ZMQError:  # the connection was not authenticated
        return ""
