"""The monitor beside a real daemon: what it says when the decoder is killed and when the daemon stops."""

import asyncio

import pytest
from monitor_screens import in_event_loop, words_of
from running_daemon import RunningDaemon, hello, volume_frames

from braind.client import wire
from braind.client.endpoints import Endpoints
from braind.tui.app import Monitor

PATIENCE_S = 120.0


@pytest.fixture
def real_daemon(files, tmp_path):
    daemon = RunningDaemon(files, tmp_path, decode={"mode": "z"})
    yield daemon.start()
    daemon.close()


async def until_live(pilot, *words):
    """Wait until the first row of the monitor has these words."""
    async with asyncio.timeout(PATIENCE_S):
        while not all(one in words_of(pilot.app.screen_stack[0].query_one("#live")) for one in words):
            await pilot.pause(0.02)


@in_event_loop
async def test_a_killed_decoder_restarts_visibly_and_a_daemon_that_is_told_to_stop_has_stopped(real_daemon):
    named = ("ingest", "decodes", "control")
    where = Endpoints(**{name: real_daemon.addresses[name] for name in named})
    async with Monitor(where).run_test(size=(120, 36)) as pilot:
        app = pilot.app
        await until_live(pilot, "● ready", "backlog 0")
        with real_daemon.connect("ingest") as scanner:
            scanner.ask(hello(run="run-04"))
            scanner.ask_frames(volume_frames(0, run="run-04"))
        await until_live(pilot, "live run-04", "backlog 0")
        async with asyncio.timeout(PATIENCE_S):
            while not app.recent.n_finished:
                await pilot.pause(0.02)
        (quality,) = app.state.quality.newest_first()
        (signal,) = quality.signals.values()
        assert (quality.run, signal.index, list(signal.rois)) == ("run-04", 0, ["early", "ventral"])
        real_daemon.decoder.kill()
        await until_live(pilot, "decoder restarting (1st time)")
        await until_live(pilot, "● ready", "restarts 1")
        app.show()
        await pilot.pause()
        assert "s ago" in words_of(app.query_one("#shown"))
        real_daemon.ask(wire.Shutdown())
        await until_live(pilot, "daemon stopped")
    severities = {entry.sentence: entry.severity for entry in app.state.log.entries}
    assert severities["the decoder died (1st time) and is started again"] == "alarm"
    assert severities["daemon stopped"] == "warning"
