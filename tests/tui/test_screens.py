"""What an operator sees on the screens beside Live, as committed screens: `tests/tui/screens`."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from journaled_decodes import journal_decodes
from monitor_screens import in_event_loop, until
from played_session import RUN_3, RUN_4, SCORES, SESSION, watching
from screen_files import matches_file
from textual.widgets import OptionList

from braind.client import wire
from braind.config import load_config
from braind.offline.sessions.recordings import recordings
from braind.tui.screens.calibration import CalibrationScreen
from braind.tui.screens.control import Choose, Confirm, ControlScreen
from braind.tui.screens.mark import MarkDialog
from braind.tui.screens.sessions import SessionsScreen
from braind.tui.screens.trial import TrialScreen
from braind.tui.screens.trials import TrialsScreen

SIZE = (80, 24)
STATUS = wire.Status(
    state="ready", pid=31, version="0.1.0", uptime_s=90.0, subject=1, weights="subj01-f00dcafe", ldm="beef1234",
    engine="torch-cpu", preset="live-4", policy="all", simulated=True, journal="/data/journals/sub-01_ses-14.sqlite3",
    session=SESSION, run=RUN_3, n_acked=124, n_decoded=121, n_skipped=2, n_refused=0, n_waiting=1, decoder_restarts=0,
    last_seq=300, latency_p50_s=0.4, latency_p99_s=0.6, clock_offset_s=0.002, clock_uncertainty_s=0.001,
)  # fmt: skip
SETUP = wire.Setup(
    mode="zc", refine="", presets=("live-1", "live-4", "takagi"), keys="required", libzmq="4.3.5", tr_s=1.6,
    journal_bytes=10**7, free_bytes=10**11, ack_p50_s=0.002, ack_p99_s=0.004, clock_step_s=0.0, is_synchronised=True,
    connections=(
        wire.Connected(
            socket="ingest", address="192.0.2.17", key="scanner", roles=("ingest",), silent_s=1.2, clock_offset_s=0.002
        ),
        wire.Connected(socket="decodes", address="192.0.2.31", key="desk", roles=("view", "control"), silent_s=90.0),
        wire.Connected(socket="control", address="192.0.2.31", key="desk", roles=("view", "control"), silent_s=0.5),
    ),
)  # fmt: skip


def answers(session, status=STATUS, setup=SETUP):
    """Have the daemon answer as a daemon of this version."""
    session.daemon.answers |= {wire.StatusRequest: status, wire.SetupRequest: setup}


async def until_finished(pilot, n):
    await until(pilot, lambda: pilot.app.recent.n_finished == n)


async def until_screen(pilot, kind):
    await until(pilot, lambda: isinstance(pilot.app.screen, kind))


# ── trials ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(60, 15), SIZE, (140, 30)], ids=lambda size: f"{size[0]}x{size[1]}")
@in_event_loop
async def test_every_trial_of_the_session_is_in_a_table(session, size):
    async with watching(session, size) as pilot:
        session.decode_run(4, ago_s=40.0)
        session.daemon.skip(4, "a newer volume was waiting")
        session.decode_run(3, run=RUN_4)
        session.beat(run=RUN_4)
        await until_finished(pilot, 7)
        await pilot.press("t")
        await matches_file(pilot, f"trials-{size[0]}x{size[1]}")


@in_event_loop
async def test_trials_are_filtered_and_selected(session):
    async with watching(session, SIZE) as pilot:
        session.decode_run(6)
        session.beat()
        await until_finished(pilot, 6)
        await pilot.press("t", "home", "space", "space", "slash", *"fox")
        await matches_file(pilot, "trials-filter")


@in_event_loop
async def test_one_trial_has_its_pictures_its_numbers_and_what_made_it(session):
    async with watching(session) as pilot:
        session.decode_run(2)
        session.beat()
        await until_finished(pilot, 2)
        await pilot.press("t")
        await until_screen(pilot, TrialsScreen)
        await pilot.press("enter")
        await matches_file(pilot, "trial")


@in_event_loop
async def test_a_trial_without_a_picture_says_why(session):
    async with watching(session, SIZE) as pilot:
        session.decode(0)
        session.daemon.skip(1, "failed: out of memory", failed=True)
        session.beat()
        await until(pilot, lambda: len(pilot.app.recent.volumes) == 2)
        await pilot.press("t")
        await until_screen(pilot, TrialsScreen)
        await pilot.press("enter")
        await matches_file(pilot, "trial-failed")


@in_event_loop
async def test_two_trials_stand_side_by_side_and_differences_are_marked(session):
    async with watching(session) as pilot:
        session.decode_run(3)
        session.beat()
        await until_finished(pilot, 3)
        await pilot.press("t", "home", "space", "c")
        await matches_file(pilot, "compare")


@in_event_loop
async def test_one_picture_is_zoomed_with_its_name(session):
    async with watching(session, SIZE) as pilot:
        session.decode_run(2)
        session.beat()
        await until_finished(pilot, 2)
        await pilot.press("z")
        await matches_file(pilot, "zoom")


# ── quality, events, sessions ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(60, 15), SIZE, (100, 28)], ids=lambda size: f"{size[0]}x{size[1]}")
@in_event_loop
async def test_the_quality_of_a_run_is_in_numbers_with_what_each_means(session, size):
    noise = np.random.default_rng(0).normal(scale=4, size=(30, 2))
    async with watching(session, size) as pilot:
        for index in [*range(12), *range(14, 30)]:
            rois = {"early": 1000 + noise[index, 0], "ventral": 900 + noise[index, 1]}
            moved = 0.8 if index == 20 else 0.1
            one = wire.VolumeSignal(index=index, rois=rois, displacement_mm=moved, is_spike=index == 20)
            session.decode(index, "scores", event=0, is_final=False, signals=(one,), n_without_signal=3)
            if index == 11:
                session.daemon.miss(12, 2)
        await until(pilot, lambda: pilot.app.state.quality.version == 29)
        await pilot.press("y")
        await matches_file(pilot, f"quality-{size[0]}x{size[1]}")


@in_event_loop
async def test_what_happened_is_in_the_event_log_with_its_time(session):
    async with watching(session, SIZE) as pilot:
        session.beat()
        session.decode(0, misaligned=True)
        session.daemon.skip(1, "a newer volume was waiting", made_s=session.clock.time())
        session.daemon.miss(2, 3)
        mark = wire.Mark(note="subject coughed", session=SESSION, run=RUN_3, index=1, made_s=session.clock.time())
        session.beat(marks=(mark,), n_refused=2)
        await until(pilot, lambda: len(pilot.app.state.log.entries) == 6)
        session.clock.advance(12.0)
        await until(pilot, lambda: len(pilot.app.state.log.entries) == 7)
        await pilot.press("e")
        await matches_file(pilot, "events")


@in_event_loop
async def test_recorded_sessions_are_listed_with_what_cannot_be_read(session, tmp_path, monkeypatch):
    monkeypatch.setenv("BRAIND_PATHS__DATA", str(tmp_path))
    (tmp_path / "journals").mkdir()
    journal_decodes(tmp_path / "journals/sub-01_ses-13.sqlite3", 3, ends_skipped=True)
    (tmp_path / "journals/sub-01_ses-14.sqlite3").write_bytes(b"no journal at all" * 100)
    real = recordings(load_config())
    facts = [
        msgspec.structs.replace(
            one, opened_unix_s=None if one.problem else session.clock.time() - 86400, n_bytes=2 * 10**6,
            problem=one.problem.replace(str(tmp_path), "/data"),
        )
        for one in real.sessions()
    ]  # fmt: skip
    reader = real._replace(folder=Path("/data/journals"), sessions=lambda: facts)
    async with watching(session, SIZE, recordings=reader) as pilot:
        await pilot.press("d")
        await until_screen(pilot, SessionsScreen)
        await matches_file(pilot, "sessions")
        await pilot.press("end")
        await matches_file(pilot, "sessions-unreadable")
        await pilot.press("home", "enter")
        await matches_file(pilot, "sessions-trials")


# ── setup, calibration, control, marks ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(60, 15), (100, 28)], ids=lambda size: f"{size[0]}x{size[1]}")
@in_event_loop
async def test_the_setup_has_each_check_and_who_is_connected(session, size):
    answers(session)
    async with watching(session, size) as pilot:
        session.beat()
        await pilot.press("u")
        await matches_file(pilot, f"setup-{size[0]}x{size[1]}")


@in_event_loop
async def test_a_calibration_shows_the_seen_picture_the_minutes_and_the_scores_curve(session):
    scores = [(4.0, 0.58), (8.0, 0.66), (16.0, 0.712)]
    recorded = wire.Recorded(
        session=SESSION, run=RUN_3, n_trials=240, n_pictures=200, n_unnamed=0, minutes=16.4, index=239,
        stimulus="nsd-03952.png", seen=False,
        calibrations=tuple(
            msgspec.structs.replace(SCORES, minutes=minutes, two_way=two_way, low=two_way - 0.06, high=two_way + 0.06)
            for minutes, two_way in scores
        ),
    )  # fmt: skip
    session.daemon.answers[wire.RecordedRequest] = recorded
    async with watching(session, SIZE) as pilot:
        session.beat("recording", calibration=SCORES)
        await pilot.press("k")
        await until_screen(pilot, CalibrationScreen)
        await matches_file(pilot, "calibration")


@in_event_loop
async def test_what_can_be_changed_is_chosen_and_what_it_costs_is_asked(session):
    answers(session)
    async with watching(session, SIZE) as pilot:
        session.beat()
        await pilot.press("c")
        await until_screen(pilot, ControlScreen)
        await matches_file(pilot, "control")
        items = pilot.app.screen.query_one("#items", OptionList)
        items.highlighted = items.get_option_index("preset")
        await pilot.press("enter")
        await until_screen(pilot, Choose)
        await matches_file(pilot, "control-choose")
        choices = pilot.app.screen.query_one("#choices", OptionList)
        choices.highlighted = choices.get_option_index("takagi")
        await pilot.press("enter")
        await until_screen(pilot, Confirm)
        await matches_file(pilot, "control-confirm")


@in_event_loop
async def test_a_mark_and_a_note_on_a_trial_say_what_they_are_about(session):
    async with watching(session, SIZE) as pilot:
        session.decode_run(2)
        session.beat()
        await until_finished(pilot, 2)
        await pilot.press("m")
        await until_screen(pilot, MarkDialog)
        await matches_file(pilot, "mark")
        await pilot.press("escape", "t")
        await until_screen(pilot, TrialsScreen)
        await pilot.press("enter")
        await until_screen(pilot, TrialScreen)
        await pilot.press("m")
        await until_screen(pilot, MarkDialog)
        await pilot.press("enter")
        await matches_file(pilot, "note-empty")


# ── help and pause ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(60, 15), (100, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
@in_event_loop
async def test_help_explains_the_words_and_the_keys(session, size):
    async with watching(session, size) as pilot:
        await pilot.press("question_mark")
        await matches_file(pilot, f"help-{size[0]}x{size[1]}")


@in_event_loop
async def test_a_pause_says_what_becomes_of_its_volumes(session):
    async with watching(session, SIZE) as pilot:
        session.beat()
        await pilot.press("p")
        await matches_file(pilot, "pause")
