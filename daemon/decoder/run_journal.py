"""What the estimates of a run ask of a journal: a journal that is being written, or a recorded one."""

from typing import Protocol

from ...client.wire import Gap, Numbered
from ..journal.records import NO_EVENT, JournaledEvent, JournaledVolume, Pending, RunRecord, VolumeState


class RunJournal(Protocol):
    """The methods of `Journal` that are called. `Journal` describes them."""

    session: str

    def run(self, run: str) -> RunRecord | None: ...
    def run_volumes(self, run: str, after_arrival: int) -> list[tuple[Pending, VolumeState]]: ...
    def gaps(self, run: str) -> list[Gap]: ...
    def events_between(self, run: str, from_arrival: int, before_arrival: int) -> list[JournaledEvent]: ...
    def event(self, run: str, event: int) -> JournaledEvent: ...
    def volume(self, arrival: int) -> JournaledVolume: ...
    def add_decode(
        self,
        message: Numbered,
        payload: bytes | None = None,
        *,
        event: int = NO_EVENT,
        at_end: bool = False,
        outcome: VolumeState | None = None,
    ) -> bool: ...
    def set_state(self, arrival: int, state: VolumeState) -> None: ...
    def finish_run(self, run: str) -> None: ...
