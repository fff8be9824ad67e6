"""The front process's main loop: it checks, journals and answers every message of a scanner client.

The front never imports torch, so no fault of a GPU or a model ends it. Every message gets exactly one answer.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from ..client import wire
from ..client.wire import Ack, Clock, ClockRequest, EndRun, Event, Grid, GridRequest, Hello, Refused, Volume, Welcome
from ..errors import BraindError
from ..models.weights import roi
from ..models.weights.candidate_names import CandidateNames
from ..models.weights.weights import Weights
from . import checks, link
from .access.guard import Router
from .active_run import ActiveRun
from .checks import Refusal
from .journal.records import RunRecord
from .sessions import Sessions
from .state import DaemonState

LOG_EVERY_S = 1.0
MANY_MISSING = 10

logger = logging.getLogger(__name__)


class Ingest:
    """Answers the messages of scanner clients.

    Parameters
    ----------
    socket : ROUTER
    sessions : Sessions
    state : DaemonState
    weights : Weights
        They name the subject, the grid and the voxels that are kept.
    candidates : CandidateNames
        The pictures that trials can be compared with.
    store_volumes : bool
        True: the journal keeps the whole volumes too.
    wake : function
        Called after each ack of a new volume, and when a run ends.
    """

    def __init__(
        self,
        socket: Router,
        sessions: Sessions,
        state: DaemonState,
        weights: Weights,
        candidates: CandidateNames,
        *,
        store_volumes: bool,
        wake: Callable[[link.Wake | link.EndOfRun], None],
    ) -> None:
        self._socket, self._sessions, self._state = socket, sessions, state
        self._weights, self._candidates = weights, candidates
        self._store_volumes, self._wake = store_volumes, wake
        self._last_logged_s: dict[str, float] = {}
        self._last_active_s = -math.inf
        """Monotonic time of the last opened run or taken volume."""
        self._runs: dict[tuple[str, str], ActiveRun] = {}
        """The open runs, by session and run."""

    def use(self, weights: Weights, candidates: CandidateNames) -> None:
        """Take volumes under other weights from now on."""
        self._weights, self._candidates = weights, candidates
        self._runs.clear()

    def current_run(self) -> str:
        """Return the open run; "" if the last run has ended or no volume has come for `wire.SILENT_S` seconds."""
        if time.monotonic() - self._last_active_s > wire.SILENT_S:
            return ""
        journal = self._sessions.find(self._state.session)
        record = journal.run(self._state.run) if journal else None
        return self._state.run if record and record.n_volumes is None else ""

    async def serve(self) -> None:
        """Answer messages, for ever."""
        while True:
            sender, *frames = await self._socket.recv_multipart()
            arrived_s = time.monotonic()
            answer = self.take(frames)
            await self._socket.send_multipart([sender, *wire.encode(answer)])  # 4. the client gets its Ack
            if isinstance(answer, Ack) and answer.of == "volume" and not answer.duplicate:
                ack_s = round(time.monotonic() - arrived_s, 6)
                self._state.note_ack(ack_s)
                if not self._weights.is_blank:
                    self._wake(
                        link.Wake(
                            session=answer.session,
                            run=answer.run,
                            index=answer.index,
                            arrived_s=arrived_s,
                            ack_s=ack_s,
                        )
                    )
            # Receiving from a socket with messages does not yield to the other tasks. This does.
            await asyncio.sleep(0)

    def take(self, frames: list[bytes]) -> wire.Message:
        """Return the answer to one message. An acked message is on disk when this returns."""
        message: Any = None
        try:
            message, payload = wire.decode(frames)  # 1. refuse what is malformed
            match message:
                case Volume():
                    return self._take_volume(message, payload)
                case Event():
                    return self._take_event(message, payload)
                case Hello():
                    return self._open_run(message)
                case EndRun():
                    return self._end_run(message)
                case GridRequest():
                    return self._grid()
                case ClockRequest():
                    return self._clock(message)
            raise Refusal(
                f"{type(message).__name__} is nothing the ingest socket takes; send GridRequest, ClockRequest, "
                "Hello, Volume, Event or EndRun",
                code="unexpected",
            )
        except BraindError as error:
            return self._refuse(message, error.code, str(error))
        except Exception:
            logger.exception("a message on the ingest socket")
            return self._refuse(message, "internal", "the daemon could not handle this; its log says what went wrong")

    def _take_volume(self, volume: Volume, payload: list[bytes]) -> Ack:
        run = self._find_run(volume)
        checks.check_volume(volume, payload, run)
        values = wire.volume_array(volume, payload)
        voxels = _keep_voxels(volume, values, run)  # 2. keep the decoder's voxels
        same = run.same_volume(volume, voxels)
        if same is False:
            raise Refusal(
                f"run {volume.run}, volume {volume.index}: other bytes were acked under this index; the first are kept",
                code="conflict",
            )
        if same is None:
            whole = payload[0] if self._store_volumes else None
            seen = payload[1] if volume.seen else None
            state = "recorded" if run.weights.is_blank else "waiting"
            with self._state.metrics.commit.time():
                run.add_volume(volume, voxels, seen=seen, whole=whole, state=state)  # 3. on disk from here
            self._state.stall.add_volume(run.hello)
            self._state.signal_check.add_volume(run.hello, voxels, is_decoded=not run.weights.is_blank)
        self._last_active_s = time.monotonic()
        return self._ack(volume, volume.index, "volume", is_new=same is None)

    def _take_event(self, event: Event, payload: list[bytes]) -> Ack:
        run = self._find_run(event)
        checks.check_event(event, payload, run)
        is_new = run.add_event(event, payload[0] if event.seen else None)
        return self._ack(event, event.event, "event", is_new=is_new)

    def _grid(self) -> Grid:
        card = self._weights.card
        return Grid(
            subject=card.subject,
            kind=card.kind,
            shape=card.shape,
            affine=card.affine,
            weights=self._weights.fingerprint,
        )

    def _clock(self, request: ClockRequest) -> Clock:
        received_s = time.time()
        checks.check_clock(request)
        if request.offset_s is not None:
            self._state.clock_offset_s = request.offset_s
            self._state.clock_uncertainty_s = request.uncertainty_s
            self._state.connections.note_clock(request.offset_s, request.uncertainty_s)
        return Clock(sent_s=request.sent_s, received_s=received_s, answered_s=time.time())

    def _open_run(self, hello: Hello) -> Welcome:
        checks.check_hello(hello, self._weights, self._candidates)
        journal = self._sessions.open(hello.session)
        record = journal.run(hello.run)
        if record:
            checks.check_same_run(hello, record)
            checks.check_weights(record, self._weights)
        else:
            record = RunRecord(hello, self._weights.fingerprint, n_volumes=None)
            journal.keep_mask(record.weights, self._weights.voxel_index)
            journal.open_run(hello, record.weights)
        self._hold(ActiveRun.of_record(journal, record, self._weights, self._candidates))
        self._last_active_s = time.monotonic()
        self._state.stall.open(hello)
        self._state.signal_check.open(journal, record)
        simulated = self._weights.card.simulated or hello.simulated
        self._state.session, self._state.run, self._state.simulated = hello.session, hello.run, simulated
        # Another machine with another clock may send this run.
        self._state.clock_offset_s = self._state.clock_uncertainty_s = None
        next_index = journal.next_index(hello.run)
        logger.info(
            "run %s of session %s is open, from volume %d on%s",
            hello.run, hello.session, next_index, " (simulated)" if simulated else "",
        )  # fmt: skip
        return Welcome(
            session=hello.session,
            run=hello.run,
            next_index=next_index,
            weights=self._weights.fingerprint,
            simulated=simulated,
        )

    def _end_run(self, message: EndRun) -> Ack:
        run = self._find_run(message)
        checks.check_end(message, run)
        is_new = run.n_volumes is None
        if is_new:
            run.end(message)
            self._hold(run)
            self._state.stall.end(message.session, message.run)
            self._state.signal_check.end(message.session, message.run)
            self._wake(link.EndOfRun(session=message.session, run=message.run))
            n_missing, missing = run.journal.missing(message.run, message.n_volumes, MANY_MISSING)
            which = ": " + ", ".join(map(str, missing)) + (", …" if n_missing > len(missing) else "") if missing else ""
            logger.info("run %s ended: %d volumes, %d missing%s", message.run, message.n_volumes, n_missing, which)
        return self._ack(message, message.n_volumes, "end_run", is_new=is_new)

    def _ack(
        self, message: Volume | Event | EndRun, index: int, of: Literal["volume", "event", "end_run"], *, is_new: bool
    ) -> Ack:
        return Ack(
            session=message.session,
            run=message.run,
            index=index,
            of=of,
            duplicate=not is_new,
            durability=self._sessions.durability,
        )

    def _find_run(self, message: Volume | Event | EndRun) -> ActiveRun:
        """Return a message's run: the open run, or a run that an earlier daemon journaled."""
        journal = self._sessions.find(message.session)
        run = self._runs.get((message.session, message.run))
        # A damaged session that was opened again has another journal object.
        if run and run.journal is journal:
            return run
        record = journal.run(message.run) if journal else None
        if journal is None or record is None:
            raise Refusal(
                f"session {message.session[:80]!r}, run {message.run[:80]!r} is not open; send Hello first", code="run"
            )
        checks.check_weights(record, self._weights)
        return self._hold(ActiveRun.of_record(journal, record, self._weights, self._candidates))

    def _hold(self, run: ActiveRun) -> ActiveRun:
        """Keep a run until it ends, so that its next message finds it."""
        key = (run.journal.session, run.name)
        if run.n_volumes is None:
            self._runs[key] = run
        else:
            self._runs.pop(key, None)
        return run

    def _refuse(self, message: Any, code: str, sentence: str) -> Refused:
        self._state.note_refused(code, sentence)
        # A wrong sender may send thousands of messages a second.
        now_s = time.monotonic()
        if now_s - self._last_logged_s.get(code, -LOG_EVERY_S) >= LOG_EVERY_S:
            self._last_logged_s[code] = now_s
            logger.warning("refused (%s): %s", code, sentence, extra={"fields": {"code": code}})
        return Refused(
            code=code,
            sentence=sentence,
            session=getattr(message, "session", ""),
            run=getattr(message, "run", ""),
            index=getattr(message, "index", getattr(message, "event", None)),
            retryable=code in ("storage", "crc"),
        )


def _keep_voxels(volume: Volume, values: wire.Array, run: ActiveRun) -> wire.Array:
    with np.errstate(over="ignore"):  # values beyond float32 become infinite and are refused
        voxels = roi.gather(values, run.weights.voxel_index, volume.scale)
    try:
        roi.check_finite(voxels, run.hello.kind)
        roi.check_range(voxels)
    except roi.RoiError as error:
        raise Refusal(f"run {volume.run}, volume {volume.index}: {error}", code=error.code) from error
    return voxels
