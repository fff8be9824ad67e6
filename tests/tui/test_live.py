"""The newest decode on the Live screen, stage by stage, and an older one that is held."""

import asyncio

import msgspec
import pytest
from monitor_screens import in_event_loop, shows, until, words_of

from braind.tui.app import Monitor
from braind.tui.dialogs import Help
from braind.tui.live.latency import Latency
from braind.tui.live.retrieval import Retrieval
from braind.tui.live.state_bar import StateBar
from braind.tui.live.strip import RecentStrip

SIZES = pytest.mark.parametrize("size", [(80, 24), (140, 45)], ids=lambda size: f"{size[0]}x{size[1]}")


@SIZES
@in_event_loop
async def test_the_newest_decode_is_shown_with_all_that_came_with_it(daemon, size, red_png):
    async with Monitor(daemon.endpoints).run_test(size=size) as pilot:
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
        assert [row.split("━")[0].strip() for row in rows] == ["1  0.90", "2  0.80", "3  0.70", "4  0.60", "5  0.50"]
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
    async with Monitor(daemon.endpoints).run_test() as pilot:
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
    async with Monitor(daemon.endpoints).run_test() as pilot:
        daemon.wait_for_viewer()
        daemon.decode(0)
        await until(pilot, lambda: "not sent" in words_of(pilot.app.query_one("#seen")))


@in_event_loop
async def test_mode_z_waits_for_no_xzc(daemon):
    async with Monitor(daemon.endpoints).run_test() as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        provenance = msgspec.structs.replace(daemon.provenance, mode="z", simulated=False)
        daemon.decode(0, "scores", "xz", colour=(9, 90, 9), provenance=provenance)
        await until(pilot, lambda: shows(app, "xz", 9, 90, 9))
        assert "not in mode z" in words_of(app.query_one("#xzc"))
        assert "SIMULATED" not in words_of(app.query_one(StateBar))


@in_event_loop
async def test_a_skipped_volume_has_its_place_in_the_strip(daemon):
    async with Monitor(daemon.endpoints).run_test() as pilot:
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
    async with Monitor(daemon.endpoints).run_test() as pilot:
        daemon.wait_for_viewer()
        daemon.heartbeat()
        await until(pilot, lambda: len(pilot.app.recent.volumes) == 4)
        await until(pilot, lambda: "3" in words_of(pilot.app.query_one(RecentStrip)))
        assert words_of(pilot.app.query_one(RecentStrip)).splitlines()[-1].split() == ["3", "2", "1", "0"]


@in_event_loop
async def test_a_trial_that_unfolds_leaves_the_last_picture_and_its_final_one_says_what_was_odd(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(120, 40)) as pilot:
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
        await until(
            pilot,
            lambda: "event 1  volume 14  12.0 s after onset, final  misaligned" in words_of(app.query_one(StateBar)),
        )


@SIZES
@in_event_loop
async def test_an_older_decode_is_held_until_the_newest_is_followed_again(daemon, size):
    async with Monitor(daemon.endpoints).run_test(size=size) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        for index in range(3):
            daemon.decode(index, colour=(100 + index, 9, 9))
        await until(pilot, lambda: shows(app, "xzc", 102, 9, 9))
        await pilot.press("right")
        await until(pilot, lambda: shows(app, "xzc", 101, 9, 9))
        await until(pilot, lambda: "held" in words_of(app.query_one("#shown")))
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
    async with Monitor(daemon.endpoints).run_test() as pilot:
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
async def test_a_volume_that_failed_is_told_from_one_that_was_passed_over(daemon):
    async with Monitor(daemon.endpoints).run_test() as pilot:
        app = pilot.app
        await asyncio.to_thread(daemon.wait_for_viewer)
        daemon.decode(0)
        daemon.skip(1)
        daemon.skip(2, "failed: out of memory", failed=True)
        await until(pilot, lambda: "fail" in words_of(app.query_one(RecentStrip)))
        await until(pilot, lambda: "skip" in words_of(app.query_one(RecentStrip)))


@in_event_loop
async def test_names_with_markup_or_control_characters_are_only_text(daemon):
    async with Monitor(daemon.endpoints).run_test() as pilot:
        daemon.wait_for_viewer()
        daemon.decode(0, label="[bold]x[/] \x1b[2J[")
        await until(pilot, lambda: "[bold]x[/]" in words_of(pilot.app.query_one(Retrieval)))
        assert "\x1b" not in words_of(pilot.app.query_one(Retrieval))


@in_event_loop
async def test_help_opens_and_closes(daemon):
    async with Monitor(daemon.endpoints).run_test() as pilot:
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(pilot.app.screen, Help))
        daemon.wait_for_viewer()
        daemon.decode(0)
        await until(pilot, lambda: pilot.app.recent.n_finished == 1)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, Help))
