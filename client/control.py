"""Requests to the daemon: status, setup, published decodes, pause, other settings and weights, marks, shutdown."""

import logging
import time
from pathlib import Path
from typing import Any, Self

import zmq

from . import wire
from .address import Address
from .connection import DaemonSocket, RefusedByDaemon, check_protocol, connect
from .key import Key

logger = logging.getLogger(__name__)


class ControlClient:
    """Sends requests to the daemon's control socket, one at a time; not for use from several threads at once.

    Every request raises NoDaemonError if no answer comes within `timeout_s` seconds, and RefusedByDaemon with the
    daemon's code and sentence if the daemon refuses the request or the key.

    Parameters
    ----------
    host : a name or address, or with the port as `host:port` or `tcp://host:port`
    port : the daemon's control port, if `host` does not name it
    key : a key or the path of its file, for a daemon that requires keys

    Raises
    ------
    AddressError, KeyFileError
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 5562, key: Key | Path | str | None = None, *, timeout_s: float = 2.0
    ) -> None:
        self.address, self.timeout_s = Address.parse(host, port, key), timeout_s
        self._context = zmq.Context()
        self._socket: DaemonSocket | None = None

    def status(self) -> wire.Status:
        """Return the daemon's status; the state `ready` means warmed up."""
        status = self._ask(wire.StatusRequest(), "its status", wire.Status)[-1][0]
        check_protocol(status.protocol, self.address)
        return status

    def fetch(self, from_seq: int, limit: int = 100, *, pictures: bool = True) -> list[tuple[Any, list[bytes]]]:
        """Return at most `limit` published messages from `from_seq` on, in order, each with its payload frames.

        A message that this version cannot read is left out and logged: a newer daemon may have new types. With
        `pictures` false the messages have no payload frames; a daemon of an earlier version sends the frames.
        """
        answers = self._ask(
            wire.FetchRequest(from_seq=from_seq, limit=limit, pictures=pictures), "published decodes", wire.Done
        )
        return [(message, payload) for message, payload in answers if not isinstance(message, wire.Done)]

    def pause(self, paused: bool = True) -> None:
        """Stop decoding, while volumes are still acked; or, with `paused` false, go on."""
        self._ask(wire.Pause(paused=paused), "to pause" if paused else "to go on", wire.Done)

    def use(self, weights: Path, candidates: Path) -> None:
        """Decode with other weights from the next run on; both paths are files on the daemon's machine."""
        self._ask(wire.Use(weights=str(weights), candidates=str(candidates)), "to use other weights", wire.Done)

    def change(self, change: wire.Change) -> str:
        """Decode in another way from the next volume on; return what the daemon answers."""
        return self._ask(change, "to change its settings", wire.Done)[-1][0].note

    def mark(self, mark: wire.Mark) -> str:
        """Have the daemon keep a mark in the session's journal and tell its viewers; return what the daemon answers."""
        return self._ask(mark, "to keep a mark", wire.Done)[-1][0].note

    def setup(self) -> wire.Setup:
        """Return how the daemon is set up, and which clients are connected."""
        return self._ask(wire.SetupRequest(), "its setup", wire.Setup)[-1][0]

    def recorded(self, *, picture: bool = False) -> tuple[wire.Recorded, bytes | None]:
        """Return what was recorded in the session so far and, if asked for, the PNG of the newest seen picture."""
        message, payload = self._ask(wire.RecordedRequest(picture=picture), "what it recorded", wire.Recorded)[-1]
        return message, payload[0] if payload else None

    def tell(self, calibration: wire.Calibration) -> None:
        """Have the daemon report a calibration's scores to its viewers."""
        self._ask(calibration, "to tell of a calibration", wire.Done)

    def shutdown(self) -> None:
        """Have the daemon finish the acked volumes and exit."""
        self._ask(wire.Shutdown(), "to stop", wire.Done)

    def close(self) -> None:
        """Close the socket; the client cannot be used afterwards."""
        self._drop_socket()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: wire.Message, wanted: str, last: type[wire.Message]) -> list[tuple[Any, list[bytes]]]:
        """Send a request; return its answers, the last of which has the type `last`."""
        answers: list[tuple[Any, list[bytes]]] = []
        try:
            socket = self._connected(wanted)
            socket.send_multipart(wire.encode(request))
            while not answers or not isinstance(answers[-1][0], last):
                if not socket.poll(int(self.timeout_s * 1000)):
                    raise socket.silent(wanted)
                try:
                    answers.append(wire.decode(socket.recv_multipart()))
                except wire.WireError as error:
                    if not isinstance(request, wire.FetchRequest):
                        raise
                    logger.warning("left out a fetched message: %s", error)
                    continue
                if isinstance(answers[-1][0], wire.Refused):
                    raise RefusedByDaemon(answers[-1][0])
        except BaseException:
            # A late answer would be taken for the next request's answer.
            self._drop_socket()
            raise
        return answers

    def _connected(self, wanted: str) -> DaemonSocket:
        if self._socket is None:
            self._socket = connect(self._context, zmq.DEALER, self.address)
        deadline = time.monotonic() + self.timeout_s
        if not self._socket.poll(max(0, int((deadline - time.monotonic()) * 1000)), zmq.POLLOUT):
            raise self._socket.silent(wanted)
        return self._socket

    def _drop_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
