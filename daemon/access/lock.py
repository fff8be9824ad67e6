"""One data folder has one daemon."""

import fcntl
import os
import time
from pathlib import Path

from .error import AccessError

LAST_BREATH_S = 5.0


def lock_data_path(data_path: Path) -> int:
    """Lock a data folder while the returned file descriptor is open, in this process or in a child.

    Raises
    ------
    AccessError
        `code` in_use, with the process id of the daemon that holds the folder.
    """
    descriptor = os.open(data_path / "serve.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    # After a daemon was killed, its decoder holds the lock until it sees the end of its stdin.
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
        # The process belongs to another user, so it is alive.
        return True
    return True
