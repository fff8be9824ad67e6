"""Send a data set's held-out trials to the daemon as a scanner would, and measure the decodes that come back.

1. Open the run: the daemon says where to go on.  2. Prepare the next volume.  3. Wait for its time.
4. Send the onsets before it.  5. Send it.  6. Count the answers.  7. End the run.
8. Wait for the pictures of the acked volumes.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ..connection import RefusedByDaemon
from ..names import wrong_name
from ..scanner import ScannerClient
from ..subscriber import DecodeSubscriber
from ..wire import Ack, Refused
from .decode_watch import DecodeWatch
from .plan import ReplayPlan
from .runs import ReplayError, ReplayRun, ReplayTrial, ReplayVolume, beta_runs, bold_runs, foils, picture_png

if TYPE_CHECKING:
    from ..datasets.nsd.tree import NsdTree

SETTLE_S = 60.0
"""A replay ends when no decode has come for so long after the last volume."""
BOLD_SETTLE_S = 10.0
"""The same for BOLD, whose number of decodes is unknown."""


@dataclass
class ReplayProgress:
    """How far a replay is, in numbers of volumes."""

    session: str
    n_planned: int = 0
    """Volumes of all runs, at most the plan's `max_volumes`."""
    n_resumed: int = 0
    """Volumes that the daemon had when the run was opened."""
    n_sent: int = 0
    n_acked: int = 0
    n_duplicates: int = 0
    n_refused: int = 0
    n_decoded: int = 0
    n_skipped: int = 0
    waits_for: str = ""
    """What the replay waits for now; empty while it sends."""
    refusals: dict[str, str] = field(default_factory=dict)
    """Code → the first sentence with that code."""


class ReplaySummary(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of volumes sent, acked, refused, decoded and skipped, and the latency.

    Latency is the time from a volume's sending to the arrival of its last picture at this program.
    """

    session: str
    n_resumed: int
    n_sent: int
    n_acked: int
    n_duplicates: int
    n_refused: int
    n_decoded: int
    n_skipped: int
    n_outstanding: int
    """Acked betas that were neither decoded nor skipped in time; 0 for BOLD, where not every volume has a decode."""
    latency_p50_s: float | None
    latency_p99_s: float | None
    wall_s: float
    refusals: dict[str, str]

    def text(self) -> str:
        """Return the summary as lines of words and numbers."""
        resumed = f", {self.n_resumed} had been acked before" if self.n_resumed else ""
        outstanding = f", {self.n_outstanding} neither" if self.n_outstanding else ""
        lines = [
            f"session  {self.session}",
            f"volumes  {self.n_sent} sent in {self.wall_s:.1f} s, {self.n_acked} acked "
            f"({self.n_duplicates} duplicates), {self.n_refused} refused{resumed}",
            f"decodes  {self.n_decoded} decoded, {self.n_skipped} skipped{outstanding}",
        ]
        if self.latency_p50_s is not None and self.latency_p99_s is not None:
            lines.append(f"latency  median {self.latency_p50_s:.3f} s, p99 {self.latency_p99_s:.3f} s")
        return "\n".join(lines)


def replay(
    tree: "NsdTree",
    plan: ReplayPlan,
    client: ScannerClient,
    subscriber: DecodeSubscriber | None = None,
    *,
    session_id: str = "1",
    progress: Callable[[ReplayProgress], None] | None = None,
    settle_s: float = SETTLE_S,
) -> ReplaySummary:
    """Stream a plan's trials; continue where an earlier replay of this plan and `session_id` stopped.

    Parameters
    ----------
    subscriber : hears the decodes, which are counted; None counts none
    session_id : distinguishes replays of the same trials
    progress : called with the counts after each volume and while waiting for decodes
    settle_s : how long to wait after the last volume while no decode comes

    Raises
    ------
    RefusedByDaemon
        A run is refused. A refused volume is counted and the next volume sent.
    NoDaemonError, ReplayError, NsdError
    """
    began_s = time.monotonic()
    name = f"{plan.name}-{session_id}"
    if problem := wrong_name("session", name):
        raise ReplayError(problem)
    read_runs = bold_runs if plan.kind == "bold" else beta_runs
    counts = ReplayProgress(name)
    runs = list(read_runs(tree, plan.subject, name, plan.session, plan.repeats))
    n_volumes = sum(run.n_volumes for run in runs)
    counts.n_planned = n_volumes if plan.max_volumes is None else min(n_volumes, plan.max_volumes)
    with DecodeWatch(subscriber, name) as watch:
        sender = _Sender(tree, client, watch, counts, plan, progress or (lambda counts: None))
        for run in runs:
            sender.send_run(run)
            if sender.n_left == 0:
                break
        if plan.kind == "beta":
            watch.wait_until_settled(counts.n_acked, settle_s, lambda: sender.report_waiting(settle_s))
        else:
            settle_s = min(settle_s, BOLD_SETTLE_S)
            watch.wait_until_settled(None, settle_s, lambda: sender.report_waiting(settle_s))
        latencies_s = watch.latencies_s()
    n_settled = counts.n_decoded + counts.n_skipped
    expects_decodes = subscriber is not None and plan.kind == "beta"
    return ReplaySummary(
        session=name,
        n_resumed=counts.n_resumed,
        n_sent=counts.n_sent,
        n_acked=counts.n_acked,
        n_duplicates=counts.n_duplicates,
        n_refused=counts.n_refused,
        n_decoded=counts.n_decoded,
        n_skipped=counts.n_skipped,
        n_outstanding=max(0, counts.n_acked - n_settled) if expects_decodes else 0,
        latency_p50_s=float(np.percentile(latencies_s, 50)) if latencies_s else None,
        latency_p99_s=float(np.percentile(latencies_s, 99)) if latencies_s else None,
        wall_s=time.monotonic() - began_s,
        refusals=counts.refusals,
    )


class _Sender:
    """Sends runs and counts the answers."""

    def __init__(
        self,
        tree: "NsdTree",
        client: ScannerClient,
        watch: DecodeWatch,
        counts: ReplayProgress,
        plan: ReplayPlan,
        progress: Callable[[ReplayProgress], None],
    ) -> None:
        self.tree, self.client, self.watch = tree, client, watch
        self.counts, self.kind, self.progress = counts, plan.kind, progress
        self.n_left = counts.n_planned
        """Volumes of the runs that are not opened yet."""
        self.pace = _Pace(plan.pace_s)
        self.foil_of = foils(tree, plan.subject) if plan.with_foils else {}

    def send_run(self, run: ReplayRun) -> None:
        """Send the volumes of a run that the daemon does not have, up to `n_planned` in all runs."""
        counts, hello = self.counts, run.hello
        if run.n_volumes == 0:
            # No picture has its last repeat in this session, but later means need its trials.
            deque(run.volumes_from(0), maxlen=0)
            return
        self._report(f"the daemon to open run {hello.run}")
        next_index = min(self.client.open_run(hello).next_index, run.n_volumes)
        n_wanted = min(run.n_volumes, self.n_left)
        self.n_left -= n_wanted
        counts.n_resumed += min(next_index, n_wanted)
        events = list(run.events)
        for volume in run.volumes_from(next_index):
            if volume.index >= n_wanted:
                break
            png = self._seen(volume.shown)
            self.pace.wait()
            while events and events[0].onset_s < (volume.index + 1) * hello.tr_s:
                event = events.pop(0)
                self.client.send_event(
                    event.event, event.onset_s, seen_png=self._seen(event.shown), **self._shown_fields(event.shown)
                )
            self._send(run, volume, png)
        self._report("the acks of the last volumes")
        self._count(self.client.wait_answers())
        if n_wanted == run.n_volumes:
            self._end(run)

    def report_waiting(self, settle_s: float) -> None:
        """Report the decodes that the replay waits for after its last volume."""
        longest = f"until none has come for {settle_s:g} s"
        if self.kind == "bold":
            self._report(f"the last trials' decodes, {longest}")
            return
        n_waiting = self.counts.n_acked - self.watch.n_decoded - self.watch.n_skipped
        self._report(f"{n_waiting} decode{'s' * (n_waiting != 1)}, {longest}" if n_waiting > 0 else "")

    def _report(self, waits_for: str = "") -> None:
        """Update the counts of decodes and report the progress."""
        self.counts.n_decoded, self.counts.n_skipped = self.watch.n_decoded, self.watch.n_skipped
        self.counts.waits_for = waits_for
        self.progress(self.counts)

    def _send(self, run: ReplayRun, volume: ReplayVolume, png: bytes | None) -> None:
        self.watch.sent(run.hello.run, volume.index)
        self.counts.n_sent += 1
        self._report(f"the ack of run {run.hello.run}, volume {volume.index}")
        answers = self.client.send_nowait(
            volume.voxels,
            volume.index,
            seen_png=png,
            scale=volume.scale,
            n_averaged=volume.n_averaged,
            **self._shown_fields(volume.shown),
        )
        if self.pace.pace_s is not None:
            answers += self.client.wait_answers()
        self._count(answers)
        self._report()

    def _count(self, answers: list[Ack | Refused]) -> None:
        for answer in answers:
            if isinstance(answer, Refused):
                self._count_refusal(answer)
            else:
                self.counts.n_acked += 1
                self.counts.n_duplicates += answer.duplicate

    def _count_refusal(self, refused: Refused) -> None:
        self.counts.n_refused += 1
        self.counts.refusals.setdefault(refused.code, refused.sentence)

    def _end(self, run: ReplayRun) -> None:
        try:
            self.client.end_run(run.n_volumes)
        except RefusedByDaemon as error:
            # The refused volumes are missing: that is counted already, and the next run may succeed.
            self.counts.refusals.setdefault(error.refused.code, error.refused.sentence)

    def _shown_fields(self, shown: ReplayTrial | None) -> dict[str, Any]:
        if shown is None:
            return {}
        foil = self.foil_of.get(shown.nsd_id)
        return shown._asdict() | ({} if foil is None else {"right": shown.nsd_id, "foil": foil})

    def _seen(self, shown: ReplayTrial | None) -> bytes | None:
        return None if shown is None else picture_png(self.tree, shown.nsd_id)


class _Pace:
    """Waits until the next volume is due, one per `pace_s` seconds; does not catch up after a delay."""

    def __init__(self, pace_s: float | None) -> None:
        self.pace_s = pace_s
        self._due_s = time.monotonic()

    def wait(self) -> None:
        if self.pace_s is None:
            return
        time.sleep(max(0.0, self._due_s - time.monotonic()))
        late_s = time.monotonic() - self._due_s
        self._due_s += self.pace_s if late_s < self.pace_s else late_s + self.pace_s
