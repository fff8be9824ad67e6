"""The run whose volumes the front takes."""

from dataclasses import dataclass

from ..arrays import Array
from ..client.wire import EndRun, Event, Hello, Volume
from ..models.weights.candidate_names import CandidateNames
from ..models.weights.weights import Weights
from .journal.journal import Journal
from .journal.records import RunRecord, VolumeState


@dataclass(eq=False)
class ActiveRun:
    """A run whose `Hello` was checked. The front holds the run until `EndRun`, so that no volume parses stored JSON.

    Only the front adds volumes to a journal, so `n_volumes` and `highest_index` stay true.

    Parameters
    ----------
    journal : Journal
        The session's journal.
    hello : Hello
    weights : Weights
        They name the voxels that are kept.
    candidates : CandidateNames
        The pictures that trials can be compared with.
    n_volumes : int or None
        The run's length; None until `EndRun` announces it.
    highest_index : int
        The highest journaled index; -1 if no volume is journaled.
    """

    journal: Journal
    hello: Hello
    weights: Weights
    candidates: CandidateNames
    n_volumes: int | None
    highest_index: int

    @classmethod
    def of_record(
        cls, journal: Journal, record: RunRecord, weights: Weights, candidates: CandidateNames
    ) -> "ActiveRun":
        """Return a journaled run."""
        highest_index = journal.highest_index(record.name)
        return cls(journal, record.hello, weights, candidates, record.n_volumes, highest_index)

    @property
    def name(self) -> str:
        """Return the run's name."""
        return self.hello.run

    def same_volume(self, volume: Volume, voxels: Array) -> bool | None:
        """Return True if the journal has this volume, False if its index has other bytes, None if the index is free."""
        return None if volume.index > self.highest_index else self.journal.same_volume(volume, voxels)

    def add_volume(
        self, volume: Volume, voxels: Array, *, seen: bytes | None, whole: bytes | None, state: VolumeState
    ) -> None:
        """Commit a volume; raise JournalError if the commit fails."""
        self.journal.add_volume(volume, voxels, seen=seen, whole=whole, state=state)
        self.highest_index = max(self.highest_index, volume.index)

    def add_event(self, event: Event, seen: bytes | None) -> bool:
        """Commit an onset; return False if the journal has it already."""
        return self.journal.add_event(event, seen)

    def end(self, message: EndRun) -> None:
        """Commit the run's length. The decoder finishes a BOLD run, and publishes the gaps of any run."""
        n_missing, _ = self.journal.missing(self.name, message.n_volumes, 0)
        is_unfinished = self.hello.kind == "bold" or n_missing > 0
        self.journal.end_run(message, has_estimates=is_unfinished and not self.weights.is_blank)
        self.n_volumes = message.n_volumes
        self.journal.fold_log()
