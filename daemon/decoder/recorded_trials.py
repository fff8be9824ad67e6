"""Makes the trials of a recorded run again, as the decoder made them from the journal. Nothing is written."""

from collections.abc import Iterator
from typing import NamedTuple

from ...client.wire import Gap, Numbered
from ...models.weights.weights import Weights
from ..journal.database import RecordError
from ..journal.recording import Recording
from ..journal.records import NO_EVENT, JournaledEvent, JournaledVolume, Pending, RunRecord, VolumeState
from .outbox import Outbox
from .trials import FrontLink, RunEstimates, Trial


class RecordedRun:
    """A recorded run as `RunEstimates` reads a journal: all volumes wait again, and arrive one by one."""

    def __init__(self, recording: Recording, record: RunRecord) -> None:
        self.session = recording.session
        self._recording, self._record = recording, record
        self._volumes = recording.arrivals(record)
        self._n_arrived = 0

    def arrive(self) -> bool:
        """Let the next volume arrive; return False after the last volume."""
        self._n_arrived += 1
        return self._n_arrived <= len(self._volumes)

    def run_volumes(self, run: str, after_arrival: int) -> list[tuple[Pending, VolumeState]]:
        """Return the arrived volumes after `after_arrival`, in the order of arrival."""
        return [
            (
                Pending(volume.arrival, self._recording.session, run, volume.volume_index),
                "late" if volume.state == "late" else "waiting",
            )
            for volume in self._volumes[: self._n_arrived]
            if volume.arrival > after_arrival
        ]

    def run(self, run: str) -> RunRecord | None:
        """Return the run's record."""
        return self._recording.run(run)

    def gaps(self, run: str) -> list[Gap]:
        """Return the published gaps: the volumes that the estimator did not wait for."""
        return self._recording.gaps(run)

    def events_between(self, run: str, from_arrival: int, before_arrival: int) -> list[JournaledEvent]:
        """Return the onsets with from_arrival ≤ after_arrival < before_arrival, in the order of arrival."""
        return self._recording.events_between(run, from_arrival, before_arrival)

    def event(self, run: str, event: int) -> JournaledEvent:
        """Return an onset."""
        return self._recording.event(run, event)

    def volume(self, arrival: int) -> JournaledVolume:
        """Return a journaled volume."""
        return self._recording.volume(arrival)

    def add_decode(self, message: Numbered, payload: bytes | None = None, **_: object) -> bool:
        """Keep nothing: the recorded run has its messages already."""
        return False

    def set_state(self, arrival: int, state: VolumeState) -> None:
        """Keep the state as it is."""

    def finish_run(self, run: str) -> None:
        """Keep the run as it is."""


class TrialsAtVolume(NamedTuple):
    """The trials that a volume completed or updated. `problem` says why a damaged volume has none."""

    volume_index: int
    trials: list[Trial]
    problem: str = ""


def recorded_trials(recording: Recording, record: RunRecord, weights: Weights) -> Iterator[TrialsAtVolume]:
    """Yield the trials of each volume again, in the order of arrival.

    In a BOLD run the estimator logs a damaged volume and passes over it, as the decoder does.

    Raises
    ------
    JournalError
        If more than a single record is damaged.
    """
    if record.hello.kind == "bold":
        yield from _estimates(recording, record, weights)
        return
    for volume in recording.arrivals(record):
        try:
            header, voxels, seen = recording.volume(volume.arrival)
        except RecordError as error:
            yield TrialsAtVolume(volume.volume_index, [], str(error))
            continue
        trial = Trial(voxels, NO_EVENT, header.trial, header.nsd_id, header.n_averaged, seen)
        yield TrialsAtVolume(volume.volume_index, [trial])


def _estimates(recording: Recording, record: RunRecord, weights: Weights) -> Iterator[TrialsAtVolume]:
    run = RecordedRun(recording, record)
    front = FrontLink({}, lambda *_: None, Outbox(0, lambda _: None))
    estimates = RunEstimates(run, record.hello, weights, front)
    while run.arrive():
        estimates.advance()
        yield from _taken(estimates)
    if record.n_volumes is not None:
        estimates.finish()
        yield from _taken(estimates)


def _taken(estimates: RunEstimates) -> Iterator[TrialsAtVolume]:
    for pending in estimates.ready():
        yield TrialsAtVolume(pending.index, estimates.trials(pending))
        estimates.forget(pending)
