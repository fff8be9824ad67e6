"""Recorded sessions: their list, and the monitor that walks through one without a daemon."""

import numpy as np
import pytest
from click.testing import CliRunner
from journaled_decodes import journal_decodes, spoil_message
from monitor_screens import in_event_loop, until, words_of

from braind.cli import main
from braind.client import wire
from braind.client.endpoints import Endpoints
from braind.commands import live
from braind.config import load_config
from braind.daemon.journal.database import JournalError
from braind.daemon.journal.journal import Journal
from braind.offline.sessions.recordings import recordings
from braind.tui.app import Monitor
from braind.tui.live.picture_view import PictureView
from braind.tui.recent import N_KEPT
from braind.tui.recorded import RecordedMonitor, run_recorded
from braind.tui.screens.events import EventsScreen
from braind.tui.screens.sessions import COLUMNS, SessionsScreen, SessionsTable
from braind.tui.screens.trial import TrialScreen
from braind.tui.screens.trials import TrialsScreen, TrialsTable

NOWHERE = Endpoints(ingest="tcp://127.0.0.1:9", decodes="tcp://127.0.0.1:9", control="tcp://127.0.0.1:9")


@pytest.fixture
def journals(tmp_path):
    folder = tmp_path / "journals"
    folder.mkdir()
    return folder


@pytest.fixture
def reader(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAIND_PATHS__DATA", str(tmp_path))
    return recordings(load_config())


def rows(app):
    table = app.screen.query_one(SessionsTable)
    return [
        dict(zip(COLUMNS, (cell.plain for cell in table.get_row_at(n)), strict=True)) for n in range(table.row_count)
    ]


async def open_sessions(pilot, n_sessions):
    await pilot.press("d")
    await until(pilot, lambda: isinstance(pilot.app.screen, SessionsScreen) and len(rows(pilot.app)) == n_sessions)


@in_event_loop
async def test_the_list_has_every_session_of_the_folder_and_says_which_cannot_be_read(daemon, journals, reader):
    journal_decodes(journals / "ses-01.sqlite3", 3, ends_skipped=True)
    (journals / "ses-02.sqlite3").write_bytes(b"no journal at all" * 100)
    async with Monitor(daemon.endpoints, recordings=reader).run_test(size=(80, 24)) as pilot:
        await open_sessions(pilot, 2)
        by_name = {row["session"]: row for row in rows(pilot.app)}
        assert by_name["ses-01"]["state"] == "done"
        assert (by_name["ses-01"]["volumes"], by_name["ses-01"]["runs"], by_name["ses-01"]["subject"]) == (
            "3", "1", "1 simulated",
        )  # fmt: skip
        unreadable = by_name["ses-02"]
        assert (unreadable["state"], unreadable["volumes"], unreadable["opened"]) == ("unreadable", "–", "–")
        await pilot.press("end")
        await until(pilot, lambda: "ses-02 cannot be read" in words_of(pilot.app.screen.query_one("#session-facts")))
        await pilot.press("enter")
        await until(pilot, lambda: any("cannot be read" in one.message for one in pilot.app._notifications))
        assert isinstance(pilot.app.screen, SessionsScreen)


@in_event_loop
async def test_a_recorded_session_beside_a_live_daemon_is_named_recorded_and_has_its_own_events(
    daemon, journals, reader
):
    journal_decodes(journals / "old.sqlite3", 3, first_seq=40)
    async with Monitor(daemon.endpoints, recordings=reader).run_test(size=(100, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(7)
        await open_sessions(pilot, 1)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TrialsScreen))
        table = app.screen.query_one(TrialsTable)
        assert table.row_count == 3
        title = words_of(app.screen.query_one("#trials-title"))
        assert "recorded  3 trials  session old" in title
        await pilot.press("m")
        await until(pilot, lambda: any("takes no notes" in one.message for one in app._notifications))
        assert isinstance(app.screen, TrialsScreen)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, EventsScreen))
        assert "recorded session old" in words_of(app.screen.query_one("#events-title"))
        assert "volumes 3–4 missing" in words_of(app.screen.query_one("#events"))
        await pilot.press("escape", "escape", "escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        assert app.state.trials.newest_session() == "sub-01_ses-14"


@in_event_loop
async def test_what_operators_noted_is_among_a_recorded_sessions_events_at_its_time(journals, reader):
    path = journals / "old.sqlite3"
    journal_decodes(path, 5)
    journal = Journal(path)
    for note, made_s in (("later", 1.7e9 + 60), ("moved her head", 1.7e9 + 2.5)):
        journal.add_mark(wire.Mark(note=note, session="old", run="run-01", index=2, made_s=made_s, by="desk"))
    journal.close()
    async with RecordedMonitor(NOWHERE, reader, path).run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: pilot.app.recent.n_finished == 5)
        sentences = [entry.sentence for entry in pilot.app.state.log.entries]
        assert sentences[-2:] == [
            f"mark, run run-01, volume 2: {note} (by desk)" for note in ("moved her head", "later")
        ]
        await pilot.press("e")
        await until(pilot, lambda: isinstance(pilot.app.screen, EventsScreen))
        await until(pilot, lambda: "moved her head (by desk)" in words_of(pilot.app.screen.query_one("#events")))


@pytest.mark.parametrize("size", [(60, 15), (80, 24)], ids=["60x15", "80x24"])
@in_event_loop
async def test_a_recorded_session_is_walked_through_without_a_daemon(journals, reader, size):
    path = journals / "old.sqlite3"
    journal_decodes(path, 5)
    async with RecordedMonitor(NOWHERE, reader, path).run_test(size=size) as pilot:
        app = pilot.app
        await until(pilot, lambda: app.recent.n_finished == 5)
        await until(pilot, lambda: "recorded session" in words_of(app.screen.query_one("#live")))
        assert "volume 4" in words_of(app.screen.query_one("#shown"))
        await pilot.press("right")
        await until(pilot, lambda: "volume 3" in words_of(app.screen.query_one("#shown")))
        picture = app.screen.query_one("#xzc", PictureView).picture
        np.testing.assert_array_equal(picture[0, 0], [3, 3, 3])
        await pilot.press("p")
        await until(pilot, lambda: any("recorded session" in one.message for one in app._notifications))
        for key in "cmuk":
            await pilot.press(key)
            await until(pilot, lambda: any("no daemon" in one.message for one in app._notifications))
            assert len(app.screen_stack) == 1
            app.clear_notifications()
        for key, screen in (("t", "TrialsScreen"), ("e", "EventsScreen"), ("y", "QualityScreen"), ("d", "Sessions")):
            await pilot.press(key)
            await until(pilot, lambda screen=screen: type(app.screen).__name__.startswith(screen))
            assert "esc Back" in words_of(app.screen.query_one("Keys"))
            await pilot.press("escape")
            await until(pilot, lambda: len(app.screen_stack) == 1)


@in_event_loop
async def test_a_long_session_is_there_whole_and_its_old_pictures_are_read_when_they_are_wanted(journals, reader):
    path = journals / "long.sqlite3"
    journal_decodes(path, N_KEPT + 20, first_seq=500)
    async with RecordedMonitor(NOWHERE, reader, path).run_test(size=(100, 30)) as pilot:
        app = pilot.app
        await until(pilot, lambda: len(app.state.trials.of_session("long")) == N_KEPT + 20)
        assert all(volume.xzc is not None for volume in app.recent.volumes)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, TrialsScreen))
        await pilot.press("home", "down", "enter")
        await until(pilot, lambda: isinstance(app.screen, TrialScreen))
        await until(pilot, lambda: app.screen.query_one("#xzc", PictureView).picture is not None)
        np.testing.assert_array_equal(app.screen.query_one("#xzc", PictureView).picture[0, 0], [1, 1, 1])


@in_event_loop
async def test_a_session_damaged_in_its_middle_is_shown_up_to_the_damage_and_the_damage_is_said(journals, reader):
    path = journals / "spoilt.sqlite3"
    journal_decodes(path, 6)
    spoil_message(path, 11)
    async with RecordedMonitor(NOWHERE, reader, path).run_test(size=(120, 30)) as pilot:
        app = pilot.app
        await until(pilot, lambda: app.recent.n_finished == 3)
        assert any("read up to the damage" in one.message for one in app._notifications)
        assert any("message 11 do not match" in entry.sentence for entry in app.state.log.entries)


def test_a_damaged_file_and_a_missing_one_are_a_sentence_on_the_command_line(journals, reader, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "_has_terminal", lambda: True)
    path = journals / "spoilt.sqlite3"
    journal_decodes(path, 2)
    spoil_message(path, 1)
    with pytest.raises(JournalError, match="message 1 do not match their checksum"):
        run_recorded(NOWHERE, reader, path, load_config().monitor)
    nothing = tmp_path / "notes.sqlite3"
    nothing.write_text("no journal")
    run = lambda *arguments: CliRunner().invoke(main, ["monitor", "--data", str(tmp_path), *arguments])  # noqa: E731
    for arguments, words in (
        (("--session", "ses-99"), "no such session"),
        (("--session", str(nothing)), "damaged or no braind journal"),
        (("--session", "spoilt", "--plain"), "--plain"),
    ):
        result = run(*arguments)
        assert result.exit_code
        assert words in result.output
        assert "Traceback" not in result.output


def test_a_session_without_a_terminal_is_refused_in_a_sentence(journals, tmp_path):
    journal_decodes(journals / "old.sqlite3", 2)
    result = CliRunner().invoke(main, ["monitor", "--data", str(tmp_path), "--session", "old"])
    assert result.exit_code == 2
    assert "braind sessions export" in result.output


@in_event_loop
async def test_a_monitor_without_sessions_of_its_own_says_where_they_are(daemon):
    async with Monitor(daemon.endpoints).run_test() as pilot:
        await pilot.press("d")
        await until(pilot, lambda: any("daemon's machine" in one.message for one in pilot.app._notifications))
