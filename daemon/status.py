"""Where the daemon is: what `Status` and `Heartbeat` say."""

import os
import time
from collections import deque

from .. import __version__
from ..client.wire import Calibration, Decode, Heartbeat, Status
from ..models.weights import Weights
from .database import JournalError
from .sessions import Sessions

N_LATENCIES = 1000


class Standing:
    """What is known about the daemon beside what its journals say."""

    def __init__(self, sessions: Sessions, weights: Weights, *, preset: str, policy: str) -> None:
        self._sessions, self._weights, self._policy = sessions, weights, policy
        self._started_s = time.monotonic()
        self._latencies_s: deque[float] = deque(maxlen=N_LATENCIES)
        self.preset = preset
        self.engine = ""
        self.ldm = weights.card.ldm
        self.session, self.run = "", ""
        self.simulated = weights.card.simulated
        self.decoder_ready = False
        self.paused = False
        self.stopping = False
        self.n_refused = 0
        self.decoder_restarts = 0
        self.last_seq = 0
        self.calibration: Calibration | None = None
        self.clock_offset_s: float | None = None
        self.clock_uncertainty_s: float | None = None

    def use(self, weights: Weights) -> None:
        """Take other weights' facts; no decoder is warmed up with them yet."""
        self._weights, self.ldm = weights, weights.card.ldm
        self.simulated = weights.card.simulated
        self.decoder_ready = False

    @property
    def state(self) -> str:
        """Return recording, starting, ready, paused or stopping."""
        if self.stopping:
            return "stopping"
        if self._weights.is_blank:
            return "recording"
        if not self.decoder_ready:
            return "starting"
        return "paused" if self.paused else "ready"

    def note_decode(self, decode: Decode) -> None:
        """Take a finished volume's latency into the percentiles."""
        self._latencies_s.append(max(decode.timings_s.values(), default=0.0))

    def status(self) -> Status:
        """Return the answer to `StatusRequest`."""
        counts = self._counts()
        journal = self._sessions.find(self.session)
        latencies_s = sorted(self._latencies_s)
        return Status(
            state=self.state,
            pid=os.getpid(),
            version=__version__,
            uptime_s=round(time.monotonic() - self._started_s, 3),
            subject=self._weights.card.subject,
            weights=self._weights.fingerprint,
            ldm=self.ldm,
            engine=self.engine,
            preset=self.preset,
            policy=self._policy,
            simulated=self.simulated,
            journal=str(journal.path) if journal else "",
            session=self.session,
            run=self.run,
            n_acked=sum(counts.values()),
            n_decoded=counts.get("decoded", 0),
            n_skipped=_n_skipped(counts),
            n_refused=self.n_refused,
            n_waiting=self._n_waiting(),
            decoder_restarts=self.decoder_restarts,
            last_seq=self.last_seq,
            latency_p50_s=_percentile(latencies_s, 0.50),
            latency_p99_s=_percentile(latencies_s, 0.99),
            clock_offset_s=self.clock_offset_s,
            clock_uncertainty_s=self.clock_uncertainty_s,
        )

    def heartbeat(self) -> Heartbeat:
        """Return what viewers hear once a second."""
        counts = self._counts()
        return Heartbeat(
            last_seq=self.last_seq,
            state=self.state,
            session=self.session,
            run=self.run,
            subject=self._weights.card.subject,
            simulated=self.simulated,
            n_acked=sum(counts.values()),
            n_decoded=counts.get("decoded", 0),
            n_skipped=_n_skipped(counts),
            n_refused=self.n_refused,
            calibration=self.calibration,
            clock_offset_s=self.clock_offset_s,
            clock_uncertainty_s=self.clock_uncertainty_s,
        )

    def _counts(self) -> dict[str, int]:
        """Count the session's volumes by state; a journal that cannot be read just now has none."""
        journal = self._sessions.find(self.session)
        try:
            return journal.counts() if journal else {}
        except JournalError:
            return {}

    def _n_waiting(self) -> int:
        try:
            return self._sessions.n_waiting()
        except JournalError:
            return 0


def _n_skipped(counts: dict[str, int]) -> int:
    return counts.get("skipped", 0) + counts.get("failed", 0)


def _percentile(ascending: list[float], share: float) -> float | None:
    return ascending[min(int(share * len(ascending)), len(ascending) - 1)] if ascending else None
