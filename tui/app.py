"""`braind monitor`: the newest decode, its nearest candidates and its latency. Only a subscriber."""

import time
from collections.abc import Iterator

from textual import on, work
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding
from textual.containers import Horizontal
from textual.screen import Screen
from textual.widgets import Footer
from textual.worker import get_current_worker

from ..client.connection import RefusedByDaemon
from ..client.endpoints import SOCKETS, Endpoints
from ..client.wire import Heartbeat, Skipped
from ..errors import BraindError, ExitCode
from .classes import Classes
from .connection import Connection, without_signal_words
from .decode_view import DecodeView
from .dialogs import ConfirmPause, Help
from .feed import Notice, Stage, follow, set_paused
from .latency import Latency
from .messages import (
    ControlAnswered,
    DaemonHeard,
    NoticeGiven,
    StageDecoded,
    VolumeChosen,
    VolumeSkipped,
)
from .plain import write_lines
from .recent import N_KEPT, DecodedVolume, RecentDecodes
from .retrieval import Retrieval
from .state_bar import StateBar
from .strip import RecentStrip
from .text_view import TextView
from .theme import CONTROL_ROOM

TICK_S = 0.5
N_HISTORY = 3 * N_KEPT
"""How many messages are fetched when the monitor starts: three stages per volume."""
NOTICE_EVERY_S = 10.0
"""At most one notice pops up in this time; the top bar counts all notices."""


class Monitor(App[None]):
    """The monitor. Workers post messages; the handlers own all state and pass it to the widgets."""

    TITLE = "braind monitor"
    CSS_PATH = "monitor.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (72, "-normal"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (15, "-low"), (20, "-medium"), (32, "-tall")]
    BINDINGS = [
        Binding("right", "older", "Older", id="monitor.older", tooltip="Hold the next older decode of the strip"),
        Binding("left", "newer", "Newer", id="monitor.newer", tooltip="Hold the next newer decode of the strip"),
        Binding("f,escape", "follow", "Follow", id="monitor.follow", tooltip="Show the newest decode again"),
        Binding("p", "pause", "Pause", id="monitor.pause", tooltip="Pause decoding, or go on"),
        Binding("question_mark", "help", "Help", key_display="?", id="monitor.help", tooltip="Words and keys"),
        Binding("q", "quit", "Quit", id="monitor.quit", tooltip="Leave the monitor; the daemon goes on"),
    ]

    def __init__(self, where: Endpoints) -> None:
        super().__init__()
        self.where = where
        self.recent = RecentDecodes()
        self.held: DecodedVolume | None = None
        self.connection = Connection(opened_s=time.monotonic())
        self.n_notices = 0
        self._noticed_s = -NOTICE_EVERY_S
        self._show_is_due = False

    def compose(self) -> ComposeResult:
        yield StateBar()
        yield TextView(id="alarm")
        yield DecodeView()
        yield Classes(id="class-line")
        with Horizontal(id="figures"):
            yield Retrieval()
            yield Latency()
        yield RecentStrip()
        yield Footer()

    def on_mount(self) -> None:
        self.register_theme(CONTROL_ROOM)
        self.theme = CONTROL_ROOM.name
        self.set_interval(TICK_S, self.show)
        self.call_after_refresh(self.show)
        self._follow_daemon()

    @property
    def volume_on_show(self) -> DecodedVolume | None:
        """The volume on the screen: the held volume, else the newest."""
        return self.held or self.recent.newest(time.monotonic())

    # ── workers: post messages, touch no widget ──

    @work(thread=True, group="feed", exclusive=True)
    def _follow_daemon(self) -> None:
        worker = get_current_worker()
        try:
            for heard in follow(self.where, lambda: worker.is_cancelled, N_HISTORY):
                match heard:
                    case Stage(decode, picture):
                        self.post_message(StageDecoded(decode, picture))
                    case Skipped():
                        self.post_message(VolumeSkipped(heard))
                    case Heartbeat():
                        self.post_message(DaemonHeard(heard))
                    case Notice(sentence):
                        self.post_message(NoticeGiven(sentence))
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
    def _take_stage(self, message: StageDecoded) -> None:
        now_s = time.monotonic()
        self.recent.take_decode(message.decode, message.picture, now_s)
        self.connection.heard_s = self.connection.decoded_s = now_s
        self._show_soon()

    @on(VolumeSkipped)
    def _take_skipped(self, message: VolumeSkipped) -> None:
        self.connection.heard_s = time.monotonic()
        self.recent.take_skipped(message.skipped, self.connection.heard_s)
        self._show_soon()

    @on(DaemonHeard)
    def _take_heartbeat(self, message: DaemonHeard) -> None:
        self.connection.heard_s = time.monotonic()
        self.connection.heartbeat = message.heartbeat
        self._show_soon()

    @on(NoticeGiven)
    def _take_notice(self, message: NoticeGiven) -> None:
        self.n_notices += 1
        if time.monotonic() - self._noticed_s >= NOTICE_EVERY_S:
            self._noticed_s = time.monotonic()
            self.notify(message.sentence, severity="warning", markup=False)
        self._show_soon()

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

    def action_follow(self) -> None:
        """Show the newest decode again, and every new one."""
        self.held = None
        self.show()

    def action_help(self) -> None:
        """Explain the words and keys."""
        self.push_screen(Help())

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
        yield SystemCommand("view: Follow the newest decode", "Leave the decode that is held", self.action_follow)
        pause = "decoding: Go on" if self.paused else "decoding: Pause"
        yield SystemCommand(pause, "For everybody; volumes are acked meanwhile", self.action_pause)
        yield SystemCommand("monitor: Help", "Words and keys", self.action_help)
        yield SystemCommand("monitor: Change the theme", "Colours of the monitor", self.action_change_theme)
        yield SystemCommand("monitor: Save a picture of the screen", "As SVG", self.deliver_screenshot)
        yield SystemCommand("monitor: Quit", "The daemon goes on", self.action_quit)

    # ── to the widgets ──

    def _hold_neighbour(self, step: int) -> None:
        volumes = self.recent.newest_first()
        if not volumes or self.volume_on_show is None:
            return
        position = volumes.index(self.volume_on_show) if self.volume_on_show in volumes else len(volumes)
        position = min(position + step, len(volumes) - 1)
        self.held = volumes[position] if position >= 0 and not (step < 0 and position == 0) else None
        self.show()

    def _show_soon(self) -> None:
        """Draw once after a burst of messages."""
        if not self._show_is_due:
            self._show_is_due = True
            self.call_later(self.show)

    def show(self) -> None:
        """Pass the state to the widgets."""
        self._show_is_due = False
        if not self.is_running:
            # A timer may still fire while the widgets are removed.
            return
        now_s = time.monotonic()
        volume, following = self.volume_on_show, self.held is None
        screen = self.screen_stack[0]
        screen.query_one(StateBar).show(self.connection, volume, following, self.n_notices, now_s)
        screen.query_one(DecodeView).show(volume, self._hint(now_s))
        has_pictures = volume is None or volume.has_pictures
        screen.query_one(Retrieval).display = has_pictures
        screen.query_one(Retrieval).show(volume.retrieved if volume else ())
        # The classes of a running block are newer than the newest picture.
        classified = self.held or self.recent.newest_classified
        class_line = screen.query_one("#class-line", Classes)
        class_line.display = has_pictures and classified is not None and bool(classified.labels)
        class_line.show(classified)
        n_without_signal = self._n_without_signal()
        alarm = screen.query_one("#alarm", TextView)
        alarm.display = n_without_signal > 0
        is_decoded = self.connection.heartbeat is None or self.connection.heartbeat.state != "recording"
        alarm.show(without_signal_words(n_without_signal, is_decoded=is_decoded))
        screen.query_one(Latency).show(volume, self.recent, following)
        screen.query_one(RecentStrip).show(self.recent.newest_first(), volume)

    def _n_without_signal(self) -> int:
        """Return how many of the weights' voxels have no signal in the current run, 0 while that is not known."""
        heartbeat, newest = self.connection.heartbeat, self.recent.volumes[-1] if self.recent.volumes else None
        if heartbeat is not None and heartbeat.n_without_signal is not None:
            return heartbeat.n_without_signal
        if newest is None or (heartbeat is not None and heartbeat.run not in ("", newest.run)):
            return 0
        return newest.n_without_signal or 0

    def _hint(self, now_s: float) -> str:
        match self.connection.state(now_s):
            case "waiting" | "lost":
                return f"waiting for a daemon at {self.where.decodes}\nstart it with: braind serve"
            case "connecting":
                return f"connecting to {self.where.decodes}"
            case "starting":
                return "the daemon is starting: it warms up before it takes volumes"
            case "recording":
                return "volumes are recorded; there are no weights yet\nwhen there are: braind use WEIGHTS"
            case "paused":
                return "decoding is paused; p goes on"
            case _ if self.connection.heartbeat and self.connection.heartbeat.no_pictures:
                return "no volume decoded yet: send a run with braind send"
            case _:
                return "no volume decoded yet\nsend some with: braind replay --subject 1"


def run_monitor(where: Endpoints, plain: bool = False) -> int:
    """Watch a daemon's decodes; return the exit status.

    `plain` writes one line per decode to stdout and draws nothing, for pipes and logs.
    """
    if plain:
        return write_lines(where)
    for socket in SOCKETS:
        # A wrong address or key file is reported on the command line, not on a screen that closes again.
        where.address(socket)
    monitor = Monitor(where)
    monitor.run()
    return monitor.return_code or 0
