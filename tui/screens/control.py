"""The Control screen: what an operator can change while the daemon runs. What costs something is asked first."""

from collections.abc import Callable
from functools import partial

from rich.style import Style
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from ...client.control import ControlClient
from ...client.endpoints import Endpoints
from ...client.wire import Setup, Status
from ...errors import BraindError
from ...printable import printable
from ..feed import poll, request, send_mark
from ..fitted import title_row
from ..keymap import keys_row
from ..keys import Keys
from ..state.control import Item, change_to, cost_of, items_of, pause_words, resume_cost
from ..state.monitor_state import MonitorState
from ..text_view import TextView
from .leaving import is_open
from .mark import MarkDialog
from .setup import ask_setup

NAME_CELLS = 12
ASKED = "asked; the daemon's answer comes here"


class Confirm(ModalScreen[bool]):
    """Asks before a change that costs something. Enter alone does nothing."""

    BINDINGS = [
        Binding("y", "answer(True)", "Do it", id="confirm.yes"),
        Binding("escape,n,q", "answer(False)", "Leave it", id="confirm.no"),
    ]

    def __init__(self, question: str, cost: str, done: str) -> None:
        super().__init__()
        self._question, self._cost, self._done = question, cost, done

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog"):
            yield Static(Text(f"{self._question}\n\n{self._cost}"))
            yield Static(
                keys_row(self.app, {"confirm.yes": self._done, "confirm.no": "leave it"}),
                classes="dialog-keys",
                markup=False,
            )

    def action_answer(self, is_confirmed: bool) -> None:
        """Give the answer."""
        self.dismiss(is_confirmed)


class Choose(ModalScreen[str | None]):
    """Asks for one of an item's values."""

    BINDINGS = [Binding("escape,q", "leave", "Leave it", id="choose.leave")]

    def __init__(self, item: Item) -> None:
        super().__init__()
        self._item = item

    def compose(self) -> ComposeResult:
        width = max(map(len, self._item.choices), default=0)
        with VerticalScroll(classes="dialog"):
            yield Static(Text(f"Which {self._item.name}? In force: {printable(self._item.value)}"))
            options = [
                Option(Text(f"{printable(name):<{width}}  {means}".rstrip()), id=name)
                for name, means in self._item.choices.items()
            ]
            yield OptionList(*options, id="choices")
            yield Static(
                f"enter  take it    {keys_row(self.app, {'choose.leave': 'leave it'})}",
                classes="dialog-keys",
                markup=False,
            )

    def on_mount(self) -> None:
        choices = self.query_one(OptionList)
        choices.focus()
        if self._item.value in self._item.choices:
            choices.highlighted = list(self._item.choices).index(self._item.value)

    @on(OptionList.OptionSelected)
    def _take(self, selected: OptionList.OptionSelected) -> None:
        selected.stop()
        self.dismiss(selected.option_id)

    def action_leave(self) -> None:
        """Choose nothing."""
        self.dismiss(None)


class ControlScreen(Screen[None]):
    """One line a setting. Enter changes it."""

    BINDINGS = [
        Binding("escape,c,q", "dismiss", "Back", key_display="esc", id="control.back"),
        Binding("p", "pause", "Pause, go on", id="control.pause", tooltip="Pause decoding, or go on"),
        Binding("m", "mark", "Mark", id="control.mark", tooltip="Note an event; the journal keeps it"),
    ]
    COMPONENT_CLASSES = {"control--name", "control--value", "control--unknown"}

    def __init__(self, state: MonitorState, where: Endpoints) -> None:
        super().__init__()
        self._state, self._where = state, where
        self._status: Status | None = None
        self._items: list[Item] = []

    def compose(self) -> ComposeResult:
        yield TextView(id="control-title", classes="screen-title")
        yield TextView(id="control-role")
        yield OptionList(id="items")
        with VerticalScroll(id="control-scroll", can_focus=False):
            yield TextView(id="control-explained")
            yield TextView(id="control-answer")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()
        lacking = lacking_words(self._where)
        role = self.query_one("#control-role", TextView)
        role.display = bool(lacking)
        role.show(lacking)
        self._show(None, None)
        self._follow()

    @work(thread=True, exclusive=True, group="follow")
    def _follow(self) -> None:
        worker = get_current_worker()
        for answer in poll(self._where, ask_setup, lambda: worker.is_cancelled):
            self.app.call_from_thread(self._take, answer)

    def _take(self, answer: tuple[Status, Setup | None] | BraindError) -> None:
        if not is_open(self):
            return
        if isinstance(answer, BraindError):
            self._show_title(f"no answer, the values are old: {answer}", "no answer, the values are old")
        else:
            self._show(*answer)

    def _show(self, status: Status | None, setup: Setup | None) -> None:
        self._status, items = status, items_of(status, setup)
        waiting = "?" if status is None or status.n_waiting is None else str(status.n_waiting)
        self._show_title(f"backlog {waiting}")
        if items == self._items:
            return
        self._items = items
        options = self.query_one(OptionList)
        at = options.highlighted or 0
        options.set_options([Option(self._line(item), id=item.name) for item in items])
        options.highlighted = at
        self._explain()

    def _show_title(self, *forms: str) -> None:
        title = title_row("Control of the daemon", forms, self.app.size.width - 2)
        self.query_one("#control-title", TextView).show(title)

    def _line(self, item: Item) -> Text:
        value = printable(item.value) if item.name != "mark" else "an event, with a note"
        style = "unknown" if item.why_not else "value"
        return Text.assemble((f"{item.name:<{NAME_CELLS}}", self._style("name")), (value, self._style(style)))

    @on(OptionList.OptionHighlighted, "#items")
    def _explain(self) -> None:
        at = self.query_one("#items", OptionList).highlighted
        item = self._items[at] if at is not None else None
        if item is None:
            return
        match item.name:
            case "decoding":
                words = pause_words(self._status.policy if self._status else "")
                words = f"A pause: {words}"
            case "mark":
                words = "The session's journal keeps a mark with its time, run and volume. Every viewer sees it."
            case _:
                words = item.why_not or item.choices.get(item.value) or "enter shows what can be chosen"
        self.query_one("#control-explained", TextView).show(printable_lines(words))

    @on(OptionList.OptionSelected, "#items")
    def _choose(self, selected: OptionList.OptionSelected) -> None:
        item = self._items[selected.option_index]
        if item.name == "decoding":
            self.action_pause()
        elif item.name == "mark":
            self.action_mark()
        elif item.why_not:
            self._show_answer(f"{item.name} stays as it is: {item.why_not}")
        else:
            self.app.push_screen(Choose(item), partial(self._ask_change, item))

    def _ask_change(self, item: Item, value: str | None) -> None:
        if value is None or self._status is None:
            return
        if value == item.value:
            self._show_answer(f"{item.name} {value} is in force already")
            return
        cost = cost_of(item.name, value, self._status)
        self._confirm(
            f"Change {item.name} from {item.value} to {value}?", cost, "change it",
            lambda control: f"{item.name} {value}: {control.change(change_to(item.name, value))}",
        )  # fmt: skip

    def action_pause(self) -> None:
        """Ask before pausing, and before going on where that costs pictures."""
        status = self._status
        if status is not None and status.state == "paused":
            self._confirm("Go on decoding?", resume_cost(status), "go on", _go_on)
        else:
            self._confirm("Pause decoding?", pause_words(status.policy if status else ""), "pause", _pause)

    def action_mark(self) -> None:
        """Mark an event."""
        self.app.push_screen(MarkDialog(partial(send_mark, self._where)))

    def _confirm(self, question: str, cost: str, done: str, ask: Callable[[ControlClient], str]) -> None:
        """Send a request, after a confirmation if it costs something."""

        def send_if(is_confirmed: bool | None) -> None:
            if is_confirmed:
                self._show_answer(ASKED)
                self._send(ask)

        if cost:
            self.app.push_screen(Confirm(printable(question), printable_lines(cost), done), send_if)
        else:
            send_if(True)

    @work(thread=True, exclusive=True, group="send")
    def _send(self, ask: Callable[[ControlClient], str]) -> None:
        try:
            answer = request(self._where, ask)
        except BraindError as error:
            answer = f"not done: {error}"
        self.app.call_from_thread(self._show_answer, answer)

    def _show_answer(self, sentence: str) -> None:
        if is_open(self):
            self.query_one("#control-answer", TextView).show(f"\n{printable(sentence)}")

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"control--{name}", partial=True)


def lacking_words(where: Endpoints) -> str:
    """Return why this monitor may change nothing; "" if it may, or if no key is shown."""
    key = where.address("control").key
    if key is None or "control" in key.roles:
        return ""
    return (
        f"this monitor's key {printable(key.name)} has {', '.join(key.roles)} and not the role control: the daemon "
        "refuses changes; `braind keys add NAME --role view --role control` makes another key"
    )


def printable_lines(words: str) -> str:
    """Return words that may come over the wire, with their line breaks."""
    return "\n".join(map(printable, words.split("\n")))


def _pause(control: ControlClient) -> str:
    control.pause(True)
    return "decoding is paused; volumes are still acked"


def _go_on(control: ControlClient) -> str:
    control.pause(False)
    return "decoding goes on"
