"""Decoding: takes pending volumes from the journal, makes scores and pictures, and journals them.

The process may be killed at any moment: an uncommitted decode is made again, because its volume still waits in the
journal.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ...client.wire import Decode, Skipped
from .. import link
from ..journal.database import JournalError, RecordError
from ..journal.journal import Journal
from ..journal.records import END_OF_RUN, NO_EVENT, Pending, VolumeState
from ..sessions import Sessions
from .cadence import Cadence
from .liveness import Liveness, Send
from .outbox import Outbox
from .pending import PendingTrials, choose_latest
from .trials import FrontLink, Trial

if TYPE_CHECKING:
    from .label_stages import LabelStages
    from .stages import Stages

logger = logging.getLogger("braind.daemon.decoder")


class _Interrupted(Exception):
    """A line of the front came while a refined picture was being made."""


class Decoder:
    """Decodes pending volumes in the order that the policy sets, and journals their scores and pictures.

    Parameters
    ----------
    setup : link.Setup
    stages : Stages or LabelStages
        Makes scores and pictures, or scores alone.
    send : function
        Sends a line to the front.
    warm_up_s : float
        How long the first picture took.
    """

    def __init__(
        self, setup: link.Setup, stages: "Stages | LabelStages", send: Send, *, warm_up_s: float = 0.0
    ) -> None:
        self.paused, self.policy = setup.paused, setup.policy
        self._stages, self._send = stages, send
        self.liveness = Liveness(send, warm_up_s)
        self._sessions = Sessions(Path(setup.journals_path), wait_for_disk=False)
        self._sessions.open_all(setup.sessions)
        self._unfolded = set(setup.sessions)
        """Sessions whose write-ahead logs are to be folded when their runs are over."""
        self._outbox = Outbox(max(setup.next_seq, self._sessions.last_seq() + 1), send)
        self._arrivals: dict[tuple[str, str, int], link.Wake] = {}
        front = FrontLink(self._arrivals, self._on_settled, self._outbox, self.liveness.goes_on)
        self._pending = PendingTrials(self._sessions, stages.weights, front)
        self._cadence, self._keep_warm_s, self._warmed_for_s = Cadence(), setup.keep_warm_ms / 1000, 0.0
        self._unrefined: tuple[Decode, int, float] | None = None
        """The newest decode's last message, its event, and when its volume arrived; None after it was refined."""

    def add_arrival(self, wake: link.Wake) -> None:
        """Note that a volume was committed, and when it arrived."""
        self._pending.add_session(wake.session)
        self._unfolded.add(wake.session)
        self._arrivals[wake.session, wake.run, wake.index] = wake
        self._cadence.add_arrival(wake.arrived_s)

    def add_end(self, end: link.EndOfRun) -> None:
        """Note that a run's end was committed. A run without volumes is found by its end."""
        self._pending.add_session(end.session)

    def step(self) -> bool:
        """Decode one volume; return False if no volume is pending.

        Raises
        ------
        JournalError
            If a journal cannot be read or written now. The next step starts again from what the journals hold.
        """
        try:
            waiting = [] if self.paused else self._pending.find()
            if not waiting:
                self._tidy()
                return False
            # 5. the decoder takes the next pending volume
            chosen = self._pass_over_older(waiting) if self.policy == "latest" else waiting[0]
            with self._sessions.without_if_damaged(chosen.session):
                self._decode(chosen)
            return True
        except JournalError:
            self._pending.clear()
            raise

    def _tidy(self) -> None:
        """Fold the logs of sessions whose runs are over, and close the journals that nothing waits in."""
        for session in list(self._unfolded):
            with self._sessions.without_if_damaged(session):
                journal = self._sessions.find(session)
                if journal is None or journal.is_over():
                    self._unfolded.discard(session)
                if journal and journal.is_over():
                    journal.fold_log()
        self._sessions.rest_idle(keep=self._pending.bold_sessions())

    def refine(self, is_interrupted: Callable[[], bool]) -> None:
        """Make and journal the newest trial's refined picture, if the settings ask for one.

        Parameters
        ----------
        is_interrupted : asked before each denoiser call. True ends the picture; the next call of `refine` starts it
            again.
        """
        if self._unrefined is None:
            return

        def stop_if_interrupted() -> None:
            if is_interrupted():
                raise _Interrupted
            self.liveness.expect("refined")

        decode, event, arrived_s = self._unrefined
        began_s = self.liveness.expect("refined")
        try:
            refined = self._stages.refine(stop_if_interrupted)
        except _Interrupted:
            return
        except Exception:
            # A refined picture is an extra: its failure must not keep the next volume from its pictures.
            logger.exception("run %s, volume %d: no refined picture", decode.run, decode.index)
            self._unrefined = None
            return
        self._unrefined = None
        if refined is None:
            return
        self.liveness.note("refined", time.monotonic() - began_s)
        png, provenance = refined
        message = msgspec.structs.replace(
            decode,
            stage="refined",
            provenance=msgspec.structs.replace(provenance, simulated=decode.provenance.simulated),
            timings_s=decode.timings_s | {"refined": round(time.monotonic() - arrived_s, 6)},
        )
        journal = self._sessions.find(decode.session)
        if journal is None:
            # The session was left out since, because its journal is damaged.
            return
        with self._sessions.without_if_damaged(decode.session):
            self._outbox.publish(journal, message, png, event=event)

    def keep_warm(self) -> float | None:
        """Raise the GPU's clocks shortly before the predicted arrival, once for each arrival.

        Returns the seconds after which to call again; None if nothing is to be done before the next volume. A GPU that
        fails here is logged: the next volume shows whether it can still decode.
        """
        expected_s, now_s = self._cadence.next_s, time.monotonic()
        if not self._keep_warm_s or expected_s is None or expected_s <= max(now_s, self._warmed_for_s):
            return None
        wait_s = expected_s - self._keep_warm_s - now_s
        if wait_s > 0:
            return wait_s
        self._warmed_for_s = expected_s
        try:
            self._stages.keep_warm()
        except Exception:
            logger.exception("the GPU could not be kept warm for the next volume")
        return None

    def until_due_s(self) -> float | None:
        """Return the seconds after which a missing volume is waited for no longer; None if no volume is waited for."""
        due_s = None if self.paused else self._pending.due_s
        return None if due_s is None else max(0.0, due_s - time.monotonic())

    def close(self) -> None:
        """Close the journals."""
        self._sessions.close()

    def _pass_over_older(self, waiting: list[Pending]) -> Pending:
        """Choose by policy `latest`; settle the volumes that are passed over."""
        chosen, replaced, skipped = choose_latest(waiting, self._pending.is_provisional)
        for pending in replaced:
            with self._sessions.without_if_damaged(pending.session):
                self._settle_used(pending)
        for pending in skipped:
            with self._sessions.without_if_damaged(pending.session):
                self._skip(pending, "a newer volume was waiting")
        return chosen

    def _settle_used(self, pending: Pending) -> None:
        self._sessions[pending.session].set_state(pending.arrival, "used")
        self._on_settled(pending, "used")

    def _on_settled(self, pending: Pending, state: VolumeState) -> None:
        self._send(link.Settled(session=pending.session, run=pending.run, index=pending.index, state=state))
        self._forget(pending)

    def _decode(self, pending: Pending) -> None:
        taken_s = time.monotonic()
        events = self._pending.completed_events(pending)
        self._send(link.Taking(session=pending.session, run=pending.run, index=pending.index, events=events))
        journal = self._sessions[pending.session]
        try:
            trials = self._pending.trials(pending)
            steps_s: dict[int, dict[str, float]] = {}
            if len(trials) > 1 and self._stages.weights.has_pictures:
                # Viewers wait most for final estimates: their scores come first. Their pictures, which take long, come
                # last.
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
            if self._pending.is_provisional(pending):
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
        """Journal a trial's stages; return the monotonic time of each step.

        A stage that the journal has already is not journaled again. `steps_s` holds the times of earlier stages.
        """
        done_s: dict[str, float] = {}
        began_s = self.liveness.expect("picture")
        arrival = self._arrivals.get((pending.session, pending.run, pending.index))
        # An earlier daemon may have acked the volume. Its time counts from the start of its decode then.
        arrived_s = arrival.arrived_s if arrival else taken_s
        before_s = {"ack": arrival.ack_s} if arrival else {}
        simulated = journal.hello(pending.run).simulated
        for result in self._stages.run(trial.voxels, trial.pair, trial.shown, has_pictures=has_pictures):
            done_s = {"decoder": taken_s} | result.steps_s | (steps_s or {})
            provenance = self._stages.provenance
            has_seen = result.stage == "scores" and trial.seen is not None
            decode = Decode(
                seq=0,
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
                latents=result.latents,
                n_candidates=result.n_candidates,
                seen_candidate=result.seen_candidate,
                labels=result.labels,
                label=trial.label,
                n_without_signal=trial.n_without_signal,
                signals=trial.signals if result.stage == "scores" else (),
            )
            # 8. the decode is journaled, and the front publishes it
            outcome = "decoded" if result.is_last and is_last_trial and not pending.is_end else None
            payload = trial.seen if has_seen else result.png
            self._outbox.publish(journal, decode, payload, event=trial.event, at_end=pending.is_end, outcome=outcome)
            if result.is_last:
                self._unrefined = decode, trial.event, arrived_s
                self.liveness.note("picture", time.monotonic() - began_s)
        return done_s

    def _skip(self, pending: Pending, reason: str, *, failed: bool = False) -> None:
        journal = self._sessions[pending.session]
        skipped = Skipped(
            seq=0,
            session=pending.session,
            run=pending.run,
            index=pending.index,
            reason=reason,
            failed=failed,
            events=self._pending.completed_events(pending),
        )
        if pending.is_end:
            self._outbox.publish(journal, skipped, event=END_OF_RUN)
            journal.finish_run(pending.run)
        else:
            self._outbox.publish(journal, skipped, outcome="failed" if failed else "skipped")
        self._forget(pending)

    def _forget(self, pending: Pending) -> None:
        self._arrivals.pop((pending.session, pending.run, pending.index), None)
        self._pending.forget(pending)
