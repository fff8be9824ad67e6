import asyncio

import msgspec
import pytest
from monitor_screens import in_event_loop, until, words_of

from braind.client import wire
from braind.tui import connection as connection_words
from braind.tui.app import Monitor
from braind.tui.decode_view import DecodeView
from braind.tui.dialogs import ConfirmPause, Help
from braind.tui.latency import Latency
from braind.tui.picture_view import PictureView
from braind.tui.retrieval import Retrieval
from braind.tui.screenshot import ScreenshotError, screenshot
from braind.tui.state_bar import StateBar, clock_words
from braind.tui.strip import RecentStrip

SIZES = pytest.mark.parametrize("size", [(80, 24), (140, 45)], ids=lambda size: f"{size[0]}x{size[1]}")


def monitor_of(daemon):
    return Monitor(daemon.endpoints)


def screen_words(app):
    return "\n".join(
        words_of(app.screen_stack[0].query_one(kind)) for kind in (StateBar, DecodeView, Retrieval, Latency)
    )


def colour_shown(app, name):
    """The colour in the middle of a picture of one colour."""
    view = app.screen_stack[0].query_one(f"#{name}", PictureView)
    line = view.render_line(view.size.height // 2).crop(view.size.width // 2, view.size.width // 2 + 1)
    return next(iter(line)).style.color


def shows(app, name, *rgb):
    colour = colour_shown(app, name)
    return colour is not None and colour.triplet == rgb


def is_square(size):
    """Cells are twice as tall as wide."""
    return size.width == 2 * size.height


@pytest.mark.parametrize(
    ("offset_s", "uncertainty_s", "words"),
    [(0.00031, 0.00012, "+0.3 ± 0.1 ms"), (-0.25, 0.002, "-250.0 ± 2.0 ms"), (3600.5, 0.002, "+3600.500 ± 0.002 s")],
)
def test_a_clocks_offset_is_said_with_its_uncertainty(offset_s, uncertainty_s, words):
    beat = wire.Heartbeat(last_seq=0, state="ready", clock_offset_s=offset_s, clock_uncertainty_s=uncertainty_s)
    assert clock_words(beat) == words


@SIZES
@in_event_loop
async def test_the_newest_decode_is_shown_with_all_that_came_with_it(daemon, size, red_png):
    async with monitor_of(daemon).run_test(size=size) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(0, colour=(10, 20, 30))
        daemon.decode(1, colour=(40, 200, 90), seen_png=red_png, label="a red fox", feedback=0.4213)
        clock = {"clock_offset_s": 0.00031, "clock_uncertainty_s": 0.00012}
        daemon.heartbeat(n_acked=5, n_decoded=2, n_skipped=3, n_refused=4, **clock)
        await until(pilot, lambda: "refused 4" in words_of(app.query_one(StateBar)))
        await until(pilot, lambda: shows(app, "xzc", 40, 200, 90))
        # the bar's parts take their new widths at the layout that follows
        await until(pilot, lambda: "feedback +0.42" in words_of(app.query_one(StateBar)))
        assert shows(app, "seen", 250, 0, 0)
        assert shows(app, "xz", 40, 200, 90)
        bar = words_of(app.query_one(StateBar))
        for words in ("ready", "subject 1", "session sub-01_ses-14", "run run-03", "SIMULATED", "volume 1"):
            assert words in bar
        if size[0] > 80:
            assert "clock +0.3 ± 0.1 ms" in bar
        for words in ("acked 5", "decoded 2", "skipped 3", "refused 4"):
            assert words in bar
        rows = words_of(app.query_one(Retrieval)).splitlines()
        assert [row.split("━")[0].strip() for row in rows] == ["0.90", "0.80", "0.70", "0.60", "0.50"]
        assert [f"a red fox.{n}" in row for n, row in enumerate(rows)] == [True] * 5
        latency = words_of(app.query_one(Latency)).splitlines()
        assert [row.split() for row in latency[:5]] == [
            ["ms", "newest", "median", "p99"],
            ["ack", "3.0", "3.0", "3.0"],
            ["scores", "9.0", "9.0", "9.0"],
            ["Xz", "50", "50", "50"],
            ["Xzc", "401", "400", "401"],
        ]
        assert words_of(app.query_one(RecentStrip)).splitlines()[-1].split() == ["1", "0"]


@in_event_loop
async def test_a_decode_grows_stage_by_stage(daemon, red_png):
    async with monitor_of(daemon).run_test() as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(0, "scores", seen_png=red_png)
        await until(pilot, lambda: shows(app, "seen", 250, 0, 0))
        assert "decoding" in words_of(app.query_one("#xz"))
        daemon.decode(0, "xz", colour=(9, 90, 9))
        await until(pilot, lambda: shows(app, "xz", 9, 90, 9))
        assert "decoding" in words_of(app.query_one("#xzc"))
        daemon.decode(0, "xzc", colour=(90, 9, 9))
        await until(pilot, lambda: shows(app, "xzc", 90, 9, 9))


@in_event_loop
async def test_a_decode_without_a_seen_picture_says_so(daemon):
    async with monitor_of(daemon).run_test() as pilot:
        daemon.wait_for_viewer()
        daemon.decode(0)
        await until(pilot, lambda: "not sent" in words_of(pilot.app.query_one("#seen")))


@in_event_loop
async def test_mode_z_waits_for_no_xzc(daemon):
    async with monitor_of(daemon).run_test() as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        provenance = msgspec.structs.replace(daemon.provenance, mode="z", simulated=False)
        daemon.decode(0, "scores", "xz", colour=(9, 90, 9), provenance=provenance)
        await until(pilot, lambda: shows(app, "xz", 9, 90, 9))
        assert "not in mode z" in words_of(app.query_one("#xzc"))
        assert "SIMULATED" not in words_of(app.query_one(StateBar))


@in_event_loop
async def test_a_skipped_volume_has_its_place_in_the_strip(daemon):
    async with monitor_of(daemon).run_test() as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(0, colour=(40, 200, 90))
        daemon.skip(1)
        await until(pilot, lambda: "skip" in words_of(app.query_one(RecentStrip)))
        assert words_of(app.query_one(RecentStrip)).splitlines()[-1].split() == ["1", "0"]
        assert shows(app, "xzc", 40, 200, 90)
        await pilot.press("left", "right")
        await pilot.click(RecentStrip, offset=(2, 1))
        await until(pilot, lambda: "behind" in words_of(app.query_one("#xzc")))


@in_event_loop
async def test_who_joins_late_gets_the_strip_filled(daemon):
    for index in range(4):
        daemon.decode(index)
    async with monitor_of(daemon).run_test() as pilot:
        daemon.wait_for_viewer()
        daemon.heartbeat()
        await until(pilot, lambda: len(pilot.app.recent.volumes) == 4)
        await until(pilot, lambda: "3" in words_of(pilot.app.query_one(RecentStrip)))
        assert words_of(pilot.app.query_one(RecentStrip)).splitlines()[-1].split() == ["3", "2", "1", "0"]


@in_event_loop
async def test_a_trial_that_unfolds_leaves_the_last_picture_and_its_final_one_says_what_was_odd(daemon):
    async with monitor_of(daemon).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(8, event=0, since_onset_s=11.2, colour=(100, 9, 9))
        await until(pilot, lambda: shows(app, "xzc", 100, 9, 9))
        daemon.decode(9, "scores", event=1, since_onset_s=5.3, is_final=False)
        await until(pilot, lambda: len(app.recent.volumes) == 2)
        assert shows(app, "xzc", 100, 9, 9)
        daemon.decode(14, event=1, since_onset_s=12.0, misaligned=True, colour=(101, 9, 9))
        await until(pilot, lambda: shows(app, "xzc", 101, 9, 9))
        assert len(app.recent.volumes) == 2
        await until(pilot, lambda: "volume 14, 12.0 s after onset  misaligned" in words_of(app.query_one(StateBar)))


@SIZES
@in_event_loop
async def test_an_older_decode_is_held_until_the_newest_is_followed_again(daemon, size):
    async with monitor_of(daemon).run_test(size=size) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        for index in range(3):
            daemon.decode(index, colour=(100 + index, 9, 9))
        await until(pilot, lambda: shows(app, "xzc", 102, 9, 9))
        await pilot.press("right")
        await until(pilot, lambda: shows(app, "xzc", 101, 9, 9))
        await until(pilot, lambda: "volume 1  held" in words_of(app.query_one(StateBar)))
        assert "held" in words_of(app.query_one(Latency))
        daemon.decode(3, colour=(103, 9, 9))
        await until(pilot, lambda: app.recent.n_finished == 4)
        await pilot.press("right", "right", "right")
        await until(pilot, lambda: shows(app, "xzc", 100, 9, 9))
        await pilot.press("left")
        await until(pilot, lambda: shows(app, "xzc", 101, 9, 9))
        await pilot.press("f")
        await until(pilot, lambda: shows(app, "xzc", 103, 9, 9))
        assert "held" not in words_of(app.query_one(StateBar))
        await pilot.press("right", "left", "left")
        assert app.held is None
        await pilot.press("right", "escape")
        assert app.held is None


@in_event_loop
async def test_a_held_decode_stays_when_the_strip_has_forgotten_it(daemon):
    async with monitor_of(daemon).run_test() as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(0, colour=(100, 9, 9))
        daemon.decode(1, colour=(101, 9, 9))
        await until(pilot, lambda: app.recent.n_finished == 2)
        await pilot.press("right")
        del app.recent.volumes[0]
        app.show()
        await until(pilot, lambda: shows(app, "xzc", 100, 9, 9))
        await pilot.press("left")
        assert app.held is None


@in_event_loop
async def test_pausing_is_asked_for_once_more_and_sent(daemon):
    async with monitor_of(daemon).run_test(notifications=True) as pilot:
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
    async with monitor_of(daemon).run_test(notifications=True) as pilot:
        await pilot.press("p")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmPause))
        await pilot.press("y")
        await until(pilot, lambda: any("braind serve" in notice.message for notice in pilot.app._notifications))


@in_event_loop
async def test_without_a_daemon_it_says_how_to_start_one(start_daemon, monkeypatch):
    monkeypatch.setattr(connection_words, "WAITING_AFTER_S", 0.1)
    daemon = start_daemon()
    daemon.close()
    async with monitor_of(daemon).run_test() as pilot:
        await until(pilot, lambda: "no daemon" in words_of(pilot.app.query_one(StateBar)))
        hint = words_of(pilot.app.query_one("#hint"))
        assert f"waiting for a daemon at {daemon.decodes_endpoint}" in hint
        assert "start it with: braind serve" in hint


@in_event_loop
async def test_a_daemon_is_lost_and_comes_back(start_daemon, monkeypatch):
    monkeypatch.setattr(connection_words, "LOST_AFTER_S", 0.3)
    daemon = start_daemon()
    ports = [endpoint.rsplit(":")[-1] for endpoint in (daemon.decodes_endpoint, daemon.control_endpoint)]
    async with monitor_of(daemon).run_test() as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(0, colour=(40, 200, 90))
        await until(pilot, lambda: shows(app, "xzc", 40, 200, 90))
        daemon.close()
        await until(pilot, lambda: "lost for" in words_of(app.query_one(StateBar)))
        assert shows(app, "xzc", 40, 200, 90)
        daemon = start_daemon(decodes_port=ports[0], control_port=ports[1])
        daemon.wait_for_viewer()
        daemon.heartbeat("starting")
        await until(pilot, lambda: "daemon starting" in words_of(app.query_one(StateBar)))
        daemon.decode(7, colour=(90, 9, 9))
        await until(pilot, lambda: shows(app, "xzc", 90, 9, 9))


@in_event_loop
async def test_a_stream_without_decodes_says_for_how_long(daemon):
    async with monitor_of(daemon).run_test() as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(0)
        await until(pilot, lambda: app.recent.n_finished == 1)
        app.connection.decoded_s -= 42.0
        daemon.heartbeat()
        await until(pilot, lambda: " s ago" in words_of(app.query_one(StateBar)))


@in_event_loop
async def test_numbers_that_the_daemon_cannot_read_now_are_question_marks_and_no_zeros(daemon):
    async with monitor_of(daemon).run_test(size=(140, 45)) as pilot:
        app = pilot.app
        await asyncio.to_thread(daemon.wait_for_viewer)
        daemon.heartbeat(n_acked=None, n_decoded=None, n_skipped=None, n_refused=4)
        await until(pilot, lambda: "refused 4" in words_of(app.query_one(StateBar)))
        assert "acked ?  decoded ?  skipped ?  refused 4" in words_of(app.query_one(StateBar))


@in_event_loop
async def test_a_volume_that_failed_is_told_from_one_that_was_passed_over(daemon):
    async with monitor_of(daemon).run_test() as pilot:
        app = pilot.app
        await asyncio.to_thread(daemon.wait_for_viewer)
        daemon.decode(0)
        daemon.skip(1)
        daemon.skip(2, "failed: out of memory", failed=True)
        await until(pilot, lambda: "fail" in words_of(app.query_one(RecentStrip)))
        await until(pilot, lambda: "skip" in words_of(app.query_one(RecentStrip)))


@in_event_loop
async def test_a_calibration_shows_what_is_recorded_and_how_well_it_decodes(daemon):
    monitor = monitor_of(daemon)
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
    async with monitor_of(daemon).run_test(notifications=True) as pilot:
        daemon.wait_for_viewer()
        daemon.miss(31, 3)
        await until(pilot, lambda: any("volumes 31–33 missing" in one.message for one in pilot.app._notifications))


@in_event_loop
async def test_unreadable_bytes_are_counted_and_named_and_the_stream_goes_on(daemon):
    async with monitor_of(daemon).run_test(notifications=True) as pilot:
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


@in_event_loop
async def test_names_with_markup_or_control_characters_are_only_text(daemon):
    async with monitor_of(daemon).run_test() as pilot:
        daemon.wait_for_viewer()
        daemon.decode(0, label="[bold]x[/] \x1b[2J[")
        await until(pilot, lambda: "[bold]x[/]" in words_of(pilot.app.query_one(Retrieval)))
        assert "\x1b" not in words_of(pilot.app.query_one(Retrieval))


@in_event_loop
async def test_pictures_are_redrawn_for_another_terminal_size(daemon):
    async with monitor_of(daemon).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(0, colour=(40, 200, 90))
        await until(pilot, lambda: shows(app, "xzc", 40, 200, 90))
        view = app.query_one("#xzc")
        sizes = [view.size]
        for width, height in ((140, 45), (60, 20), (200, 30), (80, 24)):
            await pilot.resize_terminal(width, height)
            await until(pilot, lambda: view.size != sizes[-1] and is_square(view.size))
            await until(pilot, lambda: shows(app, "xzc", 40, 200, 90))
            sizes.append(view.size)
        assert sizes[0] == sizes[-1]
        assert sizes[1].height > sizes[0].height > sizes[2].height


@pytest.mark.parametrize("size", [(60, 20), (40, 12), (20, 6), (10, 3), (300, 100)], ids=str)
@in_event_loop
async def test_any_terminal_size_is_drawn(daemon, size):
    async with monitor_of(daemon).run_test(size=size) as pilot:
        daemon.wait_for_viewer()
        daemon.decode(0, seen_png=None)
        daemon.heartbeat()
        await until(pilot, lambda: pilot.app.recent.n_finished == 1 and pilot.app.connection.heartbeat is not None)
        await pilot.pause()
        assert pilot.app.query_one("#simulated").region.right <= size[0]
        assert "<svg" in pilot.app.export_screenshot()


@in_event_loop
async def test_help_opens_and_closes(daemon):
    async with monitor_of(daemon).run_test() as pilot:
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(pilot.app.screen, Help))
        daemon.wait_for_viewer()
        daemon.decode(0)
        await until(pilot, lambda: pilot.app.recent.n_finished == 1)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, Help))


def test_a_screenshot_holds_the_pictures(start_daemon, tmp_path):
    daemon = start_daemon()
    for index in range(3):
        daemon.decode(index, colour=(40, 200, 90))
    with daemon.beating():
        screenshot(daemon.endpoints, 3, tmp_path / "monitor.svg", size=(80, 24))
    svg = (tmp_path / "monitor.svg").read_text()
    assert "#28c85a" in svg
    assert "SIMULATED" in svg


def test_a_screenshot_without_decodes_says_how_many_came(daemon, tmp_path):
    with pytest.raises(ScreenshotError, match="0 decodes came within 0 s, 3 were asked for"):
        screenshot(daemon.endpoints, 3, tmp_path / "monitor.svg", timeout_s=0.1)
