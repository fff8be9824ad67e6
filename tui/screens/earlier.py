"""What the screens of a session share: a monitor that started late fetches the session's earlier messages."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from textual import work
from textual.screen import Screen
from textual.worker import get_current_worker

from ...client.wire import Mark
from ...errors import BraindError
from ..feed import Notice, Published, Stage
from ..state.monitor_state import MonitorState
from ..state.recorded import Recordings


class Source(NamedTuple):
    """Where a session's earlier messages and its pictures come from. The functions block, and may raise BraindError.

    `stages` returns decodes by their numbers, with their pictures. `earlier` returns a session's messages before a
    number, without pictures, and stops early when its last argument returns True. `mark` has the daemon keep a mark and
    returns the daemon's answer; None for a recorded session.
    """

    stages: Callable[[tuple[int, ...]], list[Stage | Notice]]
    earlier: Callable[[str, int, Callable[[], bool]], list[Published]]
    mark: Callable[[Mark], str] | None


def source_of_recording(recordings: Recordings, path: str, largest_px: int) -> Source:
    """Return the source of a recorded session, of which every message is known from the start."""
    return Source(partial(recordings.stages, Path(path), largest_px=largest_px), lambda *_: [], None)


class SessionScreen(Screen[None]):
    """A screen of one session.

    Parameters
    ----------
    state : MonitorState
    source : Source
    """

    def __init__(self, state: MonitorState, source: Source) -> None:
        super().__init__()
        self._state, self._source = state, source
        self._note = ""
        """What the title says about the fetching of earlier messages."""

    def fetch_earlier(self, session: str) -> None:
        """Fetch the session's earlier messages, if there may be any."""
        first_seq = self._state.trials.first_seq(session)
        if first_seq is not None and first_seq > 1 and not self._state.recorded:
            self._note = "fetching earlier trials …"
            self._fetch_earlier(session, first_seq)

    @work(thread=True, exclusive=True)
    def _fetch_earlier(self, session: str, before_seq: int) -> None:
        worker = get_current_worker()
        try:
            found = self._source.earlier(session, before_seq, lambda: worker.is_cancelled)
        except BraindError as error:
            self.app.call_from_thread(self._take_earlier, [], f"earlier trials are not known: {error}")
        else:
            if not worker.is_cancelled:
                self.app.call_from_thread(self._take_earlier, found, "")

    def _take_earlier(self, messages: list[Published], note: str) -> None:
        # The screens draw what is new twice a second.
        self._note = note
        self._state.take_older(messages)
