"""Names and labels that leave no room: what matters most stays, is told apart, and no word is cut in its middle."""

import asyncio
import re
from contextlib import asynccontextmanager

import pytest
from crowded_session import RUNS, SESSION, publish_crowded
from every_screen import WAYS, Listing, answer_setup, walk
from monitor_screens import in_event_loop, until, words_of
from rich.cells import cell_len

from braind.offline.sessions.listing import SessionRow
from braind.offline.sessions.recordings import fetch_messages, read_marks, read_messages
from braind.tui.app import Monitor
from braind.tui.live.retrieval import Retrieval
from braind.tui.live.strip import RecentStrip
from braind.tui.screens.trials import TrialsTable
from braind.tui.state.recorded import Recordings

SMALL, USUAL, LARGE, VAST = (60, 15), (80, 24), (120, 40), (500, 60)


class CrowdedListing(Listing):
    """Two sessions of long names that differ at their ends."""

    def __call__(self):
        return [
            SessionRow(session=f"{SESSION[:-4]}-{n}", path=f"{n}.sqlite3", n_bytes=1, state="unreadable", problem="cut")
            for n in ("one", "two")
        ]


@asynccontextmanager
async def crowded(daemon, tmp_path, screen, size, seen_png):
    """Yield the pilot of a monitor of a crowded session, on a screen."""
    publish_crowded(daemon, seen_png=seen_png)
    answer_setup(daemon)
    recordings = Recordings(tmp_path, CrowdedListing(), read_messages, fetch_messages, read_marks)
    async with Monitor(daemon.endpoints, recordings=recordings).run_test(size=size) as pilot:
        await asyncio.to_thread(daemon.wait_for_viewer)
        daemon.heartbeat(session=SESSION, run=RUNS[-1], n_acked=123_456, n_decoded=123_450, n_waiting=2)
        await until(pilot, lambda: pilot.app.recent.n_finished == 6 and pilot.app.connection.heartbeat is not None)
        await walk(pilot, daemon, WAYS[screen])
        await pilot.pause()
        yield pilot


def words_in(app):
    return {word for word in words_of(app.screen).split() if re.search(r"[a-z]{2}", word)}


def parts_of(words):
    return {part for word in words for part in re.split(r"[\s_\-./,;:+…]", word)} | {""}


def cut_words(app, whole):
    """The words on the screen that are neither whole words, nor parts of whole words between signs."""
    words = {word for word in words_in(app) - whole if "xxx" not in word}
    return {word for word in words if not parts_of([word]) <= parts_of(whole)}


SCREENS = [name for name in WAYS if name not in ("TrialsScreen", "FilterInput", "SessionsScreen")]


@pytest.mark.parametrize("screen", SCREENS)
@in_event_loop
async def test_no_word_is_cut_in_its_middle_at_any_size(daemon, tmp_path, red_png, screen):
    async with crowded(daemon, tmp_path, screen, VAST, red_png) as pilot:
        whole = words_in(pilot.app)
        for size in (SMALL, USUAL):
            await pilot.resize_terminal(*size)
            # Words are fitted to their new places one after the other.
            await until(pilot, lambda: pilot.app.size == size and not cut_words(pilot.app, whole))  # noqa: B023


@pytest.mark.parametrize("size", [SMALL, USUAL], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    "screen", ["Monitor", "Zoom", "TrialScreen", "CompareScreen", "QualityScreen", "TrialsTable", "SessionsTable"]
)
@in_event_loop
async def test_names_that_differ_at_their_ends_are_told_apart(daemon, tmp_path, red_png, screen, size):
    async with crowded(daemon, tmp_path, screen, size, red_png) as pilot:
        await until(pilot, lambda: ENDS.get(screen, "04") in words_of(pilot.app.screen))
        if screen == "TrialsTable":
            runs = [line.split()[0] for line in words_of(pilot.app.screen.query_one(TrialsTable)).splitlines()[1:7]]
            assert [run[-2:] for run in runs] == ["03"] * 3 + ["04"] * 3
        if screen == "QualityScreen":
            assert re.findall(r"(?m)^\S*(left|right) ", words_of(pilot.app.screen.query_one("#quality-traces")))
        if screen == "SessionsTable":
            assert {"-one", "-two"} <= set(
                re.findall("-(?:one|two)\\b", words_of(pilot.app.screen.query_one("#sessions")))
            )


ENDS = {"CompareScreen": "03", "SessionsTable": "-two"}


@pytest.mark.parametrize(
    ("size", "columns"),
    [
        (SMALL, "run no. outcome best candidate score rank"),
        (USUAL, "run no. outcome best candidate score rank feedback"),
        (LARGE, "run no. outcome best candidate score rank feedback ms trial volume"),
    ],
    ids=str,
)
@in_event_loop
async def test_the_table_of_trials_leaves_out_the_least_important_columns(daemon, tmp_path, red_png, size, columns):
    async with crowded(daemon, tmp_path, "TrialsTable", size, red_png) as pilot:
        table = pilot.app.screen.query_one(TrialsTable)
        await until(pilot, lambda: " ".join(table.render_line(0).text.split()) == columns)
        assert table.render_line(1).text.split()[1:3] == ["0", "final"]


@in_event_loop
async def test_columns_without_a_value_give_way_to_classes(daemon):
    async with Monitor(daemon.endpoints).run_test(size=SMALL) as pilot:
        await asyncio.to_thread(daemon.wait_for_viewer)
        daemon.classify(1, {"face": 0.7, "house": 0.3}, sent="house")
        await until(pilot, lambda: pilot.app.recent.n_finished == 1)
        await pilot.press("t")
        await until(pilot, lambda: pilot.app.screen.query(TrialsTable))
        table = pilot.app.screen.query_one(TrialsTable)
        await until(pilot, lambda: table.render_line(0).text.split()[:7] == "run no. outcome class p sent ms".split())
        daemon.decode(2, label="a fox")
        await until(pilot, lambda: "best candidate  score" in table.render_line(0).text)
        assert [table.render_line(y).text.split()[1] for y in (1, 2)] == ["1", "2"]


@in_event_loop
async def test_the_cursor_stays_on_its_trial_when_the_table_is_laid_out_for_another_width(daemon, tmp_path, red_png):
    async with crowded(daemon, tmp_path, "TrialsScreen", LARGE, red_png) as pilot:
        table = pilot.app.screen.query_one(TrialsTable)
        await pilot.press("down")
        await pilot.resize_terminal(*SMALL)
        await until(pilot, lambda: table.render_line(0).text.rstrip().endswith("rank"))
        assert table.cursor_row == 1
        assert "6 trials" in words_of(pilot.app.screen.query_one("#trials-title"))


@pytest.mark.parametrize("screen", ["TrialScreen", "CompareScreen"])
@in_event_loop
async def test_the_title_of_a_trial_fits_a_terminal_that_was_made_smaller(daemon, tmp_path, red_png, screen):
    async with crowded(daemon, tmp_path, screen, VAST, red_png) as pilot:
        await pilot.resize_terminal(*SMALL)
        number = "volume 2" if screen == "TrialScreen" else "no. 1"
        title = pilot.app.screen.query(".screen-title").last()
        await until(pilot, lambda: number in words_of(title) and "task…" in words_of(title))


@in_event_loop
async def test_two_trials_side_by_side_keep_their_columns_beside_labels_of_wide_characters(daemon, tmp_path, red_png):
    async with crowded(daemon, tmp_path, "CompareScreen", USUAL, red_png) as pilot:
        facts = pilot.app.screen.query_one("#compare-facts")
        await until(pilot, lambda: "trial 73001" in words_of(facts))
        lines = words_of(facts).splitlines()
        begins = cell_len(lines[0][: lines[0].index("trial 73001")])
        sides = [line for line in lines if "fox" in line or "snow" in line or "river" in line]
        wide = [line for line in lines if "一" in line or "冰" in line]
        assert sides
        assert wide
        assert all(cell_len(re.split("[一-鿿]", line)[0]) >= begins for line in wide)
        assert not any(line[:13].strip() and line[0] > "z" for line in lines)


@in_event_loop
async def test_the_seen_picture_is_on_the_last_row_of_the_smallest_screen(daemon, tmp_path, red_png):
    async with crowded(daemon, tmp_path, "Monitor", SMALL, red_png) as pilot:
        figures = pilot.app.screen.query_one(Retrieval)
        await until(pilot, lambda: words_of(figures).splitlines()[-1].endswith("seen"))
        assert figures.size.height == pilot.app.screen.query_one("#figures").size.height


@in_event_loop
async def test_recent_classes_that_begin_alike_are_told_apart_on_the_strip(daemon):
    async with Monitor(daemon.endpoints).run_test(size=USUAL) as pilot:
        await asyncio.to_thread(daemon.wait_for_viewer)
        for index, name in enumerate(("a happy face", "a sad face of a man", "a house")):
            daemon.classify(index, {name: 1.0})
        await until(pilot, lambda: pilot.app.recent.n_finished == 3)
        await pilot.pause()
        names = words_of(pilot.app.screen.query_one(RecentStrip)).splitlines()[0]
        assert names.split() == ["…house", "a…man", "a…face"]
