"""The daemon's addresses: from the file that a running daemon writes, else from the configured ports."""

import os
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self, get_args

import msgspec

from ..config import Config, data_path
from ..errors import BraindError
from ..whole_file import write_whole
from .address import Address

Socket = Literal["ingest", "decodes", "control"]
SOCKETS: tuple[Socket, ...] = get_args(Socket)

# Addresses that a daemon listens on everywhere, and the loopback address that reaches it from its own machine.
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "*": "127.0.0.1", "::": "::1"}


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """A daemon's sockets in ZeroMQ's form, `tcp://host:port`.

    `pid` is the daemon's process, if known. `key` is the path of the key file to show there; "" shows none.
    """

    ingest: str
    decodes: str
    control: str
    pid: int | None = None
    key: str = ""
    metrics: str = ""
    """The address of /metrics and /healthz; "" if there is none."""

    def address(self, socket: Socket) -> Address:
        """Return the address to connect to. Raises AddressError or KeyFileError."""
        host, port, _ = Address.parse(getattr(self, socket))
        return Address.parse(_reachable(host), port, self.key or None)

    @classmethod
    def of_host(cls, host: str, ports: tuple[int, int, int], key: str = "") -> Self:
        """Return the endpoints of a host with these ports of ingest, decodes and control."""
        ingest, decodes, control = (Address(host, port).url for port in ports)
        return cls(ingest=ingest, decodes=decodes, control=control, key=key)


def endpoints(config: Config) -> Endpoints:
    """Return the addresses of the data folder's running daemon, or the configured addresses without one.

    A configured host beyond this machine is asked there. The key file of `[paths] key` goes before the daemon's own.
    """
    serve, key = config.serve, config.paths.key
    running = _read(endpoints_path(config))
    if running is not None and _is_alive(running.pid) and _is_here(serve.host, running):
        return msgspec.structs.replace(running, key=key or running.key)
    ports = (serve.ingest_port, serve.decodes_port, serve.control_port)
    return Endpoints.of_host(_reachable(serve.host), ports, key)


def ingest_address(config: Config, given: str | None) -> Address:
    """Return the daemon's ingest address: the given one, with the configured port and key, or that of `endpoints`.

    Raises
    ------
    AddressError, KeyFileError
    """
    found = endpoints(config)
    if given is None:
        return found.address("ingest")
    to = Address.parse(given, config.serve.ingest_port)
    is_found = to.port == Address.parse(found.ingest).port and _is_here(to.host, found)
    return Address.parse(to.host, to.port, (found.key if is_found else config.paths.key) or None)


def _is_here(host: str, running: Endpoints) -> bool:
    """Return whether the configured host may mean the running daemon: it is of this machine, or the daemon's own."""
    if host in ("localhost", *EVERYWHERE) or host == Address.parse(running.ingest).host:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def endpoints_path(config: Config) -> Path:
    """Return the file that a running daemon writes its addresses to."""
    return data_path(config) / "serve.json"


def is_served(config: Config) -> bool:
    """Return whether a daemon uses the data folder: it holds the folder's lock from its start to its end."""
    try:
        import fcntl  # noqa: TID251
    except ImportError:
        return False  # No daemon runs on Windows.
    try:
        with (data_path(config) / "serve.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # Without a lock file no daemon uses the folder.
    return False


def write_endpoints(config: Config, listening: Endpoints) -> Path:
    """Write this daemon's addresses and return the file. Readers see the whole file or none."""
    path = endpoints_path(config)
    with write_whole(path) as unfinished_path:
        unfinished_path.write_bytes(msgspec.json.encode(listening) + b"\n")
    return path


def remove_endpoints(config: Config, pid: int) -> None:
    """Remove the file if process `pid` wrote it."""
    running = _read(endpoints_path(config))
    if running is not None and running.pid == pid:
        endpoints_path(config).unlink(missing_ok=True)


def _reachable(host: str) -> str:
    return EVERYWHERE[host] if host in EVERYWHERE else host


def _read(path: Path) -> Endpoints | None:
    """Return the file's endpoints, or None if there is no file or it is not braind's. A new daemon overwrites it."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Endpoints)
        for socket in SOCKETS:
            Address.parse(getattr(found, socket))
    except (OSError, ValueError, RecursionError, BraindError):  # msgspec's errors are ValueErrors
        return None
    return found


def _is_alive(pid: int | None) -> bool:
    # No daemon runs on Windows, where `os.kill` would end the process of this number: another machine wrote the file.
    if pid is None or sys.platform == "win32":
        return False
    try:
        os.kill(pid, 0)  # noqa: TID251
    except ProcessLookupError:
        return False
    except PermissionError:
        # The process exists and belongs to another user.
        return True
    return True
