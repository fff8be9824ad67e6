"""Pending volumes: betas, and BOLD volumes with new estimates of trials. Policy `latest` chooses among them."""

import heapq
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from ...client.wire import Gap
from ...models.weights.weights import Weights
from ..journal.database import JournalError
from ..journal.journal import Journal
from ..journal.records import Pending
from ..sessions import Sessions
from .signals import roi_positions
from .trials import FrontLink, RunEstimates, Trial, beta_trial

logger = logging.getLogger("braind.daemon.decoder")


class PendingTrials:
    """Finds pending volumes in the open journals and keeps an estimator for each BOLD run that is not over.

    Parameters
    ----------
    sessions : Sessions
    weights : Weights
        Only volumes that were recorded under these weights are found.
    front : FrontLink
    """

    def __init__(self, sessions: Sessions, weights: Weights, front: FrontLink) -> None:
        self._sessions, self._weights, self._front = sessions, weights, front
        self.due_s: float | None = None
        """The monotonic time at which `find` must be called again if nothing comes, s; None if it need not be."""
        self._bold_runs: dict[tuple[str, str], RunEstimates] = {}
        self._to_open: dict[str, None] = {}
        """Sessions whose volumes arrived since the last `find`, the newest last."""

    def add_session(self, session: str) -> None:
        """Open a session's journal at the next `find`. The session is the newest then."""
        self._to_open.pop(session, None)
        self._to_open[session] = None

    def find(self) -> list[Pending]:
        """Return everything that can be decoded now, in the order of arrival; BOLD volumes of a run by their indices.

        Raises
        ------
        JournalError
            If a journal cannot be read or written now; call `clear` then.
        """
        self._open_sessions()
        # Each run holds its signal, and the journal that was open when the run began.
        self._bold_runs = {
            (session, run): bold_run
            for (session, run), bold_run in self._bold_runs.items()
            if not bold_run.is_over and bold_run.journal is self._sessions.find(session)
        }
        self.due_s = None
        found: list[Pending] = []
        for journal in self._sessions.all():
            self._front.goes_on()
            with self._sessions.without_if_damaged(journal.session):
                found += self._find_in(journal)
        return found

    def trials(self, pending: Pending) -> list[Trial]:
        """Return the trials of a volume: one for a beta, and for BOLD each trial with a new estimate.

        The first trial carries the signals of the volumes up to this volume that no earlier call returned.
        """
        bold_run = self._bold_run(pending)
        if bold_run is None:
            return [beta_trial(self._sessions[pending.session], pending, roi_positions(self._weights))]
        first, *others = bold_run.trials(pending)
        return [replace(first, signals=bold_run.take_signals(pending)), *others]

    def is_provisional(self, pending: Pending) -> bool:
        """Return whether all estimates of a volume are provisional: later volumes replace these estimates."""
        bold_run = self._bold_run(pending)
        return bold_run is not None and bold_run.is_provisional(pending)

    def completed_events(self, pending: Pending) -> tuple[int, ...] | None:
        """Return the trials whose final estimates a BOLD volume brings; None for a beta volume."""
        bold_run = self._bold_run(pending)
        return bold_run and tuple(trial.event for trial in bold_run.trials(pending) if trial.is_final)

    def forget(self, pending: Pending) -> None:
        """Drop a volume's trials after they are decoded or skipped."""
        bold_run = self._bold_run(pending)
        if bold_run:
            bold_run.forget(pending)

    def bold_sessions(self) -> set[str]:
        """Return the sessions with an estimator: another journal object would need a new estimator."""
        return {session for session, _ in self._bold_runs}

    def clear(self) -> None:
        """Drop all estimators. The next `find` makes new ones from the journals."""
        self._bold_runs.clear()
        self.due_s = None

    def _open_sessions(self) -> None:
        """Open the journals of the added sessions. A full disk may pass: the next `find` tries the session again."""
        for session in list(self._to_open):
            try:
                self._sessions.open(session)
            except JournalError as error:
                if error.code == "storage":
                    raise
                logger.error("%s", error)
            del self._to_open[session]

    def _find_in(self, journal: Journal) -> list[Pending]:
        volumes = journal.waiting(self._weights.fingerprint)
        to_finish = journal.runs_to_finish(self._weights.fingerprint)
        bold = {run for run in {*(pending.run for pending in volumes), *to_finish} if self._is_bold(journal, run)}
        by_run = [[pending for pending in volumes if pending.run not in bold]]
        for run in bold:
            bold_run = self._bold_runs[journal.session, run]
            bold_run.advance()
            if run in to_finish:
                bold_run.finish()
            by_run.append(bold_run.ready())
            if bold_run.due_s is not None:
                self.due_s = min(bold_run.due_s, self.due_s or bold_run.due_s)
        for run in to_finish:
            if run not in bold:
                self._finish_betas(journal, run)
        # The merge keeps each run's own order: a volume that came out of order is used after a volume that came later.
        return list(heapq.merge(*by_run, key=lambda pending: pending.arrival))

    def _finish_betas(self, journal: Journal, run: str) -> None:
        """Publish the gaps of a beta run that has ended. A volume that fills a gap later is decoded."""
        record = journal.run(run)
        if record and record.n_volumes is not None:
            for hole in journal.holes(run, record.n_volumes):
                gap = Gap(seq=0, session=journal.session, run=run, index=hole.start, n_missing=len(hole))
                self._front.outbox.publish(journal, gap)
        journal.finish_run(run)

    def _is_bold(self, journal: Journal, run: str) -> bool:
        hello = journal.hello(run)
        if hello.kind != "bold":
            return False
        if (journal.session, run) not in self._bold_runs:
            self._bold_runs[journal.session, run] = RunEstimates(journal, hello, self._weights, self._front)
        return True

    def _bold_run(self, pending: Pending) -> RunEstimates | None:
        return self._bold_runs.get((pending.session, pending.run))


class Choice(NamedTuple):
    """The next volume to decode, and the older volumes that policy `latest` passes over.

    `replaced` volumes have only provisional estimates, which a newer volume replaces: no viewer misses them.
    `skipped` volumes lose their pictures: viewers are told.
    """

    chosen: Pending
    replaced: list[Pending]
    skipped: list[Pending]


def choose_latest(waiting: list[Pending], is_provisional: Callable[[Pending], bool]) -> Choice:
    """Choose the newest volume with a final estimate, or the newest volume if all estimates are provisional.

    A provisional estimate does not replace an older trial that is still waiting for its pictures. The newest volume is
    never passed over: if it is provisional it waits until the chosen volume is decoded.
    """
    provisional = [pending for pending in waiting if is_provisional(pending)]
    final = [pending for pending in waiting if not is_provisional(pending)]
    chosen = final[-1] if final else provisional[-1]
    return Choice(chosen, [pending for pending in provisional if pending not in (chosen, waiting[-1])], final[:-1])
