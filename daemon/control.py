"""The control socket: status, fetching decodes, pause, other weights, operators' requests, shutdown."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from ..client import wire
from ..errors import BraindError
from .access.guard import Router
from .checks import Refusal
from .publish import frames, message_of
from .sessions import Sessions
from .state import DaemonState

MOST_FETCHED = 256
N_FRAMES_WITHOUT_PICTURE = 2

logger = logging.getLogger(__name__)


class Control:
    """Answers each request with one message. A fetch gets the wanted messages and then `Done`.

    Parameters
    ----------
    pause : function
        Called with True to pause decoding and with False to go on.
    use : function
        Called with a request for other weights; raises BraindError if they are refused.
    shut_down : function
        Called when a client asks the daemon to stop.
    others : mapping of type to function, optional
        Functions that answer other requests with a message's frames.
    """

    def __init__(
        self,
        socket: Router,
        sessions: Sessions,
        state: DaemonState,
        *,
        pause: Callable[[bool], None],
        use: Callable[[wire.Use], None],
        shut_down: Callable[[], None],
        others: Mapping[type, Callable[[Any], list[Any]]] = MappingProxyType({}),
    ) -> None:
        self._socket, self._sessions, self._state = socket, sessions, state
        self._pause, self._use, self._shut_down = pause, use, shut_down
        self._others = others

    async def serve(self) -> None:
        """Answer requests, for ever."""
        while True:
            identity, *request = await self._socket.recv_multipart()
            for answer in self._answers(request, self._socket.sender):
                await self._socket.send_multipart([identity, *answer])
            # Receiving from a socket with messages does not yield to the other tasks. This does.
            await asyncio.sleep(0)

    def _answers(self, request: list[bytes], sender: str = "") -> list[list[Any]]:
        try:
            message, _ = wire.decode(request)
            if isinstance(message, wire.Mark):
                message = msgspec.structs.replace(message, by=sender)
            return self._answer(message)
        except BraindError as error:
            self._state.metrics.refused.labels("control", error.code).inc()
            retryable = error.code in ("storage", "busy")
            return [wire.encode(wire.Refused(code=error.code, sentence=str(error), retryable=retryable))]
        except Exception:
            logger.exception("a request on the control socket")
            return [wire.encode(wire.Refused(code="internal", sentence="the daemon's log says what went wrong"))]

    def _answer(self, message: wire.Message) -> list[list[Any]]:
        match message:
            case wire.StatusRequest():
                return [wire.encode(self._state.status())]
            case wire.FetchRequest():
                return self._fetch(message)
            case wire.Pause():
                self._pause(message.paused)
                return [wire.encode(wire.Done(note="paused" if message.paused else "decoding"))]
            case wire.Use():
                self._use(message)
                return [wire.encode(wire.Done(note="the next run is decoded with these weights"))]
            case wire.Calibration():
                self._state.calibrations.append(message)
                return [wire.encode(wire.Done(note="told to the viewers"))]
            case wire.Shutdown():
                self._shut_down()
                return [wire.encode(wire.Done(note="stopping"))]
        if type(message) in self._others:
            return [self._others[type(message)](message)]
        raise Refusal(
            f"{type(message).__name__} is no request of the control socket; volumes go to the ingest socket",
            code="unexpected",
        )

    def _fetch(self, request: wire.FetchRequest) -> list[list[Any]]:
        from_seq = min(max(request.from_seq, 1), 2**62)
        limit = min(max(request.limit, 0), MOST_FETCHED)
        found = self._sessions.published(from_seq, limit)
        # A message that is not published yet will be published: fetched now, it would come twice.
        found = [published for published in found if published.seq <= self._state.last_seq and message_of(published)]
        wanted = None if request.pictures else N_FRAMES_WITHOUT_PICTURE
        return [
            *(frames(published)[:wanted] for published in found),
            wire.encode(wire.Done(note=f"{len(found)} messages")),
        ]
