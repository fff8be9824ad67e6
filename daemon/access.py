"""Who may reach the daemon: only programs on the same machine, and only one daemon a data folder."""

import fcntl
import ipaddress
import os
import time
from pathlib import Path

from ..errors import BraindError

LAST_BREATH_S = 5.0


class AccessError(BraindError):
    """An address that must not be bound, or a data folder that another daemon is using."""

    code = "access"


def check_loopback(host: str) -> None:
    """Refuse to listen where other machines can connect.

    Raises
    ------
    AccessError
        `code` loopback, unless `host` is a numeric loopback address.
    """
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        # A name resolves to whatever a hosts file or a name server says at that moment.
        loopback = False
    if not loopback:
        raise AccessError(
            f"[serve] host = {host!r} is no loopback address, and anybody who can reach it could send volumes, watch "
            "decodes and stop the daemon: give a numeric loopback address, such as 127.0.0.1; for other machines "
            "tunnel its ports through SSH",
            code="loopback",
        )


def lock_data_path(data_path: Path) -> int:
    """Keep other daemons off a data folder for as long as the returned file descriptor is open, here or in a child.

    Raises
    ------
    AccessError
        `code` in_use, naming the daemon that holds the folder.
    """
    descriptor = os.open(data_path / "serve.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    # The decoder of a daemon that was killed holds the lock for the moment it needs to notice.
    give_up_s = time.monotonic() + LAST_BREATH_S
    while not _locked(descriptor):
        pid = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        if _is_alive(pid) or time.monotonic() > give_up_s:
            os.close(descriptor)
            raise AccessError(
                f"{data_path}: another braind serve (process {pid or 'unknown'}) uses this folder; stop it, or give "
                "this one another folder in [paths] data",
                code="in_use",
            )
        time.sleep(0.05)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: str) -> bool:
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # Another user's process: it is there.
        return True
    return True
