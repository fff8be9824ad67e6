"""Turns journaled volumes into single-trial responses in % signal change, the input of the ridge maps.

A beta volume is a response. BOLD volumes go to an estimator, which gives provisional and final estimates of trials.
After a crash a new estimator gets the journal's onsets and volumes in the same order, so its estimates are equal.
"""

import logging
import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ...arrays import Array
from ...client.wire import Event, Hello
from ...errors import BraindError
from ...models.bold.estimator import CausalEstimator, Estimate
from ...models.weights.bold_prior import BoldPrior
from ..journal.database import JournalError, RecordError
from ..journal.journal import Journal
from ..journal.records import NO_EVENT, JournaledEvent, JournaledVolume, Pair, Pending, VolumeState

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


class RunJournal(Protocol):
    """What `RunEstimates` asks of a journal. `Journal` describes the methods."""

    def run_volumes(self, run: str, after_arrival: int) -> list[tuple[Pending, VolumeState]]: ...
    def events(self, run: str, from_arrival: int, before_arrival: int) -> list[JournaledEvent]: ...
    def event(self, run: str, event: int) -> JournaledEvent: ...
    def volume(self, arrival: int) -> JournaledVolume: ...
    def set_state(self, arrival: int, state: VolumeState) -> None: ...
    def finish_run(self, run: str) -> None: ...


class RunEstimates:
    """The estimator of one BOLD run, and the estimates that wait to be decoded."""

    def __init__(self, journal: RunJournal, hello: Hello, prior: BoldPrior) -> None:
        self.journal = journal
        self._hello, self._run, self._tr_s = hello, hello.run, hello.tr_s
        self._prior = prior
        self._estimator = CausalEstimator(hello.tr_s, prior)
        self._last_spike_s = self._last_misaligned_s = -math.inf
        self._seen_arrival = 0
        """Arrival of the last volume that was read from the journal."""
        self._last_used: Pending | None = None
        self._ready: dict[Pending, list[Trial]] = {}
        self._finished = False

    def advance(self) -> list[tuple[Pending, VolumeState]]:
        """Give new onsets and volumes to the estimator; return the volumes without estimates and their new states.

        After a JournalError this object must not be used any more.
        """
        settled: list[tuple[Pending, VolumeState]] = []
        for pending, state in self.journal.run_volumes(self._run, self._seen_arrival):
            for event in self.journal.events(self._run, self._seen_arrival, pending.arrival):
                self._add_event(event.header)
            self._seen_arrival = pending.arrival
            if state in ("late", "failed"):
                continue
            trials, outcome = self._use(pending)
            if state == "waiting" and outcome:
                self.journal.set_state(pending.arrival, outcome)
                settled.append((pending, outcome))
            elif state == "waiting":
                self._ready[pending] = trials
        return settled

    def finish(self) -> None:
        """Make provisional estimates final at the run's end. They become pending under the run's last volume."""
        if self._finished:
            return
        self._finished = True
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
        """Return the volumes with trials to decode, in the order of arrival."""
        return list(self._ready)

    def trials(self, pending: Pending) -> list[Trial]:
        """Return the trials whose estimates a volume updated."""
        return self._ready[pending]

    def is_provisional(self, pending: Pending) -> bool:
        """Return whether a volume has no final estimate: later volumes replace all its estimates."""
        return not any(trial.is_final for trial in self._ready[pending])

    def forget(self, pending: Pending) -> None:
        """Drop a volume's trials after they are decoded or skipped."""
        self._ready.pop(pending, None)

    def _add_event(self, event: Event) -> None:
        try:
            self._estimator.add_event(event.event, event.onset_s, event.duration_s)
        except BraindError as error:
            logger.error("run %s: this trial is not decoded: %s", self._run, error)

    def _use(self, pending: Pending) -> tuple[list[Trial], VolumeState | None]:
        """Give a volume to the estimator; return its trials, or the new state of a volume without trials."""
        if self._last_used and pending.index < self._last_used.index:
            logger.warning("run %s, volume %d: came after volume %d", pending.run, pending.index, self._last_used.index)
            return [], "late"
        self._last_used = pending
        try:
            header, voxels, _ = self.journal.volume(pending.arrival)
            motion = None if header.motion is None else np.array(header.motion)
            self._estimator.add_volume(pending.index, voxels, motion)
            self._flag(pending.index * self._tr_s, voxels)
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

    def _flag(self, now_s: float, voxels: Array) -> None:
        if self._estimator.flags.is_spike:
            self._last_spike_s = now_s
        if self._prior.is_misaligned(voxels):
            self._last_misaligned_s = now_s

    def _trials(self, estimates: list[Estimate]) -> list[Trial]:
        """Return the estimates as trials. Final estimates come last, because their pictures take longest."""
        trials = []
        for estimate in sorted(estimates, key=lambda estimate: estimate.is_final):
            header, seen, _ = self.journal.event(self._run, estimate.event_number)
            trials.append(
                Trial(
                    estimate.betas, header.event, header.trial, header.nsd_id, 1, seen,
                    pair=Pair.named_by(header, self._hello),
                    is_final=estimate.is_final,
                    since_onset_s=round(estimate.since_onset_s, 3),
                    uncertainty=round(estimate.uncertainty, 4),
                    spike=self._last_spike_s >= header.onset_s,
                    misaligned=self._last_misaligned_s >= header.onset_s,
                )
            )  # fmt: skip
        return trials


def beta_trial(journal: Journal, pending: Pending) -> Trial:
    """Return a beta volume's trial."""
    header, voxels, seen = journal.volume(pending.arrival)
    pair = Pair.named_by(header, journal.hello(pending.run))
    return Trial(voxels, NO_EVENT, header.trial, header.nsd_id, header.n_averaged, seen, pair)
