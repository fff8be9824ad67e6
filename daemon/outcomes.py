"""The outcome of each acked volume: volumes are followed from their ack on, and each outcome is logged."""

import logging

from ..client.wire import Decode, Gap, Numbered
from . import link
from .journal.database import JournalError
from .publish import is_last
from .sessions import Sessions
from .state import DaemonState

logger = logging.getLogger(__name__)


class Outcomes:
    """Follows acked volumes until their outcome is known, and logs each outcome in one line."""

    def __init__(self, sessions: Sessions, state: DaemonState) -> None:
        self._sessions, self._state = sessions, state
        self._in_flight: dict[tuple[str, str, int], link.Wake] = {}
        self._current: link.Taking | None = None
        self._slow_run: tuple[str, str] | None = None
        """The newest run of which the log says that its volumes come faster than they are decoded."""

    def add_arrival(self, wake: link.Wake) -> None:
        """Follow a volume from its ack on."""
        self._in_flight[wake.session, wake.run, wake.index] = wake

    def in_flight(self) -> list[link.Wake]:
        """Return the arrivals of the volumes without an outcome: a new decoder must be told of them."""
        return list(self._in_flight.values())

    def start(self, taking: link.Taking) -> None:
        """Note the volume that the decoder decodes now."""
        self._current = taking

    def crashed(self) -> link.Taking | None:
        """Return the volume that the decoder was decoding when it died. No volume is being decoded then."""
        volume, self._current = self._current, None
        return volume

    def clear(self) -> None:
        """Follow no volume any more: other weights are in use."""
        self._in_flight.clear()

    def on_published(self, message: Numbered) -> None:
        """Count and settle: a published message, and its volume if no further message about it follows; log a gap."""
        if isinstance(message, Gap):
            fields = {"session": message.session, "run": message.run, "index": message.index}
            logger.warning(message.sentence, extra={"fields": fields | {"n_missing": message.n_missing}})
            return
        if isinstance(message, Decode):
            self._state.metrics.published.labels(message.stage).inc()
        if not is_last(message):
            return
        if isinstance(message, Decode):
            self._state.note_decode(message)
            self._warn_if_slow(message)
            self.settle(message.session, message.run, message.index, "decoded", message.timings_s)
        else:
            self.settle(message.session, message.run, message.index, "failed" if message.failed else "skipped")

    def _warn_if_slow(self, decode: Decode) -> None:
        """Log once a run that decoding a volume took longer than a TR."""
        run = decode.session, decode.run
        journal = self._sessions.find(decode.session)
        if not decode.timings_s or run == self._slow_run or journal is None:
            return
        decode_s = max(decode.timings_s.values()) - decode.timings_s.get("decoder", 0.0)
        try:
            tr_s = journal.hello(decode.run).tr_s
        except JournalError:
            return  # whoever needs the run meets the same error and reports it
        if decode_s > tr_s:
            self._slow_run = run
            logger.warning(
                "run %s: decoding volume %d took %.1f s, and the TR is %g s: policy latest skips volumes that wait "
                "meanwhile, and policy all falls behind; take a faster preset, a smaller model or a GPU",
                decode.run, decode.index, decode_s, tr_s, extra={"fields": {"session": decode.session}},
            )  # fmt: skip

    def settle(
        self, session: str, run: str, index: int, outcome: str, timings_s: dict[str, float] | None = None
    ) -> None:
        """Log a volume's outcome and follow the volume no longer."""
        self._state.metrics.settled.labels(outcome).inc()
        wake = self._in_flight.pop((session, run, index), None)
        if self._current and (self._current.session, self._current.run, self._current.index) == (session, run, index):
            self._current = None
        steps_s = ({"ack": wake.ack_s} if wake else {}) | (timings_s or {})
        steps = "".join(f", {step} {1000 * seconds:.0f} ms" for step, seconds in steps_s.items())
        fields = {"session": session, "run": run, "index": index, "outcome": outcome, "seconds": steps_s}
        logger.info("run %s, volume %d: %s%s", run, index, outcome, steps, extra={"fields": fields})
