"""An operator changes how a real daemon decodes, pauses and marks; a key without the role is told so."""

import asyncio

import pytest
from keyed_peers import make_key
from monitor_screens import in_event_loop, until, words_of
from running_daemon import RunningDaemon, hello, volume_frames
from textual.widgets import Input, OptionList

from braind.client import wire
from braind.client.endpoints import Endpoints
from braind.daemon.journal.recording import Recording
from braind.tui.app import Monitor
from braind.tui.screens.control import Choose, Confirm, ControlScreen
from braind.tui.screens.mark import MarkDialog
from braind.tui.screens.trial import TrialScreen
from braind.tui.screens.trials import TrialsScreen, TrialsTable
from braind.tui.state.control import cost_of, items_of, pause_words, resume_cost

PATIENCE_S = 120.0
SOCKETS = ("ingest", "decodes", "control")


@pytest.fixture(scope="module")
def real_daemon(files, tmp_path_factory):
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("control"), decode={"mode": "z", "preset": "live-2"})
    yield daemon.start()
    daemon.close()


@pytest.fixture(scope="module")
def keyed_daemon(files, tmp_path_factory):
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("keyed"), decode={"mode": "z"}, serve={"keys": "required"})
    yield daemon.start()
    daemon.close()


def endpoints_of(daemon, key=""):
    return Endpoints(**{name: daemon.addresses[name] for name in SOCKETS}, key=key)


def screen_words(app):
    return words_of(app.screen)


async def until_slowly(pilot, condition):
    """Wait for a real daemon's decoder, which loads for seconds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await pilot.pause(0.02)


async def open_control(pilot):
    await pilot.press("c")
    await until(pilot, lambda: isinstance(pilot.app.screen, ControlScreen))
    await until(pilot, lambda: "decoding    goes on" in screen_words(pilot.app))


async def choose(pilot, item, value):
    """Choose a value of an item, up to the confirmation."""
    items = pilot.app.screen.query_one("#items", OptionList)
    items.highlighted = items.get_option_index(item)
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, Choose))
    choices = pilot.app.screen.query_one("#choices", OptionList)
    choices.highlighted = choices.get_option_index(value)
    await pilot.press("enter")


@in_event_loop
async def test_another_preset_is_asked_first_and_loses_no_volume(real_daemon):
    async with Monitor(endpoints_of(real_daemon)).run_test(size=(100, 30)) as pilot:
        app = pilot.app
        await open_control(pilot)
        assert "preset      live-2" in screen_words(app)
        with real_daemon.connect("ingest") as scanner:
            scanner.ask(hello(run="preset"))
            for index in range(4):
                scanner.ask_frames(volume_frames(index, run="preset"))
        await choose(pilot, "preset", "live-1")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert "No volume is lost" in " ".join(screen_words(app).split())
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ControlScreen))
        assert real_daemon.status().preset == "live-2"
        await choose(pilot, "preset", "live-1")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("enter")  # enter is not enough for a change that costs something
        assert isinstance(app.screen, Confirm)
        await pilot.press("y")
        await until_slowly(pilot, lambda: "preset      live-1" in screen_words(app))
        assert "preset live-1: the decoder finishes its volume" in screen_words(app)
    status = real_daemon.wait_until(lambda status: status.n_waiting == 0)
    decoded = {one.index for one, _ in real_daemon.decodes() if one.run == "preset" and getattr(one, "is_last", False)}
    assert decoded == set(range(4))
    assert status.n_skipped == 0


@in_event_loop
async def test_a_pause_says_what_becomes_of_its_volumes_and_going_on_under_latest_is_asked(real_daemon):
    async with Monitor(endpoints_of(real_daemon)).run_test(size=(100, 30)) as pilot:
        app = pilot.app
        await open_control(pilot)
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert "every volume of the pause is decoded afterwards" in " ".join(screen_words(app).split())
        await pilot.press("y")
        await until(pilot, lambda: "decoding    paused" in screen_words(app))
        await choose(pilot, "policy", "latest")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: "policy      latest" in screen_words(app))
        with real_daemon.connect("ingest") as scanner:
            scanner.ask(hello(run="pause"))
            for index in range(3):
                scanner.ask_frames(volume_frames(index, run="pause"))
        await until(pilot, lambda: "backlog 3" in screen_words(app))
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert "3 volumes wait. Under policy latest" in " ".join(screen_words(app).split())
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ControlScreen))
        assert real_daemon.status().state == "paused"
        # Back to policy all, which costs nothing: then going on costs nothing either.
        await choose(pilot, "policy", "all")
        await until(pilot, lambda: "policy      all" in screen_words(app))
        await pilot.press("p")
        await until(pilot, lambda: "decoding    goes on" in screen_words(app))
    real_daemon.wait_until(lambda status: status.n_waiting == 0)
    assert not [one for one, _ in real_daemon.decodes() if isinstance(one, wire.Skipped) and one.run == "pause"]


@in_event_loop
async def test_a_mark_is_kept_in_the_journal_and_comes_into_the_event_log(real_daemon):
    async with Monitor(endpoints_of(real_daemon)).run_test(size=(60, 15)) as pilot:
        app = pilot.app
        with real_daemon.connect("ingest") as scanner:
            scanner.ask(hello(run="mark"))
            scanner.ask_frames(volume_frames(0, run="mark"))
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, MarkDialog))
        await pilot.press("enter")
        await until(pilot, lambda: "write what happened" in screen_words(app))
        await pilot.press(*"q moved")  # keys of the monitor are letters here
        assert app.screen.query_one(Input).value == "q moved"
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, MarkDialog))
        sentence = "mark, run mark, volume 0: q moved"
        await until(pilot, lambda: sentence in [entry.sentence for entry in app.state.log.entries])
    with Recording(real_daemon.data_path / "journals" / "ses.sqlite3") as recording:
        assert [(mark.note, mark.index) for mark in recording.marks()] == [("q moved", 0)]


@in_event_loop
async def test_a_note_on_a_trial_is_a_mark_of_this_trial_whatever_runs_meanwhile(real_daemon):
    async with Monitor(endpoints_of(real_daemon)).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        with real_daemon.connect("ingest") as scanner:
            scanner.ask(hello(run="noted"))
            for index in range(2):
                scanner.ask_frames(volume_frames(index, run="noted"))
            await until_slowly(pilot, lambda: sum(one.run == "noted" for one in records_of(app)) == 2)
            scanner.ask(hello(run="later"))
            scanner.ask_frames(volume_frames(0, run="later"))
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, TrialsScreen))
        table = app.screen.query_one(TrialsTable)
        table.move_cursor(
            row=next(n for n, one in enumerate(app.screen._records) if (one.run, one.index) == ("noted", 0))
        )
        for key, note in (("m", "fell asleep"), ("enter", "eyes closed")):
            await pilot.press(key)
            if key == "enter":
                await until(pilot, lambda: isinstance(app.screen, TrialScreen))
                await pilot.press("m")
            await until(pilot, lambda: isinstance(app.screen, MarkDialog))
            assert "run noted, volume 0" in screen_words(app)
            await pilot.press(*note, "enter")
            await until(pilot, lambda: not isinstance(app.screen, MarkDialog))
            sentence = f"mark, run noted, volume 0: {note}"
            await until(pilot, lambda sentence=sentence: sentence in [one.sentence for one in app.state.log.entries])


def records_of(app):
    return app.state.trials.of_session(app.state.trials.newest_session())


@in_event_loop
async def test_a_key_without_the_role_control_is_told_so_and_changes_nothing(keyed_daemon):
    make_key(keyed_daemon, "desk", "view")
    where = endpoints_of(keyed_daemon, str(keyed_daemon.data_path / "keys" / "desk.key"))
    async with Monitor(where).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        await open_control(pilot)
        assert "this monitor's key desk has view and not the role control" in " ".join(screen_words(app).split())
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        refusal = "needs the role control; key 'desk' has view"
        await until(pilot, lambda: refusal in " ".join(screen_words(app).split()))
        await choose(pilot, "mode", "zc")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: f"not done: Change {refusal}" in " ".join(screen_words(app).split()))
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, MarkDialog))
        await pilot.press(*"moved", "enter")
        await until(pilot, lambda: f"not marked: Mark {refusal}" in " ".join(screen_words(app).split()))
        assert app.screen.query_one(Input).value == "moved"


@in_event_loop
async def test_an_earlier_daemon_can_only_be_paused_and_the_rest_is_not_known(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.heartbeat()
        await open_control(pilot)
        words = screen_words(app)
        assert "mode        ?" in words
        assert "refinement  ?" in words
        items = app.screen.query_one("#items", OptionList)
        items.highlighted = items.get_option_index("preset")
        await pilot.press("enter")
        await until(pilot, lambda: "preset stays as it is: this daemon's version cannot" in screen_words(app))
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: "decoding is paused" in screen_words(app))
    assert [one.paused for one in daemon.requests if isinstance(one, wire.Pause)] == [True]


@in_event_loop
async def test_a_monitor_without_a_daemon_says_so_and_asks_nothing_that_costs(daemon):
    daemon.close()
    async with Monitor(daemon.endpoints).run_test(size=(60, 15)) as pilot:
        await pilot.press("c")
        await until(pilot, lambda: "no answer, the values are old" in screen_words(pilot.app))
        assert "preset      ?" in screen_words(pilot.app)


@in_event_loop
async def test_the_keys_of_the_screens_can_be_remapped_by_their_ids(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        app.set_keymap({"monitor.control": "f2", "control.back": "f3"})
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, ControlScreen))
        await pilot.press("f3")
        await until(pilot, lambda: not isinstance(app.screen, ControlScreen))
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert {"decoding: Control", "session: Mark an event", "daemon: Setup", "session: Calibration"} <= titles


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def status_of(**fields):
    fields = {"state": "ready", "preset": "live-4", "policy": "all", "n_waiting": 3, "run": "r-1"} | fields
    return wire.Status(
        pid=1, version="0", uptime_s=1.0, subject=1, weights="w", ldm="l", engine="e", simulated=False, journal="",
        session="s", n_acked=3, n_decoded=0, n_skipped=0, n_refused=0, decoder_restarts=0, last_seq=0, **fields,
    )  # fmt: skip


SETUP = wire.Setup(mode="zc", refine="", presets=("live-4", "takagi"), keys="off", libzmq="4.3.5", connections=())


def test_a_pause_under_a_policy_that_is_not_known_names_both():
    assert "policy all, every volume" in pause_words("")
    assert "policy latest, the newest" in pause_words("")
    assert "latest" not in pause_words("all")


def test_what_costs_nothing_is_not_asked():
    assert cost_of("policy", "all", status_of(policy="latest")) == ""
    assert cost_of("policy", "latest", status_of()).startswith("3 volumes wait now")
    assert cost_of("policy", "latest", status_of(n_waiting=None)).startswith("? volumes wait now")
    assert resume_cost(status_of()) == ""
    assert resume_cost(status_of(policy="latest", n_waiting=1)) == ""
    assert "not counted" in resume_cost(status_of(policy="latest", n_waiting=None))
    for item in ("preset", "mode", "refinement"):
        assert "No volume is lost" in cost_of(item, "x", status_of())


def test_weights_without_pictures_have_a_policy_and_no_preset():
    status = status_of(no_pictures="the weights decode classes")
    items = {item.name: item for item in items_of(status, SETUP)}
    assert items["preset"].why_not == items["refinement"].why_not == "the weights decode classes"
    assert (items["policy"].why_not, items["policy"].value) == ("", "all")


def test_a_daemon_that_records_has_nothing_to_change():
    items = {item.name: item for item in items_of(status_of(state="recording"), SETUP)}
    assert all("braind use" in items[name].why_not for name in ("preset", "mode", "policy", "refinement"))
