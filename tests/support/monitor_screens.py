"""What a monitor in a test draws, and how a test waits for it."""

import asyncio
import functools
import inspect

import pytest

from braind.tui.live.picture_view import PictureView

TIMEOUT_S = 20.0


def in_event_loop(test):
    """Run an async test in an event loop of its own."""

    @functools.wraps(test)
    def run(**fixtures):
        asyncio.run(test(**fixtures))

    run.__signature__ = inspect.signature(test)
    return run


async def until(pilot, condition):
    """Let the monitor work until the condition holds, and draw what it has yet to draw."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():
                await pilot.pause(0.01)
            # One message changes several widgets. Each asks the screen for its layout, and the screen lays them out.
            for _ in range(3):
                await pilot.pause(0)
    except TimeoutError:
        pytest.fail(f"never so: {inspect.getsource(condition).strip()}\n{words_of(pilot.app.screen_stack[0])}")


def words_of(widget):
    """The text a widget draws, line by line; of a widget with children, theirs."""
    leaves = [leaf for leaf in widget.query("*") if leaf.display and not leaf.children] or [widget]
    lines = [leaf.render_line(y).text.rstrip() for leaf in leaves for y in range(leaf.size.height)]
    return "\n".join(lines)


def shows(app, name, *rgb):
    """Whether the picture of one colour on the Live screen has this colour in its middle."""
    view = app.screen_stack[0].query_one(f"#{name}", PictureView)
    line = view.render_line(view.size.height // 2).crop(view.size.width // 2, view.size.width // 2 + 1)
    colour = next(iter(line)).style.color
    return colour is not None and colour.triplet == rgb
