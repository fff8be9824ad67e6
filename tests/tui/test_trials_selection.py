"""Trials are filtered, selected, compared and exported."""

import io
import json

import numpy as np
import pytest
from monitor_screens import in_event_loop, until, words_of
from PIL import Image

from braind.tui.app import Monitor
from braind.tui.live.picture_view import PictureView
from braind.tui.pictures import KEPT_PX
from braind.tui.screens.compare import CompareScreen
from braind.tui.screens.export import GAP_PX, LABEL_PX
from braind.tui.screens.trials import FilterInput, TrialsScreen, TrialsTable

SESSION = "sub-01_ses-14"


def numbers(app):
    table = app.screen.query_one(TrialsTable)
    return [table.get_row_at(n)[1].plain for n in range(table.row_count)]


def title(app):
    return words_of(app.screen.query_one("#trials-title"))


async def open_table(pilot, n_trials):
    await until(pilot, lambda: len(pilot.app.state.trials.of_session(SESSION)) == n_trials)
    await pilot.press("t")
    await until(pilot, lambda: isinstance(pilot.app.screen, TrialsScreen) and len(numbers(pilot.app)) == n_trials)


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    folder = tmp_path / "downloads"
    folder.mkdir()
    monkeypatch.setattr("braind.tui.saving.FOLDERS", (lambda: folder,))
    return folder


@pytest.mark.parametrize("size", [(60, 15), (80, 24)], ids=["60x15", "80x24"])
@in_event_loop
async def test_the_filter_shows_trials_with_all_words_while_they_are_typed_and_esc_shows_all_again(daemon, size):
    async with Monitor(daemon.endpoints).run_test(size=size) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        for index, label in enumerate(("a red fox", "a dog", "a grey fox")):
            daemon.decode(index, label=label)
        await open_table(pilot, 3)
        await pilot.press("slash", *"FOX")
        await until(pilot, lambda: numbers(app) == ["0", "2"])
        await pilot.press("space", *"grey")
        await until(pilot, lambda: numbers(app) == ["2"])
        assert "1 of 3 trials" in title(app)
        await pilot.press("enter")
        await until(pilot, lambda: app.focused is app.screen.query_one(TrialsTable))
        daemon.decode(3, label="a cat")
        daemon.decode(4, label="another grey fox")
        await until(pilot, lambda: numbers(app) == ["2", "4"])
        assert "2 of 5 trials" in title(app)
        await pilot.press("slash", *" nothing has this")
        await until(pilot, lambda: numbers(app) == [])
        await pilot.press("enter", "enter", "space", "c", "x")
        assert isinstance(app.screen, TrialsScreen)
        await pilot.press("slash", "escape")
        await until(pilot, lambda: len(numbers(app)) == 5)
        assert not app.screen.query_one(FilterInput).display
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (140, 40)], ids=["60x15", "80x24", "140x40"])
@in_event_loop
async def test_two_selected_trials_stand_side_by_side_and_differences_are_marked(daemon, size):
    async with Monitor(daemon.endpoints).run_test(size=size) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        for index in range(3):
            daemon.decode(index, colour=(50 * index, 0, 0), feedback=index / 10, trial=7)
        await open_table(pilot, 3)
        del app.recent.volumes[0]
        await pilot.press("home", "c")
        await until(pilot, lambda: any("select two" in one.message for one in app._notifications))
        await pilot.press("space", "down", "space")
        await until(pilot, lambda: numbers(app) == ["0 ✓", "1", "2 ✓"] and "2 selected" in title(app))
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        views = [app.screen.query_one(f"#side-{side} #xzc", PictureView) for side in range(2)]
        await until(pilot, lambda: all(view.picture is not None for view in views))
        assert [view.picture[0, 0, 0] for view in views] == [0, 100]
        await pilot.pause()
        lines = app.screen.query_one("#compare-facts")._shown.plain.splitlines()
        feedback = next(line for line in lines if line.startswith("feedback"))
        assert feedback.split() == ["feedback", "≠", "0.000", "+0.200"]
        assert "≠" not in next(line for line in lines if line.startswith("preset"))
        assert all(len(line) <= size[0] for line in lines)
        assert "no. 0" in words_of(app.screen.query_one("#side-0"))
        assert "no. 2" in words_of(app.screen.query_one("#side-1"))
        await pilot.press("escape", "end", "home", "space", "end", "space")
        await until(pilot, lambda: numbers(app) == ["0", "1", "2"])


@pytest.mark.parametrize("width", [100, 119, 120])
@in_event_loop
async def test_the_numbers_of_two_trials_keep_off_the_scrollbar(daemon, width):
    async with Monitor(daemon.endpoints).run_test(size=(width, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        for index in range(2):
            daemon.decode(index, label="a " * 60, feedback=0.1)
        await open_table(pilot, 2)
        await pilot.press("home", "space", "c")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        facts, scroll = app.screen.query_one("#compare-facts"), app.screen.query_one("#compare-scroll")
        await until(pilot, lambda: "candidate 5" in facts._shown.plain and scroll.show_vertical_scrollbar)
        await until(pilot, lambda: max(map(len, facts._shown.plain.splitlines())) <= facts.content_size.width)
        longest = max(map(len, facts._shown.plain.splitlines()))
        assert longest >= facts.content_size.width - 3
        assert facts.content_region.x + longest < width - scroll.scrollbar_size_vertical


@in_event_loop
async def test_the_selection_is_exported_as_one_png_and_one_json(daemon, downloads, red_png):
    async with Monitor(daemon.endpoints).run_test(size=(100, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(0, colour=(0, 200, 0), seen_png=red_png, feedback=0.42)
        daemon.decode(1, colour=(0, 0, 200))
        daemon.skip(2, "behind")
        await open_table(pilot, 3)
        await pilot.press("home", "space", "down", "space", "x")
        await until(pilot, lambda: any("saved as" in one.message for one in app._notifications))
        files = {path.suffix: path for path in downloads.iterdir()}
        assert set(files) == {".json", ".png"}
        first, skipped = json.loads(files[".json"].read_bytes())["trials"]
        assert (first["run"], first["index"], first["feedback"], first["outcome"]) == (
            f"{SESSION}_run-03",
            0,
            0.42,
            "final",
        )
        assert [one["stage"] for one in first["decodes"]] == ["scores", "xz", "xzc"]
        assert first["decodes"][0]["provenance"]["preset"] == "live-4"
        assert (skipped["outcome"], skipped["score"], skipped["decodes"]) == ("skipped", None, [])
        sheet = np.asarray(Image.open(io.BytesIO(files[".png"].read_bytes())))
        middle = LABEL_PX + LABEL_PX + KEPT_PX // 2
        colours = [tuple(sheet[middle, GAP_PX + at * (KEPT_PX + GAP_PX) + KEPT_PX // 2]) for at in range(3)]
        assert colours == [(250, 0, 0), (0, 200, 0), (0, 200, 0)]
        below = middle + KEPT_PX + LABEL_PX + GAP_PX
        assert tuple(sheet[below, GAP_PX + KEPT_PX // 2]) == (211, 211, 211)
        # A second export of the same second replaces nothing.
        await pilot.press("x")
        await until(pilot, lambda: len(list(downloads.iterdir())) == 4)


@in_event_loop
async def test_an_export_says_that_the_daemon_is_gone_or_that_no_folder_takes_the_files(daemon, downloads):
    async with Monitor(daemon.endpoints).run_test(size=(100, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(0)
        await open_table(pilot, 1)
        downloads.rmdir()
        await pilot.press("x")
        await until(pilot, lambda: any("was not saved" in one.message for one in app._notifications))
        daemon.close()
        await pilot.press("x")
        await until(pilot, lambda: any("not exported: no daemon" in one.message for one in app._notifications))
        assert not downloads.exists()
