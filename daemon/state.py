"""The daemon's state, which `Status` and `Heartbeat` report."""

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import TypeVar

from .. import __version__
from ..choices import Policy
from ..client.wire import Calibration, Decode, Heartbeat, Mark, Status
from ..models.weights.weights import Weights
from . import link
from .access.connections import Connections
from .journal.database import JournalError
from .logs import Outage
from .observing.metrics import Metrics
from .preflight import no_pictures
from .sessions import Sessions
from .signal_check import SignalCheck
from .stall import Stall

N_LATENCIES = 1000
N_CALIBRATIONS = 500
N_MARKS = 8
"""The newest marks that each heartbeat tells."""

Read = TypeVar("Read")

logger = logging.getLogger(__name__)


class DaemonState:
    """Facts about the running daemon. The journals are read for the numbers of volumes."""

    def __init__(self, sessions: Sessions, weights: Weights, *, preset: str, policy: Policy) -> None:
        self._sessions, self._weights, self.policy = sessions, weights, policy
        self._started_s = time.monotonic()
        self._latencies_s: deque[float] = deque(maxlen=N_LATENCIES)
        self._acks_s: deque[float] = deque(maxlen=N_LATENCIES)
        self._counting = Outage(logger, "the session's volumes cannot be counted")
        self._counting_waiting = Outage(logger, "the volumes that wait cannot be counted")
        self.preset = preset
        self.engine = ""
        self.ldm = weights.card.ldm
        self.session, self.run = "", ""
        self.simulated = weights.card.simulated
        self.decoder_ready = False
        self.paused = False
        self.stopping = False
        self.n_refused = 0
        self.refused_keys: Counter[str] = Counter()
        """Refused connections and messages by reason; `access.audit` describes the reasons."""
        self.metrics = Metrics()
        self.storage_problem = ""
        """Why the newest volume could not be committed; "" if it was."""
        self.beat_s = time.monotonic()
        """Monotonic time of the event loop's last beat."""
        self.stalled_s: float | None = None
        """The stall as the newest heartbeat told it, for other threads: `stall` belongs to the event loop."""
        self._restarts_when_ready = 0
        self.decoder_restarts = 0
        self._restarts_of_session: Counter[str] = Counter()
        self.crashed_volume: link.Taking | None = None
        """The volume that the decoder was decoding when it last died."""
        self.last_seq = 0
        self.calibrations: deque[Calibration] = deque(maxlen=N_CALIBRATIONS)
        self.marks: deque[Mark] = deque(maxlen=N_MARKS)
        self.connections = Connections()
        self.clock_offset_s: float | None = None
        self.clock_uncertainty_s: float | None = None
        self.stall = Stall()
        self.signal_check = SignalCheck()

    def use(self, weights: Weights) -> None:
        """Take over the facts of other weights. No decoder is ready for these weights yet."""
        self._weights, self.ldm = weights, weights.card.ldm
        self.simulated = weights.card.simulated
        self.expect_decoder()

    def expect_decoder(self) -> None:
        """Note that a new decoder is loaded, in place of one that did not die."""
        self._restarts_when_ready, self.decoder_ready = self.decoder_restarts, False

    def note_ready(self, engine: str, ldm: str, preset: str) -> None:
        """Note that a decoder is warmed up, and with what it decodes."""
        self.engine, self.ldm, self.preset = engine, ldm, preset
        self._restarts_when_ready, self.decoder_ready = self.decoder_restarts, True

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

    @property
    def no_pictures(self) -> str:
        """Return why no picture is made; "" if pictures are made."""
        return no_pictures(self._weights)

    def words(self) -> str:
        """Return the state in one line, for people."""
        run = f", run {self.run} of session {self.session}" if self.run else ""
        stalled_s = self.stall.seconds()
        stalled = f", no volume for {stalled_s:.1f} s" if stalled_s is not None else ""
        return f"{self.state}{run}{stalled}"

    @property
    def decoder_is_down(self) -> bool:
        """Return whether the decoder died and no new one is ready."""
        return self.state == "starting" and self.decoder_restarts > self._restarts_when_ready

    def note_death(self) -> None:
        """Count a death of the decoder."""
        self.decoder_ready, self.crashed_volume = False, None
        self.decoder_restarts += 1
        self._restarts_of_session[self.session] += 1

    def note_ack(self, ack_s: float) -> None:
        """Count a new volume that was acked after `ack_s` seconds."""
        self.storage_problem = ""
        self.metrics.note_ack(ack_s)
        self._acks_s.append(ack_s)

    def ack_percentiles_s(self) -> tuple[float | None, float | None]:
        """Return the median and the 99th percentile of the time to an ack, s; None before the first volume."""
        acks_s = sorted(self._acks_s)
        return _percentile(acks_s, 0.50), _percentile(acks_s, 0.99)

    def note_refused(self, code: str, sentence: str) -> None:
        """Count a refused message of the ingest socket."""
        self.n_refused += 1
        self.metrics.refused.labels("ingest", code).inc()
        if code == "storage":
            self.storage_problem = sentence

    def note_decode(self, decode: Decode) -> None:
        """Add a finished volume's latency to the percentiles."""
        self.metrics.note_timings(decode.timings_s)
        if decode.timings_s:
            self._latencies_s.append(max(decode.timings_s.values()))

    def status(self) -> Status:
        """Return the answer to `StatusRequest`."""
        counts = self._counts()
        journal_path = self._sessions.path(self.session) if counts is not None and self.session else ""
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
            policy=self.policy,
            simulated=self.simulated,
            journal=str(journal_path),
            session=self.session,
            run=self.run,
            n_acked=_n_in(counts),
            n_decoded=_n_in(counts, "decoded"),
            n_skipped=_n_in(counts, "skipped", "failed", "late"),
            n_refused=self.n_refused,
            n_waiting=self._n_waiting(counts),
            decoder_restarts=self.decoder_restarts,
            last_seq=self.last_seq,
            latency_p50_s=_percentile(latencies_s, 0.50),
            latency_p99_s=_percentile(latencies_s, 0.99),
            clock_offset_s=self.clock_offset_s,
            clock_uncertainty_s=self.clock_uncertainty_s,
            durability=self._sessions.durability,
            stalled_s=self.stall.seconds(),
            n_without_signal=self.signal_check.n_without_signal,
            no_pictures=self.no_pictures,
        )

    def heartbeat(self) -> Heartbeat:
        """Return the message that viewers get once a second."""
        counts = self._counts()
        self.beat_s = time.monotonic()
        self.stalled_s = self.stall.seconds()
        self.metrics.set_waiting(_n_in(counts, "waiting"))
        return Heartbeat(
            last_seq=self.last_seq,
            state=self.state,
            session=self.session,
            run=self.run,
            subject=self._weights.card.subject,
            simulated=self.simulated,
            n_acked=_n_in(counts),
            n_decoded=_n_in(counts, "decoded"),
            n_skipped=_n_in(counts, "skipped", "failed", "late"),
            n_refused=self.n_refused,
            calibration=self.calibrations[-1] if self.calibrations else None,
            clock_offset_s=self.clock_offset_s,
            clock_uncertainty_s=self.clock_uncertainty_s,
            durability=self._sessions.durability,
            stalled_s=self.stalled_s,
            n_without_signal=self.signal_check.n_without_signal,
            no_pictures=self.no_pictures,
            n_waiting=self._n_waiting(counts),
            sent_s=time.time(),
            session_restarts=self._restarts_of_session[self.session],
            is_decoder_down=self.decoder_is_down,
            crashed_run=self.crashed_volume.run if self.crashed_volume else "",
            crashed_index=self.crashed_volume.index if self.crashed_volume else None,
            marks=tuple(self.marks),
        )

    def _counts(self) -> dict[str, int] | None:
        """Count the session's volumes by state; None when its journal cannot be read now."""
        if not self.session:
            return {}

        def read() -> dict[str, int] | None:
            journal = self._sessions.find(self.session)
            # A damaged journal was closed and logged by `Sessions`.
            return journal.counts() if journal else None

        return _read(read, self._counting)

    def _n_waiting(self, counts: dict[str, int] | None) -> int | None:
        """Count the volumes of all sessions that wait; None when a journal cannot be read now.

        `counts` are of the session. While they are unknown nothing is counted: counting closes a journal that it cannot
        read, and the session's may be readable again soon.
        """
        if counts is None:
            return None

        def read() -> int | None:
            n_waiting = self._sessions.n_waiting()
            # Counting may find the session's journal damaged, and closes it then.
            return None if self.session and not self._sessions.find(self.session) else n_waiting

        return _read(read, self._counting_waiting)


def _read(read: Callable[[], Read], outage: Outage) -> Read | None:
    """Return what `read` returns; None when a journal cannot be read now."""
    try:
        found = read()
    except JournalError as error:
        outage.failed(error)
        return None
    outage.passed()
    return found


def _n_in(counts: dict[str, int] | None, *states: str) -> int | None:
    """Return the number of volumes in these states (none named: in any state); None if the counts are unknown."""
    if counts is None:
        return None
    return sum(n for state, n in counts.items() if not states or state in states)


def _percentile(ascending: list[float], share: float) -> float | None:
    return ascending[min(int(share * len(ascending)), len(ascending) - 1)] if ascending else None
