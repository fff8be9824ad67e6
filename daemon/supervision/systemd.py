"""What systemd hears of the daemon: sd_notify's datagrams, if NOTIFY_SOCKET names a socket."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, MutableMapping

from ..logs import Outage

STATUS_S = 5.0

logger = logging.getLogger(__name__)


class ServiceManager:
    """Notifies systemd of readiness, state and life. Without NOTIFY_SOCKET it does nothing.

    The variables are taken out of the environment: they belong to this process and not to its children.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        address = environment.pop("NOTIFY_SOCKET", "")
        watchdog_us = environment.pop("WATCHDOG_USEC", "")
        watchdog_pid = environment.pop("WATCHDOG_PID", str(os.getpid()))
        is_watched = watchdog_us.isdigit() and int(watchdog_us) > 0 and watchdog_pid == str(os.getpid())
        self._watchdog_s = int(watchdog_us) / 1e6 if is_watched else None
        self._address = "\0" + address[1:] if address.startswith("@") else address
        """An address that begins with a zero byte is a name of Linux's abstract namespace, and no file."""
        self._sending = Outage(logger, "systemd hears nothing of this daemon")

    def notify(self, *assignments: str) -> None:
        """Send assignments such as `READY=1`. A failure is logged: the daemon serves without systemd, too."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as datagrams:
                datagrams.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            self._sending.failed(error)
        else:
            self._sending.passed()

    async def beat(self, status: Callable[[], str]) -> None:
        """Send the status and a sign of life, for ever: in half the time after which systemd takes them for missing.

        The front's own loop runs this, so a front that is stuck falls silent.
        """
        while True:
            alive = () if self._watchdog_s is None else ("WATCHDOG=1",)
            self.notify(*alive, f"STATUS={status()}")
            await asyncio.sleep(STATUS_S if self._watchdog_s is None else self._watchdog_s / 2)
