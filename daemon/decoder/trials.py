"""Turns journaled volumes into single-trial responses in % signal change, the input of the ridge maps.

A beta volume is a response. BOLD volumes go to an estimator, which gives provisional and final estimates of trials.
After a crash a new estimator gets the journal's onsets and volumes in the same order, so its estimates are equal. The
journal's volumes and its published gaps determine this order.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...arrays import Array
from ...client.wire import Event, Gap, Hello, Skipped, VolumeSignal
from ...errors import BraindError
from ...models.bold.estimator import CausalEstimator, Estimate
from ...models.weights.weights import Weights
from .. import link
from ..journal.database import JournalError, RecordError
from ..journal.journal import Journal
from ..journal.records import NO_EVENT, Pair, Pending, Shown, VolumeState
from .order import Held, Hole, VolumeOrder
from .outbox import Outbox
from .run_journal import RunJournal
from .signals import UnsentSignals, roi_means, roi_positions

logger = logging.getLogger("braind.daemon.decoder")


@dataclass(frozen=True)
class Trial:
    """One trial's response, and its sender's facts about the trial.

    `voxels` has shape (n_voxels,), float32, % signal change. `seen` is a PNG. `event` numbers a BOLD run's onset. A
    provisional response (`is_final` false) changes at later volumes. `wire.Decode` describes the other fields.
    """

    voxels: Array
    event: int
    trial: int | None
    nsd_id: int | None
    n_averaged: int
    seen: bytes | None
    pair: Pair | None = None
    is_final: bool = True
    since_onset_s: float | None = None
    uncertainty: float | None = None
    spike: bool = False
    misaligned: bool = False
    label: str | None = None
    n_without_signal: int | None = None
    signals: tuple[VolumeSignal, ...] = ()
    stimulus: str | None = None

    @property
    def shown(self) -> Shown:
        """The names of the picture that was on screen."""
        return Shown(self.nsd_id, self.stimulus)


@dataclass(frozen=True)
class FrontLink:
    """How the decoder and the front hear of each other.

    Parameters
    ----------
    arrivals : dict
        The arrivals that the front announced, by session, run and index.
    on_settled : function
        Called with each BOLD volume that completes no estimate, and with its new state.
    outbox : Outbox
    goes_on : function
        Called between two pieces of work: a start may read thousands of volumes.
    """

    arrivals: dict[tuple[str, str, int], link.Wake]
    on_settled: Callable[[Pending, VolumeState], None]
    outbox: Outbox
    goes_on: Callable[[], None] = lambda: None


class RunEstimates:
    """The estimator of one BOLD run, the volumes that wait for their turn, and the estimates that wait to be decoded.

    After a JournalError this object must not be used any more.

    Parameters
    ----------
    weights : Weights
        They give the prior, and the mean that stands for a voxel without signal.
    """

    def __init__(self, journal: RunJournal, hello: Hello, weights: Weights, front: FrontLink) -> None:
        self.journal = journal
        self._hello, self._run, self._tr_s = hello, hello.run, hello.tr_s
        self._prior, self._voxel_mean, self._front = weights.bold_prior, weights.voxel_mean, front
        self._estimator = CausalEstimator(hello.tr_s, self._prior)
        self._order = VolumeOrder(hello.tr_s, (Hole(gap.index, gap.n_missing) for gap in journal.gaps(hello.run)))
        self._rois, self._signals = roi_positions(weights), UnsentSignals()
        self._last_spike_s = self._last_misaligned_s = -math.inf
        self._seen_arrival = 0
        """Arrival of the last volume that was read from the journal."""
        self._used_arrival = 0
        """The highest arrival among the volumes that the estimator got."""
        self._last_used: Pending | None = None
        self._ready: dict[Pending, list[Trial]] = {}
        self._finished = False

    def advance(self) -> None:
        """Give new onsets and volumes to the estimator, in the order of the volumes' indices."""
        for pending, state in self.journal.run_volumes(self._run, self._seen_arrival):
            self._front.goes_on()
            self._seen_arrival = pending.arrival
            if state == "late":
                continue
            arrival = self._front.arrivals.get((pending.session, pending.run, pending.index))
            if self._order.add(Held(pending, state, arrival.arrived_s if arrival else time.monotonic())):
                # One by one: whether 8 later volumes were there must not depend on how many are read at once.
                self._use_in_order(-math.inf)
            elif state == "waiting":
                self._leave_out(pending)
        self._use_in_order(time.monotonic())

    @property
    def due_s(self) -> float | None:
        """The monotonic time at which `advance` must be called again if no volume comes, s; None if it need not be."""
        return self._order.due_s

    def finish(self) -> None:
        """Make provisional estimates final at the run's end. They become pending under the run's last volume.

        Missing volumes are not waited for any longer.
        """
        if self._finished:
            return
        self._finished = True
        self._use_in_order(math.inf)
        record = self.journal.run(self._run)
        rest = self._order.rest(record.n_volumes) if record and record.n_volumes is not None else None
        if rest:
            self._pass_over(rest)
        trials = self._trials(self._estimator.finish())
        if trials and self._last_used:
            self._ready[replace(self._last_used, is_end=True)] = trials
        else:
            self.journal.finish_run(self._run)

    @property
    def is_over(self) -> bool:
        """Return whether the run has ended and all its trials are decoded or skipped."""
        return self._finished and not self._ready

    def ready(self) -> list[Pending]:
        """Return the volumes with trials to decode, in the order in which the estimator got them."""
        return list(self._ready)

    def trials(self, pending: Pending) -> list[Trial]:
        """Return the trials whose estimates a volume updated."""
        return self._ready[pending]

    def take_signals(self, pending: Pending) -> tuple[VolumeSignal, ...]:
        """Return the volumes up to this volume that no earlier call returned."""
        return self._signals.take(pending.index)

    def is_provisional(self, pending: Pending) -> bool:
        """Return whether a volume has no final estimate: later volumes replace all its estimates."""
        return not any(trial.is_final for trial in self._ready[pending])

    def forget(self, pending: Pending) -> None:
        """Drop a volume's trials after they are decoded or skipped."""
        self._ready.pop(pending, None)

    def _use_in_order(self, now_s: float) -> None:
        """Give the estimator each volume whose turn it is; pass over the holes that are due at `now_s`."""
        while True:
            while held := self._order.take():
                self._use_held(held.pending, held.state)
            hole = self._order.hole()
            if not (hole and self._order.is_due(now_s)):
                return
            self._pass_over(hole)

    def _pass_over(self, hole: Hole) -> None:
        # Committed first: after a crash the same volumes must be left out.
        gap = Gap(seq=0, session=self.journal.session, run=self._run, index=hole.first, n_missing=hole.n_missing)
        self._front.outbox.publish(self.journal, gap)
        self._order.pass_over(hole)

    def _leave_out(self, pending: Pending) -> None:
        skipped = Skipped(
            seq=0, session=pending.session, run=pending.run, index=pending.index,
            reason="came after it was published as missing; estimates run forward in time, so it is kept but not used",
            events=(),
        )  # fmt: skip
        self._front.outbox.publish(self.journal, skipped, outcome="late")
        self._front.arrivals.pop((pending.session, pending.run, pending.index), None)

    def _use_held(self, pending: Pending, state: VolumeState) -> None:
        # Onsets go by arrival. An onset that arrived before each volume of its trial is announced before each of them,
        # in whatever order they came.
        if pending.arrival > self._used_arrival:
            for event in self.journal.events_between(self._run, self._used_arrival, pending.arrival):
                self._add_event(event.header)
            self._used_arrival = pending.arrival
        trials, outcome = self._use(pending)
        if state == "waiting" and outcome:
            self.journal.set_state(pending.arrival, outcome)
            self._front.on_settled(pending, outcome)
        elif state == "waiting":
            self._ready[pending] = trials
        elif trials:
            # A decode of an earlier decoder process has carried the signals.
            self._signals.take(pending.index)

    def _add_event(self, event: Event) -> None:
        try:
            self._estimator.add_event(event.event, event.onset_s, event.duration_s)
        except BraindError as error:
            logger.error("run %s: this trial is not decoded: %s", self._run, error)

    def _use(self, pending: Pending) -> tuple[list[Trial], VolumeState | None]:
        """Give a volume to the estimator; return its trials, or the new state of a volume without trials."""
        self._last_used = pending
        try:
            header, voxels, _ = self.journal.volume(pending.arrival)
            motion = None if header.motion is None else np.array(header.motion)
            self._estimator.add_volume(pending.index, voxels, motion)
            is_misaligned = self._flag(pending.index * self._tr_s, voxels)
            flags = self._estimator.flags
            self._signals.add(
                VolumeSignal(
                    index=pending.index,
                    rois=roi_means(voxels, self._rois),
                    displacement_mm=None if motion is None else round(float(flags.displacement_mm), 4),
                    is_spike=flags.is_spike,
                    is_misaligned=is_misaligned,
                )
            )
            trials = self._trials(self._estimator.current_estimates())
        except JournalError as error:
            if not isinstance(error, RecordError):
                raise
            logger.error("run %s, volume %d: cannot be used: %s", pending.run, pending.index, error)
            return [], "failed"
        except Exception:
            logger.exception("run %s, volume %d: cannot be used", pending.run, pending.index)
            return [], "failed"
        return trials, None if trials else "used"

    def _flag(self, now_s: float, voxels: Array) -> bool:
        """Note whether the newest volume was a spike or misaligned; return whether it was misaligned."""
        if self._estimator.flags.is_spike:
            self._last_spike_s = now_s
        is_misaligned = self._prior.is_misaligned(voxels)
        if is_misaligned:
            self._last_misaligned_s = now_s
        return is_misaligned

    def _trials(self, estimates: list[Estimate]) -> list[Trial]:
        """Return the estimates as trials. Final estimates come last, because their pictures take longest."""
        trials = []
        for estimate in sorted(estimates, key=lambda estimate: estimate.is_final):
            header, seen, _ = self.journal.event(self._run, estimate.event_number)
            trials.append(
                Trial(
                    np.where(estimate.has_signal, estimate.betas, self._voxel_mean),
                    header.event, header.trial, header.nsd_id, 1, seen,
                    pair=Pair.named_by(header, self._hello),
                    is_final=estimate.is_final,
                    since_onset_s=round(estimate.since_onset_s, 3),
                    uncertainty=round(estimate.uncertainty, 4),
                    spike=self._last_spike_s >= header.onset_s,
                    misaligned=self._last_misaligned_s >= header.onset_s,
                    label=header.label,
                    stimulus=header.stimulus,
                    n_without_signal=int(np.count_nonzero(~estimate.has_signal)),
                )
            )  # fmt: skip
        return trials


def beta_trial(journal: Journal, pending: Pending, rois: dict[str, Array]) -> Trial:
    """Return a beta volume's trial. `rois` are the positions of each ROI's voxels, as `roi_positions` returns them."""
    header, voxels, seen = journal.volume(pending.arrival)
    pair = Pair.named_by(header, journal.hello(pending.run))
    signal = VolumeSignal(index=pending.index, rois=roi_means(voxels, rois))
    return Trial(
        voxels, NO_EVENT, header.trial, header.nsd_id, header.n_averaged, seen, pair,
        label=header.label, signals=(signal,), stimulus=header.stimulus,
    )  # fmt: skip
