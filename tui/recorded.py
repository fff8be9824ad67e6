"""`braind monitor --session`: the monitor of a recorded session. There is no daemon."""

from collections.abc import Mapping
from pathlib import Path

from textual import work
from textual.worker import get_current_worker

from ..client.endpoints import Endpoints
from ..config import MonitorConfig
from ..errors import BraindError, ExitCode
from .app import Monitor
from .drawing.terminal import HALF_BLOCKS, Terminal, forget_exported_size, terminal_for
from .keymap import keymap
from .pictures import largest_px
from .screens.earlier import Source, source_of_recording
from .state.monitor_state import MonitorState
from .state.recorded import Recordings, read_session
from .theme import CONTROL_ROOM


class RecordedMonitor(Monitor):
    """Shows the journal of a session. Every screen of the monitor shows the session as a daemon would have sent it."""

    TITLE = "braind monitor, recorded session"

    def __init__(
        self,
        where: Endpoints,
        recordings: Recordings,
        path: Path,
        terminal: Terminal = HALF_BLOCKS,
        theme: str = CONTROL_ROOM.name,
        own_keys: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(where, terminal, theme, recordings, own_keys)
        self._path = path
        self.state = MonitorState(self.state.connection.opened_s, recorded=path.stem)
        self._is_read = False

    @work(thread=True, group="feed", exclusive=True)
    def _follow_daemon(self) -> None:
        worker = get_current_worker()
        assert self.recordings is not None
        try:
            state, problem = read_session(
                self.recordings, self._path, lambda: worker.is_cancelled, largest_px(self.terminal)
            )
        except (BraindError, OSError) as error:
            self.call_from_thread(self.exit, return_code=ExitCode.FAILED, message=f"braind: {error}")
        else:
            if not worker.is_cancelled:
                self.call_from_thread(self._take_state, state, problem)

    def _take_state(self, state: MonitorState, problem: str) -> None:
        self.state, self._is_read = state, True
        if problem:
            self.notify(f"read up to the damage: {problem}", severity="error", markup=False)
        self.show()

    def trials_source(self) -> Source:
        """Return where the pictures of older trials come from: the recorded session."""
        assert self.recordings is not None
        return source_of_recording(self.recordings, str(self._path), largest_px(self.terminal))

    def action_pause(self) -> None:
        """Say that nothing is decoded now."""
        self.notify("this is a recorded session: nothing is decoded now")

    def action_operate(self, name: str) -> None:
        """Say that no daemon can be asked."""
        del name
        self.notify("this is a recorded session: there is no daemon to control")

    def _hint(self, now_s: float) -> str:
        del now_s
        return "this session has no decode" if self._is_read else f"reading {self._path.name} …"


def run_recorded(where: Endpoints, recordings: Recordings, path: Path, look: MonitorConfig) -> int:
    """Show a recorded session; return the exit status.

    Raises
    ------
    BraindError
        The session cannot be read, or a key of the settings is wrong. This is said on the command line, not on a
        screen that closes again.
    """
    own_keys = keymap(look.keys)
    next(recordings.messages(path, 0), None)
    forget_exported_size()
    monitor = RecordedMonitor(where, recordings, path, terminal_for(look.pictures), look.theme, own_keys)
    monitor.run()
    return monitor.return_code or 0
