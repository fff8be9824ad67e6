"""`braind monitor`: the newest decode, its nearest candidates and its latency. Only a subscriber."""

import gc
import time
from collections.abc import Iterator, Mapping
from functools import partial

from textual import on, work
from textual.app import App, SystemCommand
from textual.events import Event, InputEvent
from textual.screen import Screen
from textual.worker import get_current_worker

from ..client.connection import RefusedByDaemon
from ..client.endpoints import SOCKETS, Endpoints
from ..config import MonitorConfig
from ..errors import BraindError, ExitCode
from .commands import BINDINGS, palette
from .connection import Connection, hint
from .dialogs import ConfirmPause, Help
from .drawing.terminal import HALF_BLOCKS, Terminal, forget_exported_size, terminal_for
from .feed import Notice, fetch_session, fetch_stages, follow, send_mark, set_paused
from .keymap import keymap, shown_key
from .live.picture_view import PictureView
from .messages import (
    ControlAnswered,
    DaemonHeard,
    NoticeGiven,
    StageDecoded,
    VolumeChosen,
    VolumeSkipped,
    message_of,
)
from .pictures import largest_px
from .recent import N_KEPT, DecodedVolume, RecentDecodes
from .saving import save_svg
from .screens.earlier import Source
from .screens.events import EventsScreen
from .screens.live import LiveScreen
from .screens.operator import operator_screen
from .screens.quality import QualityScreen
from .screens.sessions import SessionsScreen
from .screens.trials import TrialsScreen
from .state.monitor_state import MonitorState
from .state.recorded import Recordings
from .theme import CONTROL_ROOM, DARK_ROOM
from .zoom import Zoom

TICK_S = 0.5
N_HISTORY = 3 * N_KEPT
"""How many messages are fetched when the monitor starts: three stages per volume."""
NOTICE_EVERY_S = 10.0
"""At most one notice pops up in this time. The event log keeps all notices."""


class Monitor(App[None]):
    """The monitor. Workers post messages; the handlers pass them to the state, and the state to the screens."""

    TITLE = "braind monitor"
    CSS_PATH = "monitor.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (72, "-normal"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (15, "-low"), (20, "-medium"), (32, "-tall")]
    BINDINGS = BINDINGS

    def __init__(
        self,
        where: Endpoints,
        terminal: Terminal = HALF_BLOCKS,
        theme: str = CONTROL_ROOM.name,
        recordings: Recordings | None = None,
        own_keys: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.where, self.recordings = where, recordings
        self.own_keys = dict(own_keys or {})
        """The user's keys, by the ids of what they do."""
        self.terminal, self._first_theme = terminal, theme
        self.state = MonitorState(opened_s=time.monotonic())
        self.held: DecodedVolume | None = None
        self.bell_is_on = True
        self._n_rung_for = 0
        """How many of the log's events the bell has dealt with."""
        self._noticed_s = -NOTICE_EVERY_S
        self._show_is_due = False

    def get_default_screen(self) -> LiveScreen:
        """Return the Live screen, which lies under all others."""
        return LiveScreen()

    def on_mount(self) -> None:
        for theme in (CONTROL_ROOM, DARK_ROOM):
            self.register_theme(theme)
        self.theme = self._first_theme
        self.set_keymap(self.own_keys)
        self.set_interval(TICK_S, self.show)
        self.call_after_refresh(self.show)
        self._follow_daemon()

    def on_ready(self) -> None:
        """Keep the garbage collector from all that is there now: it would look through it while a picture waits."""
        if not self.is_headless:  # a process of tests goes on after its app
            gc.freeze()

    async def on_event(self, event: Event) -> None:
        """Take no key after the one that quits: a screen that opens then never gets its widgets."""
        if not (self._exit and isinstance(event, InputEvent)):
            await super().on_event(event)

    def on_app_focus(self) -> None:
        """Fill the footer: in a browser the monitor starts without the focus, and a footer stays empty then."""
        self.call_later(lambda: self.screen.refresh_bindings())

    def on_resize(self) -> None:
        """Fit the words of the Live screen to another width at once."""
        self.call_after_refresh(self.show)

    @property
    def recent(self) -> RecentDecodes:
        """The newest decodes."""
        return self.state.recent

    @property
    def connection(self) -> Connection:
        """The daemon's last messages."""
        return self.state.connection

    @property
    def volume_on_show(self) -> DecodedVolume | None:
        """The volume on the screen: the held volume, else the newest."""
        return self.held or self.recent.newest(time.monotonic())

    # ── workers: post messages, touch no widget ──

    @work(thread=True, group="feed", exclusive=True)
    def _follow_daemon(self) -> None:
        worker = get_current_worker()
        try:
            for heard in follow(self.where, lambda: worker.is_cancelled, N_HISTORY, largest_px(self.terminal)):
                self.post_message(message_of(heard))
        except RefusedByDaemon as error:
            self.call_from_thread(self.exit, return_code=ExitCode.USAGE, message=f"braind: {error}")

    @work(thread=True, group="control", exclusive=True)
    def _set_paused(self, paused: bool) -> None:
        try:
            set_paused(self.where, paused)
        except BraindError as error:
            self.post_message(ControlAnswered(str(error), carried_out=False))
        else:
            self.post_message(ControlAnswered("decoding is paused" if paused else "decoding goes on", carried_out=True))

    # ── messages from the workers ──

    @on(StageDecoded)
    @on(VolumeSkipped)
    @on(DaemonHeard)
    @on(NoticeGiven)
    def _take(self, message: StageDecoded | VolumeSkipped | DaemonHeard | NoticeGiven) -> None:
        heard, now_s = message.heard, time.monotonic()
        self.state.take(heard, now_s)
        if isinstance(heard, Notice) and now_s - self._noticed_s >= NOTICE_EVERY_S:
            self._noticed_s = now_s
            self.notify(heard.sentence, severity="warning", markup=False)
        # Draw once after a burst of messages.
        if not self._show_is_due:
            self._show_is_due = True
            self.call_later(self.show)

    @on(ControlAnswered)
    def _take_answer(self, message: ControlAnswered) -> None:
        self.clear_notifications()
        self.notify(message.sentence, severity="information" if message.carried_out else "error", markup=False)

    @on(VolumeChosen)
    def _hold(self, message: VolumeChosen) -> None:
        self.held = message.volume
        self.show()

    # ── keys ──

    def action_older(self) -> None:
        """Hold the next older decode."""
        self._hold_neighbour(1)

    def action_newer(self) -> None:
        """Hold the next newer decode; from the newest on, follow the stream."""
        self._hold_neighbour(-1)

    def _hold_neighbour(self, step: int) -> None:
        if self.volume_on_show is not None:
            self.held = self.recent.neighbour(self.volume_on_show, step)
            self.show()

    def action_follow(self) -> None:
        """Show the newest decode again, and every new one."""
        self.held = None
        self.show()

    def action_help(self) -> None:
        """Explain the words and keys."""
        self.push_screen(Help())

    def action_trials(self) -> None:
        """Show the table of trials."""
        self.push_screen(TrialsScreen(self.state, self.trials_source()))

    def trials_source(self) -> Source:
        """Return where earlier trials and the pictures of older trials come from."""
        fetch = partial(fetch_stages, self.where, largest_px=largest_px(self.terminal))
        return Source(fetch, partial(fetch_session, self.where), partial(send_mark, self.where))

    def action_sessions(self) -> None:
        """Show the list of recorded sessions."""
        if self.recordings is None:
            self.notify("recorded sessions are on the daemon's machine: start braind monitor there, in a terminal")
        else:
            self.push_screen(SessionsScreen(self.recordings))

    def action_quality(self) -> None:
        """Show the quality of the newest run."""
        self.push_screen(QualityScreen(self.state, self.trials_source()))

    def action_operate(self, name: str) -> None:
        """Show a screen for the operator."""
        self.push_screen(operator_screen(name, self.state, self.where))

    def action_events(self) -> None:
        """Show the event log."""
        self.push_screen(EventsScreen(self.state))

    def action_switch_bell(self) -> None:
        """Switch the alarms' bell off or on."""
        self.bell_is_on = not self.bell_is_on
        self.notify(f"the bell for alarms is {'on' if self.bell_is_on else 'off'}")

    def action_save_screen(self) -> None:
        """Save a picture of the screen and say where."""
        try:
            path = save_svg(self._svg())
        except BraindError as error:
            self.notify(str(error), severity="error", markup=False)
        else:
            self.notify(f"the screen was saved as {path}", markup=False)

    def _svg(self) -> str:
        # An SVG has cells only: half-blocks stand for pictures that the terminal or the browser draws over the cells.
        terminal = self.terminal
        if terminal.drawing != "off":
            self.terminal = HALF_BLOCKS
        try:
            return self.export_screenshot()
        finally:
            self.terminal = terminal
            for view in self.screen.query(PictureView):
                view.refresh()

    def action_zoom(self) -> None:
        """Show one picture as large as the terminal allows."""
        self.push_screen(Zoom(lambda: self.volume_on_show, is_of_live=True))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the volume on show alone where nobody sees it: on every screen but Live, and the Zoom over Live."""
        is_live = isinstance(self.screen, LiveScreen)
        if action in ("zoom", "older", "newer"):
            return is_live
        return action != "follow" or is_live or (isinstance(self.screen, Zoom) and self.screen.is_of_live)

    @property
    def paused(self) -> bool:
        """Whether the daemon says that decoding is paused."""
        return self.connection.state(time.monotonic()) == "paused"

    def action_pause(self) -> None:
        """Ask before pausing; go on at once."""
        if self.paused:
            self._set_paused(False)
        else:
            self.push_screen(ConfirmPause(), self._pause_if_confirmed)

    def _pause_if_confirmed(self, confirmed: bool | None) -> None:
        if confirmed:
            self._set_paused(True)

    def get_system_commands(self, screen: Screen[object]) -> Iterator[SystemCommand]:
        """Fill the palette."""
        is_live = isinstance(screen, LiveScreen)
        for title, explained, action in palette(is_live=is_live, paused=self.paused, bell_is_on=self.bell_is_on):
            yield SystemCommand(title, explained, partial(self.run_action, action))

    # ── to the screens ──

    def show(self) -> None:
        """Pass the state to the Live screen; ring for new alarms."""
        self._show_is_due = False
        live = self.screen_stack[0] if self.is_running and self.screen_stack else None
        if not isinstance(live, LiveScreen) or not live.is_mounted:
            # A timer may still fire while the widgets are removed.
            return
        now_s = time.monotonic()
        self.state.tick(now_s)
        self._ring()
        live.show(self.state, self.held, self._hint(now_s), now_s)

    def _ring(self) -> None:
        new, self._n_rung_for = self.state.log.since(self._n_rung_for), self.state.log.n_added
        if self.bell_is_on and any(entry.severity == "alarm" and not entry.is_history for entry in new):
            self.bell()

    def _hint(self, now_s: float) -> str:
        return hint(self.connection, self.where.decodes, now_s, shown_key(self, "monitor.pause"))


def run_monitor(where: Endpoints, look: MonitorConfig, recordings: Recordings | None = None) -> int:
    """Watch a daemon's decodes on the screen; return the exit status.

    Raises
    ------
    BraindError
        A daemon's address, the key file or a key of the settings is wrong.
    """
    for socket in SOCKETS:
        # A wrong address or key file is reported on the command line, not on a screen that closes again.
        where.address(socket)
    forget_exported_size()
    own_keys = keymap(look.keys)
    monitor = Monitor(where, terminal_for(look.pictures), look.theme, recordings, own_keys)
    monitor.run()
    return monitor.return_code or 0
