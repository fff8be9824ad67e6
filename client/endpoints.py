"""Where the daemon is: the file in which a running one says so, else the configured ports."""

import os
from pathlib import Path
from typing import Literal, get_args

import msgspec

from ..config import Config, data_path
from ..whole_file import write_whole

Socket = Literal["ingest", "decodes", "control"]
SOCKETS: tuple[Socket, ...] = get_args(Socket)

# A daemon that listens everywhere is reached from its own machine through loopback.
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "*": "127.0.0.1", "::": "::1"}


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """A daemon's sockets as ZeroMQ names them, `tcp://host:port`; `pid` is its process, where known."""

    ingest: str
    decodes: str
    control: str
    pid: int | None = None

    def address(self, socket: Socket) -> tuple[str, int]:
        """Return the host and port to connect to."""
        host, _, port = getattr(self, socket).removeprefix("tcp://").rpartition(":")
        host = host.strip("[]")
        return _reachable(host), int(port)


def endpoints(config: Config) -> Endpoints:
    """Return where the daemon of this data folder listens, or where the settings say that one would."""
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
    """Return the file in which the running daemon says where it listens."""
    return data_path(config) / "serve.json"


def write_endpoints(config: Config, listening: Endpoints) -> Path:
    """Say where this daemon listens; readers see the whole file or none."""
    path = endpoints_path(config)
    with write_whole(path) as unfinished_path:
        unfinished_path.write_bytes(msgspec.json.encode(listening) + b"\n")
    return path


def remove_endpoints(config: Config, pid: int) -> None:
    """Take the file away if it is still that of process `pid`."""
    running = _read(endpoints_path(config))
    if running is not None and running.pid == pid:
        endpoints_path(config).unlink(missing_ok=True)


def _reachable(host: str) -> str:
    return EVERYWHERE[host] if host in EVERYWHERE else host


def _read(path: Path) -> Endpoints | None:
    """Return the file's endpoints; None without a file, or if no braind wrote it. A new daemon replaces such a file."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Endpoints)
        for socket in SOCKETS:
            found.address(socket)
    except (OSError, ValueError):  # msgspec's errors are ValueErrors, and so is a port that is no number
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
        # Another user's process: it is there.
        return True
    return True
