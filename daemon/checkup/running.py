"""Asks whether a daemon uses the data folder now."""

from dataclasses import dataclass

from ...client.connection import NoDaemonError, RefusedByDaemon
from ...client.control import ControlClient
from ...client.endpoints import endpoints, is_served
from ...client.wire import Status
from ...config import Config


@dataclass(frozen=True)
class RunningDaemon:
    """The daemon that uses the data folder now; `status` is None if it does not answer."""

    status: Status | None


def daemon_of(config: Config) -> RunningDaemon | None:
    """Return the daemon that uses the data folder; None if no daemon does."""
    if not is_served(config):
        return None
    try:
        with ControlClient(*endpoints(config).address("control")) as control:
            status = control.status()
    except (NoDaemonError, RefusedByDaemon):
        return RunningDaemon(None)
    return RunningDaemon(status)
