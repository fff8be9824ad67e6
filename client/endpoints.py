"""The daemon's addresses: from the file that a running daemon writes, else from the configured ports."""

import os
from pathlib import Path
from typing import Literal, get_args

import msgspec

from ..config import Config, data_path
from ..whole_file import write_whole

Socket = Literal["ingest", "decodes", "control"]
SOCKETS: tuple[Socket, ...] = get_args(Socket)

# Addresses that a daemon listens on everywhere, and the loopback address that reaches it from its own machine.
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "*": "127.0.0.1", "::": "::1"}


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """A daemon's sockets in ZeroMQ's form, `tcp://host:port`; `pid` is the daemon's process, if known."""

    ingest: str
    decodes: str
    control: str
    pid: int | None = None
    metrics: str = ""
    """The address of /metrics and /healthz; "" if there is none."""

    def address(self, socket: Socket) -> tuple[str, int]:
        """Return the host and port to connect to."""
        host, _, port = getattr(self, socket).removeprefix("tcp://").rpartition(":")
        host = host.strip("[]")
        return _reachable(host), int(port)


def endpoints(config: Config) -> Endpoints:
    """Return the addresses of the data folder's running daemon, or the configured addresses without one."""
    serve = config.serve
    host = _reachable(serve.host)
    running = _read(endpoints_path(config))
    if running is not None and _is_alive(running.pid) and running.address("ingest")[0] == host:
        return running
    bracketed = f"[{host}]" if ":" in host else host
    return Endpoints(
        ingest=f"tcp://{bracketed}:{serve.ingest_port}",
        decodes=f"tcp://{bracketed}:{serve.decodes_port}",
        control=f"tcp://{bracketed}:{serve.control_port}",
    )


def endpoints_path(config: Config) -> Path:
    """Return the file that a running daemon writes its addresses to."""
    return data_path(config) / "serve.json"


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
            found.address(socket)
    # msgspec's errors are ValueErrors, and so is the error of a port that is no number.
    except (OSError, ValueError, RecursionError):
        return None
    return found


def _is_alive(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # The process exists and belongs to another user.
        return True
    return True
