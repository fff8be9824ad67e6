"""The daemon's two pages: /metrics for Prometheus and /healthz for whatever restarts or watches the daemon."""

import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from .. import __version__
from ..config import ServeConfig
from .observing.health import health
from .observing.http import Page, PageServer
from .observing.metrics import Facts, FactsCollector, add_process_metrics
from .state import DaemonState

SHORTEST_AGE_S = 0.1
"""A page of metrics is sent again for so long: making one takes milliseconds, in which an ack may wait."""


class Pages:
    """Makes the pages from the daemon's state. The state's journals are not read.

    Parameters
    ----------
    state : DaemonState
    journals_path : Path
        Folder whose disk's free space is told.
    decoder_pid : function
        Returns the decoder's process id; None while no decoder runs.
    """

    def __init__(self, state: DaemonState, journals_path: Path, decoder_pid: Callable[[], int | None]) -> None:
        self._state = state
        self._server: PageServer | None = None
        self._made_s, self._metrics = -SHORTEST_AGE_S, b""
        state.metrics.registry.register(FactsCollector(self._facts, journals_path))
        add_process_metrics(state.metrics.registry, decoder_pid)

    def serve(self, settings: ServeConfig) -> str:
        """Serve the pages if the settings ask for them; return their address, or "". Raises SocketError."""
        if not settings.metrics:
            return ""
        self._server = PageServer(settings.metrics_port, {"/metrics": self.metrics, "/healthz": self.healthz})
        return self._server.address

    def close(self) -> None:
        """Stop serving."""
        if self._server:
            self._server.close()

    def metrics(self) -> Page:
        """Return the page of metrics."""
        now_s = time.monotonic()
        if now_s - self._made_s >= SHORTEST_AGE_S:
            self._metrics, self._made_s = self._state.metrics.page(), now_s
        return Page(200, CONTENT_TYPE_PLAIN_0_0_4, self._metrics)

    def healthz(self) -> Page:
        """Return status 200 if the daemon does its work, else 503, with the state and the problem as JSON."""
        state = self._state
        found = health(
            state.state,
            decoder_is_down=state.decoder_is_down,
            storage_problem=state.storage_problem,
            silence_s=time.monotonic() - state.beat_s,
        )
        return Page(503 if found.problem else 200, "application/json", found.body())

    def _facts(self) -> Facts:
        state = self._state
        return Facts(state.state, state.last_seq, state.decoder_restarts, __version__, state.stalled_s or 0.0)
