"""What comes while a screen or the monitor is being left is no error."""

import asyncio

import pytest
from monitor_screens import in_event_loop
from textual.events import Key

from braind.errors import BraindError
from braind.tui.app import Monitor

TAKES = {"c": "_take", "u": "_show", "k": "_take"}


@pytest.mark.parametrize("key", TAKES)
@in_event_loop
async def test_a_screen_that_is_left_takes_no_late_answer(daemon, key):
    async with Monitor(daemon.endpoints).run_test(size=(80, 24)) as pilot:
        await pilot.press(key)
        screen = pilot.app.screen
        assert len(pilot.app.screen_stack) == 2
        leaving = pilot.app.pop_screen()
        while screen.is_attached:  # its widgets go one by one, and the screen last
            getattr(screen, TAKES[key])(BraindError("no daemon answers"))
            await asyncio.sleep(0)
        await leaving


@pytest.mark.parametrize("key", ["u", "e", "t", "m", "question_mark"])
@in_event_loop
async def test_a_key_typed_after_the_one_that_quits_does_nothing(daemon, key):
    async with Monitor(daemon.endpoints).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        for typed in ("q", key):
            app.post_message(Key(typed, None))
        await pilot.pause()
        assert len(app.screen_stack) <= 1
    assert app.return_code == 0
