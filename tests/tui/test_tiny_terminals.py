"""A terminal may be dragged to nothing: every screen lives through it, and is whole again afterwards."""

import asyncio

import pytest
from every_screen import WAYS, Listing, answer_setup, publish, walk
from monitor_screens import in_event_loop, until, words_of

from braind.offline.sessions.recordings import fetch_messages, read_marks, read_messages
from braind.tui.app import Monitor
from braind.tui.state.recorded import Recordings

SIZES = [(1, 1), (2, 2), (1, 60), (200, 1), (10, 3), (20, 5)]
USUAL = (80, 24)


@pytest.fixture
def monitor(daemon, red_png, tmp_path):
    """A monitor of a daemon with three trials."""
    daemon.picture = red_png
    publish(daemon)
    answer_setup(daemon)
    reader = Recordings(tmp_path, Listing(), read_messages, fetch_messages, read_marks)
    return Monitor(daemon.endpoints, recordings=reader)


def settled(app):
    """Return what the screen shows, without what changes by itself: times and durations."""
    return [line for line in words_of(app.screen).split("\n") if not any(one.isdigit() for one in line)]


@pytest.mark.parametrize("screen", WAYS)
@in_event_loop
async def test_every_screen_lives_through_a_tiny_terminal_and_is_whole_again(daemon, monitor, screen):
    async with monitor.run_test(size=USUAL) as pilot:
        await asyncio.to_thread(daemon.wait_for_viewer)
        daemon.heartbeat()
        await until(pilot, lambda: pilot.app.recent.n_finished == 4 and pilot.app.connection.heartbeat is not None)
        await walk(pilot, daemon, WAYS[screen])
        await pilot.pause()
        with daemon.beating():
            before = settled(pilot.app)
            for size in SIZES:
                await pilot.resize_terminal(*size)
                assert pilot.app.export_screenshot()
            await pilot.resize_terminal(*USUAL)
            await until(pilot, lambda: settled(pilot.app) == before)


@pytest.mark.parametrize("screen", ["Monitor", "TrialsScreen", "QualityScreen", "Choose", "SetupScreen"])
@in_event_loop
async def test_a_screen_opens_on_a_tiny_terminal(daemon, monitor, screen):
    async with monitor.run_test(size=(1, 1)) as pilot:
        await asyncio.to_thread(daemon.wait_for_viewer)
        daemon.heartbeat()
        await until(pilot, lambda: pilot.app.recent.n_finished == 4 and pilot.app.connection.heartbeat is not None)
        await walk(pilot, daemon, WAYS[screen])
        assert pilot.app.export_screenshot()
        await pilot.resize_terminal(*USUAL)
        await until(pilot, lambda: words_of(pilot.app.screen).strip())
