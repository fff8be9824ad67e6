"""Every key of every screen does what its name says, also remapped. A binding that is not listed here fails."""

import asyncio
import inspect
import pkgutil
from importlib import import_module

import pytest
from every_screen import WAYS, Listing, answer_setup, on_show, publish, says, until, walk
from monitor_screens import in_event_loop, words_of
from textual.screen import Screen

import braind.tui
from braind.client import wire
from braind.offline.sessions.recordings import fetch_messages, read_marks, read_messages
from braind.tui import saving
from braind.tui.app import Monitor
from braind.tui.screens.trials import FilterInput, TrialsTable
from braind.tui.state.recorded import Recordings


def owners():
    """Every class of the monitor that binds keys."""
    modules = [import_module(one.name) for one in pkgutil.walk_packages(braind.tui.__path__, "braind.tui.")]
    classes = {one for module in modules for _, one in inspect.getmembers(module, inspect.isclass)}
    own = [one for one in classes if one.__module__.startswith("braind.tui.") and one.__dict__.get("BINDINGS")]
    return sorted(own, key=lambda one: one.__name__)


def bindings_of(owner):
    """Each key of a class with its binding."""
    return [(key, one) for one in owner.BINDINGS for key in one.key.split(",")]


# How each screen is reached from Live, where three trials are decoded, and what each action does there: a sentence on
# the words of the screen, or the name of the screen that is on show afterwards.

BACK_TO = {
    "Help": "LiveScreen", "ConfirmPause": "LiveScreen", "Zoom": "LiveScreen", "TrialsScreen": "LiveScreen",
    "QualityScreen": "LiveScreen", "EventsScreen": "LiveScreen", "SessionsScreen": "LiveScreen",
    "ControlScreen": "LiveScreen", "MarkDialog": "LiveScreen", "SetupScreen": "LiveScreen",
    "CalibrationScreen": "LiveScreen", "TrialScreen": "TrialsScreen", "CompareScreen": "TrialsScreen",
    "Choose": "ControlScreen", "Confirm": "ControlScreen",
}  # fmt: skip


def notifies(words):
    return lambda app, daemon: any(words in notice.message for notice in app._notifications)


def at_row(row):
    return lambda app, daemon: app.screen.query_one("#trials, #sessions").cursor_row == row


def shows_trial(number):
    return lambda app, daemon: f"volume {number}" in words_of(app.screen_stack[0].query_one("#shown"))


def paused(app, daemon):
    return wire.Pause(paused=True) in daemon.requests and type(app.screen).__name__ != "ConfirmPause"


def leaves_unpaused(app, daemon):
    return type(app.screen).__name__ == "LiveScreen" and wire.Pause(paused=True) not in daemon.requests


EFFECTS = {
    "Monitor": {
        "quit": lambda app, daemon: app._exit,
        "help": on_show("Help"),
        "pause": on_show("ConfirmPause"),
        "older": shows_trial(1),
        "newer": (["right", "right"], shows_trial(1)),
        "follow": (["right", "right"], shows_trial(2)),
        "zoom": on_show("Zoom"),
        "trials": on_show("TrialsScreen"),
        "quality": on_show("QualityScreen"),
        "events": on_show("EventsScreen"),
        "sessions": on_show("SessionsScreen"),
        "operate('control')": on_show("ControlScreen"),
        "operate('mark')": on_show("MarkDialog"),
        "operate('setup')": on_show("SetupScreen"),
        "operate('calibration')": on_show("CalibrationScreen"),
        "switch_bell": notifies("the bell for alarms is off"),
        "save_screen": notifies("the screen was saved as"),
    },
    "ConfirmPause": {"answer(True)": paused, "answer(False)": leaves_unpaused},
    "Zoom": {
        "turn(1)": says("seen ● · volume 2"),
        "turn(-1)": says("Xz (z) ● · volume 2"),
        "choose('seen')": says("seen ● · volume 2"),
        "choose('xz')": says("Xz (z) ● · volume 2"),
        "choose('xzc')": (["1"], says("Xzc ● · volume 2")),
    },
    "TrialsScreen": {
        "open": on_show("TrialScreen"),
        "filter": lambda app, daemon: app.focused is app.screen.query_one(FilterInput),
        "select": says("1 selected"),
        "compare": (["space"], on_show("CompareScreen")),
        "export": notifies("saved as"),
        "mark": on_show("MarkDialog"),
        "events": on_show("EventsScreen"),
        "quality": on_show("QualityScreen"),
        "sort": says("by run"),
        "reverse": says("by arrival, descending"),
    },
    "TrialsTable": {"scroll_top": at_row(0), "scroll_bottom": (["home"], at_row(2))},
    "FilterInput": {"clear_all": lambda app, daemon: app.screen.query_one(TrialsTable).row_count == 3},
    "TrialScreen": {"zoom": on_show("Zoom"), "mark": on_show("MarkDialog")},
    "QualityScreen": {
        "older_run": says("run-02 held"),
        "newer_run": (["right"], says("run run-03 volumes")),
        "follow": (["right"], says("run run-03 volumes")),
        "events": on_show("EventsScreen"),
    },
    "SessionsScreen": {
        "open": notifies("cannot be read"),
        "read": lambda app, daemon: app.recordings.sessions.n_asked == 2,
    },
    "SessionsTable": {"scroll_top": at_row(0), "scroll_bottom": (["home"], at_row(1))},
    "ControlScreen": {"pause": on_show("Confirm"), "mark": on_show("MarkDialog")},
    "Choose": {"leave": on_show("ControlScreen")},
    "Confirm": {
        "answer(True)": lambda app, daemon: wire.Pause(paused=True) in daemon.requests,
        "answer(False)": lambda app, daemon: (
            on_show("ControlScreen")(app, daemon) and wire.Pause(paused=True) not in daemon.requests
        ),
    },
}  # fmt: skip


def effect_of(owner, action):
    """The keys to press first, and what holds after the key."""
    if action == "dismiss":
        return [], on_show(BACK_TO[owner.__name__])
    effects = EFFECTS.get(owner.__name__, {})
    assert action in effects, f"{owner.__name__} has a key for {action}: say in EFFECTS what an operator sees"
    effect = effects[action]
    return effect if isinstance(effect, tuple) else ([], effect)


@pytest.fixture
def watched(daemon, red_png, tmp_path, monkeypatch):
    """A daemon with three trials, and a monitor of it that saves into a folder of the test."""
    monkeypatch.setattr(saving, "FOLDERS", (lambda: tmp_path,))
    daemon.picture = red_png
    publish(daemon)
    answer_setup(daemon)
    return Monitor(
        daemon.endpoints, recordings=Recordings(tmp_path, Listing(), read_messages, fetch_messages, read_marks)
    )


async def reset(pilot, daemon):
    """Go back to Live as it was at the start."""
    app = pilot.app
    while len(app.screen_stack) > 1:
        app.pop_screen()
        await pilot.pause()
    app.clear_notifications()
    app.held, app.bell_is_on, app.recordings.sessions.n_asked = None, True, 0
    daemon.requests.clear()
    app.show()
    await until(pilot, daemon, shows_trial(2), "three trials before")


@pytest.mark.parametrize("owner", owners(), ids=lambda owner: owner.__name__)
@in_event_loop
async def test_every_key_does_what_its_name_says(owner, daemon, watched):
    async with watched.run_test(size=(80, 24)) as pilot:
        await asyncio.to_thread(daemon.wait_for_viewer)
        daemon.heartbeat()
        for key, binding in sorted(bindings_of(owner), key=lambda one: one[1].action == "quit"):
            await reset(pilot, daemon)
            first, holds = effect_of(owner, binding.action)
            await walk(pilot, daemon, [*WAYS[owner.__name__], *first])
            await pilot.press(key)
            await until(pilot, daemon, holds, f"{owner.__name__}: {key} ({binding.action})")


@pytest.mark.parametrize("owner", owners(), ids=lambda owner: owner.__name__)
@in_event_loop
async def test_every_key_can_be_remapped_by_its_id(owner, daemon, watched):
    async with watched.run_test(size=(80, 24)) as pilot:
        await asyncio.to_thread(daemon.wait_for_viewer)
        daemon.heartbeat()
        await reset(pilot, daemon)
        await walk(pilot, daemon, WAYS[owner.__name__])
        ids = {binding.id: binding.action for _, binding in bindings_of(owner)}
        assert None not in ids, f"a key of {owner.__name__} has no id: {ids[None]}"
        keys = {id_: f"f{number}" for number, id_ in enumerate(ids, 1)}
        pilot.app.set_keymap(keys)
        active = pilot.app.screen.active_bindings
        assert {id_: active[key].binding.action for id_, key in keys.items()} == ids


def test_every_effect_is_one_of_a_key():
    actions = {owner.__name__: {binding.action for _, binding in bindings_of(owner)} for owner in owners()}
    assert {name for name in EFFECTS if name not in actions} == set()
    assert {(name, one) for name, of in EFFECTS.items() for one in of if one not in actions[name]} == set()


def test_every_screen_of_the_monitor_has_a_key_to_leave_it():
    screens = [one for one in owners() if issubclass(one, Screen)]
    assert all(any("escape" in binding.key for binding in one.BINDINGS) for one in screens)
