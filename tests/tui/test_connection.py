"""The daemon as the monitor shows it: there, silent, paused, calibrating, or sending what nobody can read."""

import asyncio

import msgspec
import pytest
from monitor_screens import in_event_loop, shows, until, words_of

from braind.client import wire
from braind.tui import connection as connection_words
from braind.tui.app import Monitor
from braind.tui.dialogs import ConfirmPause
from braind.tui.live.decode_view import DecodeView
from braind.tui.live.latency import Latency
from braind.tui.live.retrieval import Retrieval
from braind.tui.live.state_bar import StateBar, clock_words


def screen_words(app):
    return "\n".join(
        words_of(app.screen_stack[0].query_one(kind)) for kind in (StateBar, DecodeView, Retrieval, Latency)
    )


@pytest.mark.parametrize(
    ("offset_s", "uncertainty_s", "words"),
    [(0.00031, 0.00012, "+0.3 ± 0.1 ms"), (-0.25, 0.002, "−250.0 ± 2.0 ms"), (3600.5, 0.002, "+3600.500 ± 0.002 s")],
)
def test_a_clocks_offset_is_said_with_its_uncertainty(offset_s, uncertainty_s, words):
    beat = wire.Heartbeat(last_seq=0, state="ready", clock_offset_s=offset_s, clock_uncertainty_s=uncertainty_s)
    assert clock_words(beat) == words


@in_event_loop
async def test_pausing_is_asked_for_once_more_and_sent(daemon):
    async with Monitor(daemon.endpoints).run_test(notifications=True) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.heartbeat()
        await until(pilot, lambda: "ready" in words_of(app.query_one(StateBar)))
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, ConfirmPause))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, ConfirmPause))
        assert not [request for request in daemon.requests if isinstance(request, wire.Pause)]
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, ConfirmPause))
        await pilot.press("y")
        await until(pilot, lambda: wire.Pause(paused=True) in daemon.requests)
        await until(pilot, lambda: "decoding is paused" in [notice.message for notice in app._notifications])
        daemon.heartbeat("paused")
        await until(pilot, lambda: "● paused" in words_of(app.query_one(StateBar)))
        await pilot.press("p")
        await until(pilot, lambda: wire.Pause(paused=False) in daemon.requests)


@in_event_loop
async def test_pausing_without_a_daemon_says_what_to_do(start_daemon):
    daemon = start_daemon()
    daemon.close()
    async with Monitor(daemon.endpoints).run_test(notifications=True) as pilot:
        await pilot.press("p")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmPause))
        await pilot.press("y")
        await until(pilot, lambda: any("braind serve" in notice.message for notice in pilot.app._notifications))


@in_event_loop
async def test_without_a_daemon_it_says_how_to_start_one(start_daemon, monkeypatch):
    monkeypatch.setattr(connection_words, "WAITING_AFTER_S", 0.1)
    daemon = start_daemon()
    daemon.close()
    async with Monitor(daemon.endpoints).run_test() as pilot:
        await until(pilot, lambda: "no daemon" in words_of(pilot.app.query_one(StateBar)))
        hint = words_of(pilot.app.query_one("#hint"))
        assert f"waiting for a daemon at {daemon.decodes_endpoint}" in hint
        assert "start it with: braind serve" in hint


@in_event_loop
async def test_a_daemon_is_unreachable_and_comes_back(start_daemon, monkeypatch):
    monkeypatch.setattr(connection_words, "LOST_AFTER_S", 0.3)
    daemon = start_daemon()
    ports = [endpoint.rsplit(":")[-1] for endpoint in (daemon.decodes_endpoint, daemon.control_endpoint)]
    async with Monitor(daemon.endpoints).run_test() as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(0, colour=(40, 200, 90))
        await until(pilot, lambda: shows(app, "xzc", 40, 200, 90))
        daemon.close()
        await until(pilot, lambda: "unreachable for" in words_of(app.query_one(StateBar)))
        assert shows(app, "xzc", 40, 200, 90)
        daemon = start_daemon(decodes_port=ports[0], control_port=ports[1])
        daemon.wait_for_viewer()
        daemon.heartbeat("starting")
        await until(pilot, lambda: "decoder loading" in words_of(app.query_one(StateBar)))
        daemon.decode(7, colour=(90, 9, 9))
        await until(pilot, lambda: shows(app, "xzc", 90, 9, 9))


@in_event_loop
async def test_numbers_that_the_daemon_cannot_read_now_are_question_marks_and_no_zeros(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(140, 45)) as pilot:
        app = pilot.app
        await asyncio.to_thread(daemon.wait_for_viewer)
        daemon.heartbeat(n_acked=None, n_decoded=None, n_skipped=None, n_refused=4)
        await until(pilot, lambda: "refused 4" in words_of(app.query_one(StateBar)))
        assert "acked ?  decoded ?  skipped ?  refused 4" in words_of(app.query_one(StateBar))


@in_event_loop
async def test_a_calibration_shows_what_is_recorded_and_how_well_it_decodes(daemon):
    monitor = Monitor(daemon.endpoints)
    scores = wire.Calibration(
        session="sub-01_ses-14", n_trials=24, n_pictures=20, minutes=1.6, two_way=0.712, low=0.651, high=0.77
    )
    async with monitor.run_test(size=(80, 24)) as pilot:
        await asyncio.to_thread(daemon.wait_for_viewer)
        daemon.heartbeat("recording", n_acked=24)
        await until(pilot, lambda: "there are no weights yet" in screen_words(pilot.app))
        assert "two-way" not in screen_words(pilot.app)
        daemon.heartbeat("recording", n_acked=24, calibration=scores)
        await until(pilot, lambda: "acked 24" in screen_words(pilot.app) and "two-way" in screen_words(pilot.app))
        assert "calibration 24 trials, two-way 0.71 (0.65–0.77)" in screen_words(pilot.app)
        daemon.heartbeat("ready", calibration=msgspec.structs.replace(scores, session="yesterday"))
        await until(pilot, lambda: "ready" in screen_words(pilot.app))
        assert "two-way" not in screen_words(pilot.app)


@in_event_loop
async def test_missing_volumes_are_named(daemon):
    async with Monitor(daemon.endpoints).run_test(notifications=True) as pilot:
        daemon.wait_for_viewer()
        daemon.miss(31, 3)
        await until(pilot, lambda: any("volumes 31–33 missing" in one.message for one in pilot.app._notifications))


@in_event_loop
async def test_unreadable_bytes_are_counted_and_named_and_the_stream_goes_on(daemon):
    async with Monitor(daemon.endpoints).run_test(notifications=True) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.publish_bytes(wire.MAGIC, b"{no json")
        await until(pilot, lambda: any("JSON header" in notice.message for notice in app._notifications))
        daemon.publish_bytes(wire.MAGIC)
        daemon.publish_bytes(wire.MAGIC, b'{"type":"decode","seq":"x"}')
        scores = wire.Decode(
            seq=1,
            session="s",
            run="r\x1b[2J",
            index=0,
            stage="xz",
            provenance=daemon.provenance,
            timings_s={},
        )
        daemon.publish(scores, b"no picture")
        daemon.publish(msgspec.structs.replace(scores, seq=2))
        await until(pilot, lambda: "notices 5" in words_of(app.query_one(StateBar)))
        daemon.decode(1, colour=(40, 200, 90))
        await until(pilot, lambda: shows(app, "xzc", 40, 200, 90))
