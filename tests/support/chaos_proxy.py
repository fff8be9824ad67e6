"""A TCP proxy that a test puts between a client and the daemon, to disturb their connection on purpose."""

import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Any, Self

CHUNK_BYTES = 64 * 1024
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ChaosProxy:
    """Passes bytes on between its own port and an address.

    The attributes may be changed at any time; each applies to all connections from then on.

    Parameters
    ----------
    address : `tcp://127.0.0.1:port` of the daemon's socket

    Attributes
    ----------
    delay_s : how long a chunk waits, in both directions
    bytes_per_s : the speed from the client to the daemon; None is no limit
    n_bytes_left : connections are reset after so many further bytes from the client; None is no limit
    is_black_hole : bytes are read and passed on nowhere, in both directions
    is_half_open : bytes from the daemon are read and not passed on
    n_connections : how many connections were made
    """

    def __init__(self, address: str) -> None:
        self._target = ("127.0.0.1", int(address.rsplit(":", 1)[1]))
        self.delay_s = 0.0
        self.bytes_per_s: float | None = None
        self.n_bytes_left: int | None = None
        self.is_black_hole = self.is_half_open = False
        self.n_connections = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._is_ended = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # a blocked `accept` ends when its socket is shut down, not when it is closed
        with self._lock:
            self._is_ended = True
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.reset()

    def reset(self) -> None:
        """End every connection with RST to both sides."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for connection in pair:
                _reset(connection)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                daemon = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            self.n_connections += 1
            with self._lock:
                self._pairs.append((client, daemon))
                is_ended = self._is_ended
            if is_ended:
                self.reset()
                return
            threading.Thread(target=self._pass_on, args=(client, daemon, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(daemon, client, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, is_from_client: bool) -> None:
        try:
            while chunk := source.recv(self._chunk_bytes(is_from_client)):
                time.sleep(self.delay_s)
                if is_from_client and self.bytes_per_s:
                    time.sleep(len(chunk) / self.bytes_per_s)
                if self.is_black_hole or (self.is_half_open and not is_from_client):
                    continue
                if is_from_client and self.n_bytes_left is not None:
                    with self._lock:
                        chunk = chunk[: self.n_bytes_left]
                        self.n_bytes_left -= len(chunk)
                    target.sendall(chunk)
                    if not self.n_bytes_left:
                        self.n_bytes_left = None
                        break
                else:
                    target.sendall(chunk)
        except OSError:
            pass
        for connection in (source, target):
            _reset(connection)

    def _chunk_bytes(self, is_from_client: bool) -> int:
        return (
            max(1, min(CHUNK_BYTES, int(self.bytes_per_s / 20))) if is_from_client and self.bytes_per_s else CHUNK_BYTES
        )


def _reset(connection: Any) -> None:
    # A connection that the other side ended takes no options and no shutdown, but must be closed.
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        # a `recv` of another thread keeps the connection open until it returns
        connection.shutdown(socket.SHUT_RD)
    connection.close()
