"""Recorded sessions: how the monitor gets them, and the state that it makes from one."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from ...client.wire import Decode, Mark, Numbered
from ...errors import BraindError
from ..feed import Notice, Stage, heard_of, stage_of
from ..recent import N_KEPT
from .monitor_state import MonitorState

Message = tuple[Numbered, bytes | None]
"""A message for the viewers and its payload."""


class SessionFacts(Protocol):
    """A recorded session in short. `problem` says why it cannot be read; then only name, path and size are known."""

    @property
    def session(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def n_bytes(self) -> int: ...
    @property
    def opened_unix_s(self) -> float | None: ...
    @property
    def runs(self) -> tuple[str, ...]: ...
    @property
    def volumes(self) -> dict[str, int]: ...
    @property
    def subject(self) -> int | None: ...
    @property
    def weights(self) -> str: ...
    @property
    def simulated(self) -> bool: ...
    @property
    def state(self) -> str: ...
    @property
    def problem(self) -> str: ...


class Recordings(NamedTuple):
    """The functions that read recorded sessions. They block, and may raise BraindError.

    Parameters
    ----------
    folder : the folder of the sessions
    sessions : returns every session of the folder
    messages : yields a session's messages; the newest trials, as many as the number says, have their payloads
    fetch : returns a session's messages of these numbers, with their payloads
    marks : returns what operators noted in a session
    """

    folder: Path
    sessions: Callable[[], Sequence[SessionFacts]]
    messages: Callable[[Path, int], Iterator[Message]]
    fetch: Callable[[Path, tuple[int, ...]], list[Message]]
    marks: Callable[[Path], list[Mark]]

    def stages(self, path: Path, seqs: tuple[int, ...], largest_px: int) -> list[Stage | Notice]:
        """Return a session's decodes of these numbers, with their pictures scaled down to `largest_px`."""
        found = [stage_of(one, png, largest_px) for one, png in self.fetch(path, seqs) if isinstance(one, Decode)]
        return [one for of_message in found for one in of_message]


def read_session(
    recordings: Recordings, path: Path, is_stopped: Callable[[], bool], largest_px: int
) -> tuple[MonitorState, str]:
    """Return a recorded session's state, and the sentence on damage that ended the reading; "" if nothing is damaged.

    Pictures are scaled down to a longer side of `largest_px`.

    Raises
    ------
    BraindError
        The session cannot be read at all.
    """
    now_s = time.monotonic()
    state, n_taken, problem = MonitorState(now_s, recorded=path.stem), 0, ""
    marks: list[Mark] = []
    # Ages are then by this machine's clock. The recording daemon's clock is not known any more.
    state.connection.clock.note(time.time(), now_s)
    try:
        marks = sorted(recordings.marks(path), key=_made_s, reverse=True)
    except BraindError as error:
        problem = str(error)
        state.take(Notice(problem), now_s)
    try:
        for message, payload in recordings.messages(path, N_KEPT):
            if is_stopped():
                break
            while marks and message.made_s is not None and _made_s(marks[-1]) < message.made_s:
                state.take_mark(marks.pop(), now_s)
            if isinstance(message, Decode) and payload is None:
                state.take(Stage(message, None), now_s)
            else:
                for heard in heard_of(message, payload, largest_px):
                    state.take(heard, now_s)
            n_taken += 1
        for mark in reversed(marks):
            state.take_mark(mark, now_s)
    except BraindError as error:
        if not n_taken:
            raise
        problem = str(error)
        state.take(Notice(problem), now_s)
    state.end_recording()
    return state, problem


def _made_s(mark: Mark) -> float:
    return mark.made_s or 0.0
