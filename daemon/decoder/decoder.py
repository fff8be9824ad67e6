"""Decoding: takes what waits in the journal, has pictures made of it, and journals those.

It may be killed at any moment: what it had not committed still waits in the journal.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ...client.wire import Decode, Skipped
from ...models.weights.bold_prior import BoldPrior
from .. import link
from ..journal.database import JournalError, RecordError
from ..journal.journal import Journal
from ..journal.records import END_OF_RUN, NO_EVENT, Pending
from ..sessions import Sessions
from .cadence import Cadence
from .trials import RunEstimates, Trial, beta_trial

if TYPE_CHECKING:
    from .stages import Stages

logger = logging.getLogger("braind.daemon.decoder")


class _Interrupted(Exception):
    """Something else is to be done before a refined picture."""


class Decoder:
    """Takes waiting volumes by the policy and journals what is made of them.

    Parameters
    ----------
    setup : link.Setup
    stages : Stages
        What makes scores and pictures.
    say : function
        Passes a line to the front.
    """

    def __init__(self, setup: link.Setup, stages: "Stages", say: Callable[[link.ToFront], None]) -> None:
        self.paused = setup.paused
        self._policy = setup.policy
        self._stages, self._send = stages, say
        self._sessions = Sessions(Path(setup.journals_path), wait_for_disk=False)
        self._sessions.open_all(setup.sessions)
        self._next_seq = max(setup.next_seq, self._sessions.last_seq() + 1)
        self._bold_runs: dict[tuple[str, str], RunEstimates] = {}
        self._heard: dict[tuple[str, str, int], link.Wake] = {}
        self._to_open: dict[str, None] = {}
        """Sessions of which volumes arrived since the last step, the newest last."""
        self._cadence, self._keep_warm_s, self._warmed_for_s = Cadence(), setup.keep_warm_ms / 1000, 0.0
        self._unrefined: tuple[Decode, int, float] | None = None
        """The newest decode's last message, its event, and when its volume arrived, until a refined picture is made."""

    def hear(self, wake: link.Wake) -> None:
        """Take note of a volume's arrival."""
        self._to_open.pop(wake.session, None)
        self._to_open[wake.session] = None
        self._heard[wake.session, wake.run, wake.index] = wake
        self._cadence.add_arrival(wake.arrived_s)

    def step(self) -> bool:
        """Decode one volume; False if there is none to decode.

        Raises
        ------
        JournalError
            If the journal cannot be read or written now; the next step starts over from what it holds.
        """
        try:
            waiting = [] if self.paused else self._waiting()
            if not waiting:
                return False
            chosen = self._newest(waiting) if self._policy == "latest" else waiting[0]
            with self._sessions.without_if_damaged(chosen.session):
                self._decode(chosen)
            return True
        except JournalError:
            self._bold_runs.clear()
            raise

    def refine(self, is_interrupted: Callable[[], bool]) -> None:
        """Make the refined picture of the newest decode, if that is asked for; put it off when interrupted."""
        if self._unrefined is None:
            return

        def stop_if_interrupted() -> None:
            if is_interrupted():
                raise _Interrupted

        decode, event, arrived_s = self._unrefined
        try:
            refined = self._stages.refine(stop_if_interrupted)
        except _Interrupted:
            return
        except Exception:  # a refined picture is an extra: the next volume's pictures are still to be made
            logger.exception("run %s, volume %d: no refined picture", decode.run, decode.index)
            self._unrefined = None
            return
        self._unrefined = None
        if refined is None:
            return
        png, provenance = refined
        message = msgspec.structs.replace(
            decode,
            seq=self._next_seq,
            stage="refined",
            provenance=msgspec.structs.replace(provenance, simulated=decode.provenance.simulated),
            timings_s=decode.timings_s | {"refined": round(time.monotonic() - arrived_s, 6)},
        )
        journal = self._sessions.find(decode.session)
        if journal is None:  # its file turned out to be damaged in the meantime
            return
        with self._sessions.without_if_damaged(decode.session):
            self._committed(journal, journal.add_decode(message, png, event=event))

    def keep_warm(self) -> float | None:
        """Have the GPU ready shortly before the next volume is expected, once; return in how many s to ask again."""
        expected_s, now_s = self._cadence.next_s, time.monotonic()
        if not self._keep_warm_s or expected_s is None or expected_s <= max(now_s, self._warmed_for_s):
            return None
        wait_s = expected_s - self._keep_warm_s - now_s
        if wait_s > 0:
            return wait_s
        self._warmed_for_s = expected_s
        self._stages.keep_warm()
        return None

    def close(self) -> None:
        """Close the journals."""
        self._sessions.close()

    def _waiting(self) -> list[Pending]:
        """Return what can be decoded now, in order: beta volumes, and all_pending where BOLD completes an estimate."""
        self._open_sessions()
        # Each holds the signal of its whole run, and the journal that was open when it began.
        self._bold_runs = {
            (session, run): bold_run
            for (session, run), bold_run in self._bold_runs.items()
            if not bold_run.is_over and bold_run.journal is self._sessions.find(session)
        }
        found: list[Pending] = []
        for journal in self._sessions.all():
            with self._sessions.without_if_damaged(journal.session):
                found += self._waiting_in(journal)
        return found

    def _open_sessions(self) -> None:
        """Open the journals of the sessions that were heard of; one that cannot be opened now is tried again."""
        for session in list(self._to_open):
            try:
                self._sessions.open(session)
            except JournalError as error:
                if error.code == "storage":
                    raise
                logger.error("%s", error)
            del self._to_open[session]

    def _waiting_in(self, journal: Journal) -> list[Pending]:
        weights = self._stages.weights.fingerprint
        volumes = journal.waiting(weights)
        to_finish = journal.runs_to_finish(weights)
        bold = {run for run in {*(pending.run for pending in volumes), *to_finish} if self._is_bold(journal, run)}
        ready: list[Pending] = []
        for run in bold:
            bold_run = self._bold_runs[journal.session, run]
            for pending, state in bold_run.advance():
                self._send(link.Settled(session=journal.session, run=run, index=pending.index, state=state))
                self._forget(pending)
            if run in to_finish:
                bold_run.finish()
            ready += bold_run.ready()
        betas = [pending for pending in volumes if pending.run not in bold]
        return sorted(betas + ready, key=lambda pending: (pending.arrival, pending.is_end))

    def _newest(self, waiting: list[Pending]) -> Pending:
        """Let go of all but the newest pending; one that only unfolds ends no older trial's wait for its pictures."""
        provisional = [pending for pending in waiting if self._is_provisional(pending)]
        complete = [pending for pending in waiting if not self._is_provisional(pending)]
        for pending in provisional if complete else provisional[:-1]:
            if pending != waiting[-1]:
                with self._sessions.without_if_damaged(pending.session):
                    self._settle_used(pending)
        for pending in complete[:-1]:
            with self._sessions.without_if_damaged(pending.session):
                self._skip(pending, "a newer volume was waiting")
        return complete[-1] if complete else provisional[-1]

    def _is_provisional(self, pending: Pending) -> bool:
        bold_run = self._bold_runs.get((pending.session, pending.run))
        return bold_run is not None and bold_run.is_provisional(pending)

    def _settle_used(self, pending: Pending) -> None:
        self._sessions[pending.session].set_state(pending.arrival, "used")
        self._send(link.Settled(session=pending.session, run=pending.run, index=pending.index, state="used"))
        self._forget(pending)

    def _is_bold(self, journal: Journal, run: str) -> bool:
        hello = journal.hello(run)
        if hello.kind != "bold":
            return False
        if (journal.session, run) not in self._bold_runs:
            weights = self._stages.weights
            prior = weights.bold or BoldPrior.vague(len(weights.voxel_index))
            self._bold_runs[journal.session, run] = RunEstimates(journal, hello, prior)
        return True

    def _decode(self, pending: Pending) -> None:
        taken_s = time.monotonic()
        self._send(link.Taking(session=pending.session, run=pending.run, index=pending.index))
        journal = self._sessions[pending.session]
        bold_run = self._bold_runs.get((pending.session, pending.run))
        try:
            # 5. one trial; for BOLD those of which this volume tells more
            trials = bold_run.trials(pending) if bold_run else [beta_trial(journal, pending)]
            steps_s: dict[int, dict[str, float]] = {}
            if len(trials) > 1:
                # What is final is waited for most: its scores come first of all, its pictures, which take long, last.
                for trial in trials:
                    if trial.is_final:
                        steps_s[trial.event] = self._decode_trial(journal, pending, trial, taken_s, has_pictures=False)
            for trial in trials:
                self._decode_trial(
                    journal, pending, trial, taken_s,
                    steps_s=steps_s.get(trial.event, {}),
                    has_pictures=trial.is_final,
                    is_last_trial=trial is trials[-1],
                )  # fmt: skip
            if pending.is_end:
                journal.finish_run(pending.run)
        except JournalError as error:
            if not isinstance(error, RecordError):
                raise
            logger.error("run %s, volume %d: cannot be decoded: %s", pending.run, pending.index, error)
            self._skip(pending, f"failed: {error}", failed=True)
        except Exception as error:
            logger.exception("run %s, volume %d: cannot be decoded", pending.run, pending.index)
            self._skip(pending, f"failed: {error}", failed=True)
        else:
            if self._is_provisional(pending):
                self._settle_used(pending)
            else:
                self._forget(pending)

    def _decode_trial(
        self,
        journal: Journal,
        pending: Pending,
        trial: Trial,
        taken_s: float,
        *,
        has_pictures: bool,
        is_last_trial: bool = False,
        steps_s: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Journal a trial's stages, but for those that it has already; return when each step was done.

        `steps_s` are those of stages that were journaled before.
        """
        done_s: dict[str, float] = {}
        heard = self._heard.get((pending.session, pending.run, pending.index))
        # A volume that an earlier daemon acked counts from when it was found again.
        arrived_s = heard.arrived_s if heard else taken_s
        before_s = {"ack": heard.ack_s} if heard else {}
        simulated = journal.hello(pending.run).simulated
        for result in self._stages.run(trial.voxels, trial.pair, has_pictures=has_pictures):
            done_s = {"decoder": taken_s} | result.steps_s | (steps_s or {})
            provenance = self._stages.provenance
            has_seen = result.stage == "scores" and trial.seen is not None
            decode = Decode(
                seq=self._next_seq,
                session=pending.session,
                run=pending.run,
                index=pending.index,
                stage=result.stage,
                provenance=msgspec.structs.replace(provenance, simulated=provenance.simulated or simulated),
                timings_s=before_s | {step: round(at_s - arrived_s, 6) for step, at_s in done_s.items()},
                retrieved=result.retrieved,
                feedback=result.feedback,
                right=trial.pair.right if trial.pair else None,
                foil=trial.pair.foil if trial.pair else None,
                seen=has_seen,
                trial=trial.trial,
                nsd_id=trial.nsd_id,
                n_averaged=trial.n_averaged,
                event=None if trial.event == NO_EVENT else trial.event,
                since_onset_s=trial.since_onset_s,
                uncertainty=trial.uncertainty,
                is_final=trial.is_final,
                spike=trial.spike,
                misaligned=trial.misaligned,
            )
            # 8. journaled; the front publishes what is
            outcome = "decoded" if result.is_last and is_last_trial and not pending.is_end else None
            payload = trial.seen if has_seen else result.png
            added = journal.add_decode(decode, payload, event=trial.event, at_end=pending.is_end, outcome=outcome)
            self._committed(journal, added)
            if result.is_last:
                self._unrefined = decode, trial.event, arrived_s
        return done_s

    def _skip(self, pending: Pending, reason: str, *, failed: bool = False) -> None:
        journal = self._sessions[pending.session]
        skipped = Skipped(
            seq=self._next_seq, session=pending.session, run=pending.run, index=pending.index, reason=reason, failed=failed
        )
        if pending.is_end:
            self._committed(journal, journal.add_decode(skipped, event=END_OF_RUN))
            journal.finish_run(pending.run)
        else:
            self._committed(journal, journal.add_decode(skipped, outcome="failed" if failed else "skipped"))
        self._forget(pending)

    def _committed(self, journal: Journal, added: bool) -> None:
        # Not added: an earlier decoder journaled this stage and died before the volume was settled.
        if added:
            self._send(link.Committed(session=journal.session, seq=self._next_seq))
            self._next_seq += 1

    def _forget(self, pending: Pending) -> None:
        self._heard.pop((pending.session, pending.run, pending.index), None)
        bold_run = self._bold_runs.get((pending.session, pending.run))
        if bold_run:
            bold_run.forget(pending)
