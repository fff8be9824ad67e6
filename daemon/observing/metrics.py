"""What the daemon counts and times, as Prometheus metrics.

The event loop adds to counters and histograms: each addition takes microseconds. Another thread makes the page. No page
reads a journal, so no scrape waits for the disk of the journals or makes an ack wait.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

STATES = ("recording", "starting", "ready", "paused", "stopping")
STAGES = ("scores", "xz", "xzc", "refined")
STEPS = ("ack", "decoder", "ridge", "scores", "xz", "xzc")
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The counters and histograms that the daemon's event loop adds to."""

    def __init__(self) -> None:
        # Process-wide: without it every counter has a second series with the time of its making.
        disable_created_metrics()
        self.registry = registry = CollectorRegistry()
        self.acked = Counter("braind_volumes_acked", "Volumes acked for the first time.", registry=registry)
        self.last_ack = Gauge(
            "braind_last_ack_timestamp_seconds", "Unix time of the newest volume's ack; 0 before it.", registry=registry
        )
        self.refused = Counter(
            "braind_messages_refused", "Messages refused, by socket and code.", ["socket", "code"], registry=registry
        )
        self.published = Counter(
            "braind_decodes_published", "Decodes sent to the viewers, by stage.", ["stage"], registry=registry
        )
        self.settled = Counter(
            "braind_volumes_settled", "Volumes whose outcome is known, by outcome.", ["outcome"], registry=registry
        )
        self.latency = Histogram(
            "braind_latency_seconds", "Time from a volume's arrival to the end of a step.", ["step"],
            buckets=BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.commit = Histogram(
            "braind_journal_commit_seconds", "Time to commit a volume to the journal.",
            buckets=BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "braind_volumes_waiting", "The newest session's volumes that wait; NaN: not known.", registry=registry
        )
        # A series that exists from the start shows its first increase.
        for stage in STAGES:
            self.published.labels(stage)
        for outcome in ("decoded", "skipped", "failed"):
            self.settled.labels(outcome)
        for step in STEPS:
            self.latency.labels(step)

    def note_ack(self, ack_s: float) -> None:
        """Count a new volume's ack and its latency in seconds."""
        self.acked.inc()
        self.last_ack.set(time.time())
        self.latency.labels("ack").observe(ack_s)

    def note_timings(self, timings_s: dict[str, float]) -> None:
        """Add a decoded volume's latencies in seconds, by step. The ack's latency is already counted."""
        for step in STEPS[1:]:
            if step in timings_s:
                self.latency.labels(step).observe(timings_s[step])

    def set_waiting(self, n_waiting: int | None) -> None:
        """Set how many volumes wait; None: not known."""
        self.waiting.set(float("nan") if n_waiting is None else n_waiting)

    def page(self) -> bytes:
        """Return the page in Prometheus' text format."""
        return generate_latest(self.registry)


class Facts(NamedTuple):
    """The daemon's facts when a page is made."""

    state: str
    last_seq: int
    decoder_restarts: int
    version: str
    stalled_s: float
    """Seconds since the newest volume of a run whose volumes stopped; 0 if none stopped."""


class FactsCollector(Collector):
    """Makes metrics of the daemon's facts and of the journals' disk when a page is made."""

    def __init__(self, facts: Callable[[], Facts], journals_path: Path) -> None:
        self._facts, self._journals_path = facts, journals_path

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        facts = self._facts()
        states = GaugeMetricFamily("braind_state", "1 for the daemon's state, 0 for the others.", labels=["state"])
        for state in STATES:
            states.add_metric([state], float(state == facts.state))
        yield states
        build = GaugeMetricFamily("braind_build_info", "braind's version.", labels=["version"])
        build.add_metric([facts.version], 1)
        yield build
        yield GaugeMetricFamily(
            "braind_stalled_seconds", "Time since the run's newest volume if volumes stopped, else 0.", facts.stalled_s
        )
        yield GaugeMetricFamily("braind_last_seq", "Number of the newest published message.", facts.last_seq)
        yield CounterMetricFamily("braind_decoder_restarts", "Deaths of the decoder process.", facts.decoder_restarts)
        yield GaugeMetricFamily(
            "braind_journal_disk_free_bytes", "Free space on the journals' disk; NaN: not known.", self._free_bytes()
        )

    def _free_bytes(self) -> float:
        try:
            disk = os.statvfs(self._journals_path)
        except OSError:
            return float("nan")
        return float(disk.f_bavail * disk.f_frsize)


def add_process_metrics(registry: CollectorRegistry, decoder_pid: Callable[[], int | None]) -> None:
    """Add memory, descriptors and CPU time: of the front as `process_…`, of the decoder as `braind_decoder_process_…`.

    Parameters
    ----------
    registry : CollectorRegistry
    decoder_pid : function
        Returns the decoder's process id; None while no decoder runs.
    """
    ProcessCollector(registry=registry)
    # No process has the number -1: without a decoder there are no samples.
    ProcessCollector(namespace="braind_decoder", pid=lambda: decoder_pid() or -1, registry=registry)
