"""Requests of operators: how the daemon is set up, other settings, marks, and what was recorded so far."""

import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from ...client import wire
from .. import link
from ..checkup.clock import SYNCHRONISED_PATH
from ..sessions import Sessions
from ..state import DaemonState
from ..supervision.supervise import Supervisor
from .marks import keep_mark
from .recorded import RecordedSoFar
from .settings import SettingsInForce

logger = logging.getLogger(__name__)

Answer = Callable[[Any], list[Any]]


class OperatorRequests:
    """Answers operators' requests with the frames of one message.

    Parameters
    ----------
    supervisor : Supervisor
        Is told of other settings.
    keys : str
        off, or required.
    """

    def __init__(
        self,
        sessions: Sessions,
        state: DaemonState,
        settings: SettingsInForce,
        supervisor: Supervisor,
        *,
        keys: str,
    ) -> None:
        self._sessions, self._state, self._settings = sessions, state, settings
        self._supervisor, self._keys = supervisor, keys
        self._recorded = RecordedSoFar(sessions, state)
        self._clock_ahead_s = time.time() - time.monotonic()

    def answers(self) -> dict[type, Answer]:
        """Return the function that answers each type of request."""
        return {
            wire.SetupRequest: lambda _: wire.encode(self._setup()),
            wire.Change: lambda request: wire.encode(self._change(request)),
            wire.Mark: lambda request: wire.encode(keep_mark(request, self._sessions, self._state)),
            wire.RecordedRequest: self._what_was_recorded,
        }

    def _change(self, change: wire.Change) -> wire.Done:
        """Decode in another way from the next volume on."""
        is_loaded_anew = self._settings.change(change)
        policy = self._settings.policy
        if policy != self._state.policy:
            self._state.policy = policy
            self._supervisor.send(link.SetPolicy(policy=policy))
            logger.info("policy %s from now on", policy)
        if not is_loaded_anew:
            return wire.Done(note=f"policy {policy}; the decoder goes on")
        self._state.expect_decoder()
        self._supervisor.renew_after_volume()
        return wire.Done(
            note="the decoder finishes its volume and is loaded anew; volumes are acked and wait meanwhile"
        )

    def _what_was_recorded(self, request: wire.RecordedRequest) -> list[Any]:
        answer, png = self._recorded.answer(request)
        return wire.encode(answer, *([png] if png is not None else []))

    def _setup(self) -> wire.Setup:
        state, settings = self._state, self._settings
        journal = self._sessions.find(state.session) if state.session else None
        record = journal.run(state.run) if journal else None
        ack_p50_s, ack_p99_s = state.ack_percentiles_s()
        return wire.Setup(
            mode=settings.mode,
            refine=settings.decoder.refine.name if settings.decoder.refine and settings.weights.has_pictures else "",
            presets=tuple(settings.presets) if settings.weights.has_pictures else (),
            keys=self._keys,
            libzmq=zmq.zmq_version(),
            connections=state.connections.connected(),
            tr_s=record.hello.tr_s if record else None,
            journal_bytes=_journal_bytes(journal.path) if journal else None,
            free_bytes=_free_bytes(self._sessions.journals_path),
            ack_p50_s=ack_p50_s,
            ack_p99_s=ack_p99_s,
            clock_step_s=round(time.time() - time.monotonic() - self._clock_ahead_s, 3),
            # A machine without the file may be synchronised by another program.
            is_synchronised=SYNCHRONISED_PATH.exists() or None,
        )


def _journal_bytes(path: Path) -> int | None:
    try:
        return sum(os.path.getsize(one) for one in (path, path.with_name(f"{path.name}-wal")) if one.exists())
    except OSError:
        return None


def _free_bytes(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
