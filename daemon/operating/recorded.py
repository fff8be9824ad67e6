"""What was recorded in a session so far: trials with their pictures, and minutes. A fit counts in the same way."""

from dataclasses import dataclass, field

from ...client import wire
from ...client.datasets.bids.files import NOT_AVAILABLE
from ..journal.database import JournalError
from ..journal.journal import Journal
from ..journal.records import RunRecord
from ..sessions import Sessions
from ..state import DaemonState


@dataclass
class _Run:
    """A run's trials, read up to a row. In a beta run each volume is a trial."""

    record: RunRecord
    read_to: int = 0
    trials: list[wire.Volume | wire.Event] = field(default_factory=list)
    n_volumes: int = 0
    last_index: int = -1

    def read_on(self, journal: Journal) -> None:
        """Read what was journaled since the last call."""
        self.n_volumes, self.last_index = journal.extent(self.record.name)
        read = journal.volume_headers if self.record.hello.kind == "beta" else journal.event_headers
        for row, header in read(self.record, self.read_to):
            self.read_to = max(self.read_to, row)
            self.trials.append(header)

    @property
    def shown(self) -> list[wire.Volume | wire.Event]:
        """The trials that name a picture."""
        return [trial for trial in self.trials if trial.stimulus and trial.stimulus != NOT_AVAILABLE]

    @property
    def minutes(self) -> float:
        """The run's duration; in a beta run, of the trials with a picture."""
        if not self.shown:
            return 0.0
        n_blank = sum(trial.stimulus == NOT_AVAILABLE for trial in self.trials)
        n_volumes = self.n_volumes - (n_blank if self.record.hello.kind == "beta" else 0)
        return n_volumes * self.record.hello.tr_s / 60

    def newest(self) -> wire.Volume | wire.Event | None:
        """Return the newest trial; in a BOLD run, the newest whose onset has passed."""
        if self.record.hello.kind == "beta":
            return self.trials[-1] if self.trials else None
        now_s = (self.last_index + 1) * self.record.hello.tr_s
        past = [trial for trial in self.trials if isinstance(trial, wire.Event) and trial.onset_s < now_s]
        return max(past, key=lambda trial: trial.onset_s, default=None)


class RecordedSoFar:
    """Answers what was recorded. Each call reads only what is new in the journal."""

    def __init__(self, sessions: Sessions, state: DaemonState) -> None:
        self._sessions, self._state = sessions, state
        self._journal: Journal | None = None
        self._runs: dict[str, _Run] = {}

    def answer(self, request: wire.RecordedRequest) -> tuple[wire.Recorded, bytes | None]:
        """Return the answer and, if it was asked for, the PNG of the newest seen picture.

        Raises
        ------
        JournalError
        """
        state = self._state
        journal = self._sessions.find(state.session) if state.session else None
        if state.session and journal is None:
            raise JournalError(f"the journal of session {state.session} cannot be read; the daemon's log says why")
        if journal is not self._journal:
            self._journal, self._runs = journal, {}
        if journal is not None:
            for record in journal.runs():
                self._runs.setdefault(record.name, _Run(record)).read_on(journal)
        shown = [trial for run in self._runs.values() for trial in run.shown]
        newest = self._runs[state.run].newest() if state.run in self._runs else None
        png = _seen(journal, newest) if journal and newest and newest.seen and request.picture else None
        answer = wire.Recorded(
            session=state.session,
            run=state.run,
            n_trials=len(shown),
            n_pictures=len({trial.stimulus for trial in shown}),
            n_unnamed=sum(not trial.stimulus for run in self._runs.values() for trial in run.trials),
            minutes=round(sum(run.minutes for run in self._runs.values()), 3),
            index=newest.index if isinstance(newest, wire.Volume) else None,
            event=newest.event if isinstance(newest, wire.Event) else None,
            stimulus=newest.stimulus if newest else None,
            label=newest.label if newest else None,
            seen=newest.seen if newest else False,
            calibrations=tuple(one for one in state.calibrations if one.session == state.session),
        )
        return answer, png


def _seen(journal: Journal, trial: wire.Volume | wire.Event) -> bytes | None:
    if isinstance(trial, wire.Event):
        return journal.event(trial.run, trial.event).seen
    return journal.seen(trial.run, trial.index)
