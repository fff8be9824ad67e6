"""The table of trials: every trial once, sorted, found by its number, opened with pictures and provenance."""

import io

import numpy as np
from monitor_screens import in_event_loop, until, words_of
from PIL import Image

from braind.tui.app import Monitor
from braind.tui.drawing.terminal import Terminal
from braind.tui.live.picture_view import PictureView
from braind.tui.pictures import LARGE_PX
from braind.tui.recent import DecodedVolume
from braind.tui.screens.trial import TrialScreen
from braind.tui.screens.trials import TrialsScreen, TrialsTable
from braind.tui.state.trials import COLUMNS, N_KEPT, Trials, sorted_by
from braind.tui.zoom import Zoom

NAMES = [name for name, _ in COLUMNS]


def columns(app):
    return [column.label.plain for column in app.screen.query_one(TrialsTable).ordered_columns]


def rows(app):
    table, names = app.screen.query_one(TrialsTable), columns(app)
    return [dict(zip(names, (cell.plain for cell in table.get_row_at(n)), strict=True)) for n in range(table.row_count)]


def number_at_cursor(app):
    return rows(app)[app.screen.query_one(TrialsTable).cursor_row]["no."]


async def open_table(pilot, n_trials):
    await until(pilot, lambda: len(pilot.app.state.trials.of_session("sub-01_ses-14")) == n_trials)
    await pilot.press("t")
    await until(pilot, lambda: isinstance(pilot.app.screen, TrialsScreen) and len(rows(pilot.app)) == n_trials)


@in_event_loop
async def test_each_trial_of_the_session_has_one_row_whatever_became_of_it(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(140, 30)) as pilot:
        daemon.wait_for_viewer()
        for index in (5, 6):
            daemon.decode(index, "scores", event=0, is_final=False, label="a fox")
        daemon.skip(8, events=(0,))
        daemon.decode(9, event=1, trial=3121, label="a dog", feedback=0.42)
        daemon.decode(9, "scores", event=2, is_final=False)
        await open_table(pilot, 3)
        first, second, third = rows(pilot.app)
        assert (first["no."], first["volume"], first["outcome"], first["ms"]) == ("0", "6", "skipped", "–")
        assert (second["no."], second["trial"], second["outcome"], second["score"]) == ("1", "3121", "final", "0.90")
        assert (second["best candidate"], second["feedback"], second["ms"]) == ("a dog.0", "+0.42", "409")
        assert third["outcome"] == "provisional"
        assert "3 trials  session sub-01_ses-14  by arrival" in words_of(pilot.app.screen.query_one("#trials-title"))


@in_event_loop
async def test_the_table_grows_while_it_is_open_and_the_cursor_stays_on_its_trial(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(140, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        for index in range(3):
            daemon.decode(index)
        await open_table(pilot, 3)
        assert number_at_cursor(app) == "2"
        await pilot.press("home")
        await until(pilot, lambda: number_at_cursor(app) == "0")
        daemon.decode(3, "scores")
        await until(pilot, lambda: len(rows(app)) == 4)
        assert (number_at_cursor(app), rows(app)[3]["outcome"]) == ("0", "decoding")
        daemon.decode(3)
        await until(pilot, lambda: rows(app)[3]["outcome"] == "final")
        await pilot.press("end")
        await until(pilot, lambda: number_at_cursor(app) == "3")


@in_event_loop
async def test_digits_jump_to_a_trial_and_keys_sort(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(140, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        for index in range(14):
            daemon.decode(index, feedback=(-1) ** index * index / 100)
        await open_table(pilot, 14)
        await pilot.press("1", "2")
        await until(pilot, lambda: number_at_cursor(app) == "12")
        for _ in range(columns(app).index("feedback") + 1):
            await pilot.press("o")
        await until(pilot, lambda: rows(app)[0]["no."] == "13")
        assert number_at_cursor(app) == "12"
        await pilot.press("r")
        await until(pilot, lambda: rows(app)[0]["no."] == "12")
        assert "by feedback, descending" in words_of(app.screen.query_one("#trials-title"))


@in_event_loop
async def test_enter_opens_a_trial_with_pictures_numbers_and_provenance(daemon, red_png):
    async with Monitor(daemon.endpoints).run_test(size=(140, 40)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(0, colour=(40, 200, 90), seen_png=red_png, feedback=0.42)
        await open_table(pilot, 1)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TrialScreen))
        await until(pilot, lambda: app.screen.query_one("#xzc", PictureView).picture is not None)
        facts = words_of(app.screen.query_one("#trial-facts"))
        for words in ("feedback      +0.420", "candidate 1   0.900", "live-4, mode zc, seed 42", "torch-cpu"):
            assert words in facts
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, TrialsScreen))


@in_event_loop
async def test_z_zooms_the_open_trial_and_not_the_newest(daemon):
    async with Monitor(daemon.endpoints, Terminal("kitty")).run_test(size=(140, 40)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(0, colour=(40, 200, 90))
        daemon.decode(1)
        await open_table(pilot, 2)
        await pilot.press("z")
        # the table shows no volume
        assert isinstance(app.screen, TrialsScreen)
        await pilot.press("home", "enter")
        await until(pilot, lambda: isinstance(app.screen, TrialScreen))
        await until(pilot, lambda: "\U0010eeee" in words_of(app.screen.query_one("#xzc")))
        await pilot.press("z")
        await until(pilot, lambda: isinstance(app.screen, Zoom) and "volume 0" in words_of(app.screen))
        daemon.decode(2)
        await until(pilot, lambda: app.recent.n_finished == 3)
        app.screen.show()
        assert "volume 0" in words_of(app.screen)
        np.testing.assert_array_equal(app.screen.query_one(PictureView).picture[0, 0], [40, 200, 90])


@in_event_loop
async def test_a_forgotten_trials_pictures_are_as_large_as_the_terminal_draws_them(daemon):
    async with Monitor(daemon.endpoints, Terminal("sixel")).run_test(size=(140, 40)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        large = io.BytesIO()
        Image.new("RGB", (2 * LARGE_PX, 2 * LARGE_PX)).save(large, "PNG")
        daemon.decode(0, decoded_png=large.getvalue())
        await open_table(pilot, 1)
        app.recent.volumes.clear()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TrialScreen))
        await until(pilot, lambda: app.screen.query_one("#xzc", PictureView).picture is not None)
        assert app.screen.query_one("#xzc", PictureView).picture.shape == (LARGE_PX, LARGE_PX, 3)


@in_event_loop
async def test_the_pictures_of_a_trial_that_the_strip_has_forgotten_are_fetched(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(140, 40)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(0, colour=(40, 200, 90))
        daemon.decode(1)
        await open_table(pilot, 2)
        del app.recent.volumes[0]
        await pilot.press("home", "enter")
        await until(pilot, lambda: isinstance(app.screen, TrialScreen))
        await until(pilot, lambda: app.screen.query_one("#xzc", PictureView).picture is not None)
        np.testing.assert_array_equal(app.screen.query_one("#xzc", PictureView).picture[0, 0], [40, 200, 90])


@in_event_loop
async def test_a_daemon_that_is_gone_is_said_instead_of_an_old_trials_pictures(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(140, 40)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(0)
        await open_table(pilot, 1)
        app.recent.volumes.clear()
        daemon.close()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TrialScreen))
        await until(pilot, lambda: "braind serve" in words_of(app.screen.query_one("#hint")))


@in_event_loop
async def test_who_joins_late_finds_every_trial_of_the_session_and_no_other_sessions(daemon, monkeypatch):
    monkeypatch.setattr("braind.tui.app.N_HISTORY", 3)
    monkeypatch.setattr("braind.tui.feed.PAGE", 7)
    for index in range(5):
        daemon.decode(index, session="sub-01_ses-13", run="another")
    for index in range(12):
        daemon.decode(index, feedback=index / 100)
    async with Monitor(daemon.endpoints).run_test(size=(140, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.heartbeat()
        await until(pilot, lambda: len(app.state.trials.of_session("sub-01_ses-14")) == 1)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, TrialsScreen) and len(rows(app)) == 12)
        assert [row["no."] for row in rows(app)] == [str(index) for index in range(12)]
        assert all(row["outcome"] == "final" for row in rows(app))
        await until(pilot, lambda: "fetching" not in words_of(app.screen.query_one("#trials-title")))
        assert number_at_cursor(app) == "11"
        await pilot.press("home", "enter")
        await until(pilot, lambda: isinstance(app.screen, TrialScreen))
        await until(pilot, lambda: app.screen.query_one("#xzc", PictureView).picture is not None)


def volume(index, feedback=None):
    return DecodedVolume("s", "r", index, 0, 0.0, feedback=feedback)


def test_an_unknown_value_is_sorted_last_in_both_orders():
    trials = Trials()
    for index, feedback in enumerate((0.2, None, -0.1)):
        trials.take(volume(index, feedback))
    column = NAMES.index("feedback")
    for descending, expected in ((False, [2, 0, 1]), (True, [0, 2, 1])):
        in_order = sorted_by(trials.of_session("s"), column, descending=descending)
        assert [record.index for record in in_order] == expected


def test_only_so_many_trials_are_kept():
    trials = Trials()
    for index in range(N_KEPT + 5):
        trials.take(volume(index))
    assert [len(trials.of_session("s")), trials.of_session("s")[0].index] == [N_KEPT, 5]
