"""Programs that talk to a daemon that requires keys, with right and wrong keys."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import msgspec
import zmq
from running_daemon import PATIENCE_S, RunningDaemon

from braind.client import wire
from braind.client.address import Address
from braind.client.key import Key
from braind.daemon.access.keyring import add_client

SETTLED_MS = 300
"""Longer than an answer takes on loopback."""


def make_key(daemon: RunningDaemon, name: str, *roles: Any) -> Key:
    """Add a key to the daemon's folder."""
    return Key.load(add_client(daemon.data_path / "keys", name, roles))


def owner_key(daemon: RunningDaemon) -> Key:
    return Key.load(daemon.data_path / "keys" / "owner.key")


def stranger(key: Key) -> Key:
    """Return a key that the daemon never saw."""
    public, secret = (half.decode() for half in zmq.curve_keypair())
    return msgspec.structs.replace(key, public=public, secret=secret)


def misled(key: Key) -> Key:
    """Return a known key that takes the daemon for another one."""
    return msgspec.structs.replace(key, server=stranger(key).public)


def address_of(daemon: RunningDaemon, socket: str, key: Key | Path | None = None) -> Address:
    return Address.parse(daemon.addresses[socket], key=key)


class KeyedPeer:
    """A raw socket, which neither checks nor repeats anything."""

    def __init__(self, daemon: RunningDaemon, name: str, key: Key | None) -> None:
        self._context = zmq.Context()
        self._name, self._key, self._endpoint = name, key, daemon.addresses[name]
        self.socket = self._connected()

    def _connected(self) -> zmq.Socket:
        socket = self._context.socket(zmq.SUB if self._name == "decodes" else zmq.DEALER)
        socket.linger = 0
        if self._key:
            socket.setsockopt_string(zmq.CURVE_SECRETKEY, self._key.secret)
            socket.setsockopt_string(zmq.CURVE_PUBLICKEY, self._key.public)
            socket.setsockopt_string(zmq.CURVE_SERVERKEY, self._key.server)
        socket.connect(self._endpoint)
        if self._name == "decodes":
            socket.subscribe(b"")
        return socket

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self._context.term()

    def send(self, frames: list[Any], n_times: int = 1) -> None:
        """Send, or leave to ZeroMQ to send as soon as it is let in."""
        for _ in range(n_times):
            while not self._is_queued(frames):
                # ZeroMQ gave the connection up when the daemon refused its handshake. ZeroMQ may ignore a second
                # connection of the same socket to the same endpoint, so a new socket takes the place of the old one.
                self.socket.close()
                self.socket = self._connected()

    def _is_queued(self, frames: list[Any]) -> bool:
        try:
            self.socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def ask(self, message: wire.Message) -> Any:
        self.send(wire.encode(message))
        assert self.socket.poll(int(PATIENCE_S * 1000)), "no answer"
        return wire.decode(self.socket.recv_multipart())[0]

    def answers(self) -> list[Any]:
        """Return what came, once nothing more comes."""
        found = []
        while self.socket.poll(SETTLED_MS):
            found.append(wire.decode(self.socket.recv_multipart())[0])
        return found


def deliveries(daemon: RunningDaemon, attempts: list[tuple[str, Key | None, list[Any]]], n_messages: int) -> list[str]:
    """Send each attempt's messages, or subscribe; return what was taken or heard of whom.

    A refusal by code key or role means that a message was not taken.
    """
    with ExitStack() as stack:
        peers = [stack.enter_context(KeyedPeer(daemon, name, key)) for name, key, _ in attempts]
        for peer, (name, _, frames) in zip(peers, attempts, strict=True):
            if name != "decodes":
                peer.send(frames, n_messages)
        with KeyedPeer(daemon, "decodes", owner_key(daemon)) as viewer:
            for _ in range(3):  # whoever is let in hears at least one of these heartbeats
                assert viewer.socket.poll(int(PATIENCE_S * 1000))
                viewer.socket.recv_multipart()
        return [
            f"{name}, {key}: {answer}"
            for peer, (name, key, _) in zip(peers, attempts, strict=True)
            for answer in peer.answers()
            if not isinstance(answer, wire.Refused) or answer.code not in ("key", "role")
        ]
