"""No word of a table is cut at the terminal's right edge."""

import pytest
from monitor_screens import in_event_loop, until
from played_session import watching

from braind.tui.screens.trials import TrialsScreen, TrialsTable
from braind.tui.state.trials import COLUMNS


def rows_of(table):
    return [table.render_line(y).text for y in range(1 + table.row_count)]


@pytest.mark.parametrize("width", [40, 60, 66, 72, 80, 90, 100, 110, 120])
@in_event_loop
async def test_a_column_without_room_is_shortened_between_words_or_left_out(session, width):
    async with watching(session, (300, 24)) as pilot:
        session.decode_run(3)
        await until(pilot, lambda: pilot.app.recent.n_finished == 3)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, TrialsScreen))
        table = pilot.app.screen.query_one(TrialsTable)
        await until(pilot, lambda: len(rows_of(table)) == 4)
        whole = [row.split() for row in rows_of(table)]
        assert all(name in " ".join(whole[0]) for name, _ in COLUMNS)
        await pilot.resize_terminal(width, 24)
        await until(pilot, lambda: table.size.width == width)
        for row, words in zip(rows_of(table), whole, strict=True):
            assert len(row) <= width
            assert {word.rstrip("…") for word in row.split()} <= set(words) | {word.rstrip("…") for word in words} | {
                ""
            }


@in_event_loop
async def test_a_session_without_a_trial_has_no_empty_name(session):
    async with watching(session, (80, 24)) as pilot:
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, TrialsScreen))
        title = pilot.app.screen.query_one("#trials-title")
        await until(pilot, lambda: "0 trials" in title._shown.plain)
        assert "session" not in title._shown.plain
