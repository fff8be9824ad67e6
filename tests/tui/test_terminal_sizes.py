"""The Live screen in any terminal, and when its size changes."""

import pytest
from monitor_screens import in_event_loop, shows, until

from braind.tui.app import Monitor


def is_square(size):
    """Cells are twice as tall as wide."""
    return size.width == 2 * size.height


@in_event_loop
async def test_pictures_are_redrawn_for_another_terminal_size(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(0, colour=(40, 200, 90))
        await until(pilot, lambda: shows(app, "xzc", 40, 200, 90))
        view = app.query_one("#xzc")
        at_first = view.size
        # Between two sizes the layout may pass through others.
        for terminal, is_drawn in (
            ((140, 45), lambda: view.size.height > at_first.height),
            ((60, 20), lambda: view.size.height < at_first.height),
            ((200, 30), lambda: view.size.height > at_first.height),
            ((80, 24), lambda: view.size == at_first),
        ):
            await pilot.resize_terminal(*terminal)
            await until(pilot, lambda: is_drawn() and is_square(view.size))  # noqa: B023 - awaited in the loop
            await until(pilot, lambda: shows(app, "xzc", 40, 200, 90))


@pytest.mark.parametrize("size", [(60, 20), (40, 12), (20, 6), (10, 3), (300, 100)], ids=str)
@in_event_loop
async def test_any_terminal_size_is_drawn(daemon, size):
    async with Monitor(daemon.endpoints).run_test(size=size) as pilot:
        daemon.wait_for_viewer()
        daemon.decode(0, seen_png=None)
        daemon.heartbeat()
        await until(pilot, lambda: pilot.app.recent.n_finished == 1 and pilot.app.connection.heartbeat is not None)
        await pilot.pause()
        assert pilot.app.query_one("#simulated").region.right <= size[0]
        assert "<svg" in pilot.app.export_screenshot()
