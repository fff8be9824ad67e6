"""The Setup screen: the checks that a running daemon answers, with live results, and its connected clients."""

from rich.style import Style
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.worker import get_current_worker

from ...client.connection import RefusedByDaemon
from ...client.control import ControlClient
from ...client.endpoints import Endpoints
from ...client.wire import Setup, Status
from ...errors import BraindError
from ..feed import poll
from ..fitted import title_row, with_hanging_indent
from ..keys import Keys
from ..state.monitor_state import MonitorState
from ..state.setup import DOES, Check, checks_of, client_words
from ..text_view import TextView
from .leaving import is_open

STYLES = {"ok": "good", "warn": "warning", "fail": "bad", "?": "unknown"}
DOES_CELLS = 14
ASKING = "asking the daemon …"


def ask_setup(control: ControlClient) -> tuple[Status, Setup | None]:
    """Return the daemon's status and setup; None for a daemon of an earlier version, which has no word for its setup.

    Raises
    ------
    BraindError
        No daemon answers, or the daemon refuses.
    """
    status = control.status()
    try:
        return status, control.setup()
    except RefusedByDaemon as error:
        if error.code != "malformed":
            raise
        return status, None


class SetupScreen(Screen[None]):
    """One line a check and one a client, asked for anew each second."""

    BINDINGS = [Binding("escape,u,q", "dismiss", "Back", key_display="esc", id="setup.back")]
    COMPONENT_CLASSES = {f"setup--{style}" for style in (*STYLES.values(), "name")}

    def __init__(self, state: MonitorState, where: Endpoints) -> None:
        super().__init__()
        self._state, self._where = state, where

    def compose(self) -> ComposeResult:
        yield TextView(id="setup-title", classes="screen-title")
        with VerticalScroll(id="setup-scroll"):
            yield TextView(ASKING, id="setup-checks")
            yield TextView(id="setup-clients")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one("#setup-scroll").focus()
        self._show_title("")
        self._follow()

    @work(thread=True, exclusive=True)
    def _follow(self) -> None:
        worker = get_current_worker()
        for answer in poll(self._where, ask_setup, lambda: worker.is_cancelled):
            self.app.call_from_thread(self._show, answer)

    def _show(self, answer: tuple[Status, Setup | None] | BraindError) -> None:
        if not is_open(self):
            return
        if isinstance(answer, BraindError):
            # The last answer stays, named as old: it may be what an operator looks for.
            self._show_title(f"no answer, the lines are old: {answer}", "no answer, the lines are old")
            return
        status, setup = answer
        checks = checks_of(status, setup)
        n_failed = sum(check.level == "fail" for check in checks)
        n_warned = sum(check.level == "warn" for check in checks)
        n_unknown = sum(check.level == "?" for check in checks)
        counted = ((n_failed, "fail"), (n_warned, "warn"), (n_unknown, "not known"))
        counts = [f"{n} {word}" for n, word in counted if n]
        self._show_title(", ".join(counts if n_failed else ["nothing failed", *counts]))
        self.query_one("#setup-checks", TextView).show(Text("\n").join(self._line(check) for check in checks))
        self.query_one("#setup-clients", TextView).show(self._clients(setup))

    def _show_title(self, *forms: str) -> None:
        title = title_row("Setup of the daemon", forms, self.app.size.width - 2)
        self.query_one("#setup-title", TextView).show(title)

    def _line(self, check: Check) -> Text:
        head = Text.assemble(
            (f"{check.level:<5}", self._style(STYLES[check.level])), (f"{check.name:<9}", self._style("name"))
        )
        return with_hanging_indent(head, check.sentence, self._width)

    def _clients(self, setup: Setup | None) -> Text:
        if setup is None:
            return Text("clients: not known, because this daemon's version does not tell them")
        lines = [
            with_hanging_indent(Text(f"{DOES[client.socket]:<{DOES_CELLS}}"), client_words(client), self._width)
            for client in setup.connections
        ]
        head = Text(f"\n{len(lines)} connections, this monitor's own among them", self._style("name"))
        return Text("\n").join([head, *lines])

    @property
    def _width(self) -> int:
        return self.query_one("#setup-checks").content_size.width

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"setup--{name}", partial=True)
