"""What an operator sees on the Live screen, as committed screens: `tests/tui/screens`."""

import msgspec
import pytest
from monitor_screens import in_event_loop, until
from played_session import NOWHERE, RUN_3, RUN_4, SCORES, watching
from screen_files import matches_file

from braind.tui.app import Monitor

# ── before the first decode ─────────────────────────────────────────────────────────────────────────────────────────


@in_event_loop
async def test_who_starts_the_monitor_first_reads_how_to_start_a_daemon(clock):
    async with Monitor(NOWHERE).run_test(size=(100, 28)) as pilot:
        await matches_file(pilot, "live-connecting")
        clock.advance(4.0)
        await matches_file(pilot, "live-no-daemon")


@in_event_loop
async def test_before_the_first_run_it_says_how_to_send_one(session):
    async with watching(session) as pilot:
        session.beat(session="", run="", n_acked=0, n_decoded=0, n_skipped=0)
        await matches_file(pilot, "live-empty")


@in_event_loop
async def test_during_a_calibration_it_says_that_volumes_are_recorded_and_how_well_they_decode(session):
    async with watching(session) as pilot:
        session.beat("recording", calibration=SCORES)
        await matches_file(pilot, "live-calibration")


# ── decodes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (100, 28), (200, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
@in_event_loop
async def test_a_decode_is_there_at_a_glance_on_any_terminal(session, size):
    async with watching(session, size) as pilot:
        session.decode_run(9)
        session.beat()
        await matches_file(pilot, f"live-{size[0]}x{size[1]}")


@pytest.mark.parametrize("theme", ["dark-room", "ansi-dark"])
@in_event_loop
async def test_a_decode_in_other_colours(session, theme):
    async with watching(session, theme=theme) as pilot:
        session.decode_run(9)
        session.beat(stalled_s=3.2)
        await matches_file(pilot, f"live-{theme}")


@in_event_loop
async def test_a_decode_without_colours(session, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with watching(session) as pilot:
        session.decode_run(9)
        session.beat(stalled_s=3.2)
        await matches_file(pilot, "live-no-colour")


@in_event_loop
async def test_a_picture_of_the_last_run_is_not_taken_for_the_live_run(session):
    async with watching(session) as pilot:
        session.decode_run(4, ago_s=31.0)
        session.beat(run=RUN_4, n_waiting=2)
        await matches_file(pilot, "live-two-runs")
        session.decode_run(2, run=RUN_4)
        await until(pilot, lambda: pilot.app.recent.n_finished == 6)
        await pilot.press("right", "right")
        await matches_file(pilot, "live-two-runs-held")


@in_event_loop
async def test_a_decoder_that_falls_behind_shows_its_backlog_and_what_it_skipped(session):
    async with watching(session) as pilot:
        session.decode_run(4, ago_s=12.0)
        session.daemon.skip(4, "a newer volume was waiting")
        session.daemon.skip(5, "failed: out of memory", failed=True)
        session.decode(6, "scores", ago_s=0.0)
        session.beat(n_waiting=7)
        await matches_file(pilot, "live-backlog")


@in_event_loop
async def test_who_joins_late_reads_the_decodes_own_ages(session):
    session.decode_run(6, ago_s=600.0)
    async with watching(session) as pilot:
        session.beat()
        await matches_file(pilot, "live-late-join")


@in_event_loop
async def test_a_trial_that_unfolds_is_provisional_beside_the_last_final_picture(session):
    async with watching(session) as pilot:
        session.decode(14, event=3, since_onset_s=12.0, misaligned=True, seen_candidate=None)
        session.decode(16, "scores", event=4, since_onset_s=4.0, is_final=False)
        session.beat(n_without_signal=1412)
        await matches_file(pilot, "live-bold")


@in_event_loop
async def test_weights_that_decode_classes_show_them_beside_chance_and_the_senders_class(session):
    async with watching(session) as pilot:
        classes = {"face": 0.55, "house": 0.25, "scrambledpix": 0.1, "chair": 0.06, "shoe": 0.04}
        session.daemon.classify(8, classes, "face", event=2, since_onset_s=20.0)
        session.daemon.classify(12, classes, "house", event=3, since_onset_s=12.0, is_final=False)
        session.beat()
        await matches_file(pilot, "live-classes")


# ── something is wrong ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(60, 15), (100, 28)], ids=lambda size: f"{size[0]}x{size[1]}")
@in_event_loop
async def test_a_stalled_scanner_is_told_from_the_last_volume_with_what_may_be_wrong(session, size):
    async with watching(session, size) as pilot:
        session.decode_run(4)
        session.beat(stalled_s=3.2, n_waiting=1)
        await matches_file(pilot, f"live-stalled-{size[0]}x{size[1]}")


@in_event_loop
async def test_a_decoder_that_died_is_counted_while_it_loads_and_afterwards(session):
    down = {"session_restarts": 2, "is_decoder_down": True, "crashed_run": RUN_3, "crashed_index": 31}
    async with watching(session) as pilot:
        session.decode_run(4)
        session.beat()
        await until(pilot, lambda: pilot.app.connection.heartbeat is not None)
        session.beat("starting", n_waiting=5, **down)
        await matches_file(pilot, "live-decoder-restarting")
        session.beat(n_waiting=1, **down | {"is_decoder_down": False})
        await matches_file(pilot, "live-decoder-restarted")


@in_event_loop
async def test_a_daemon_that_stopped_and_one_that_fell_silent_are_two_things(session):
    async with watching(session) as pilot:
        session.decode_run(4)
        session.beat()
        await until(pilot, lambda: pilot.app.connection.heartbeat is not None)
        session.clock.advance(6.0)
        await matches_file(pilot, "live-unreachable")
        session.beat("stopped")
        await matches_file(pilot, "live-stopped")


@in_event_loop
async def test_a_pause_is_no_stall(session):
    async with watching(session) as pilot:
        session.decode_run(4, ago_s=74.0)
        session.beat("paused", n_waiting=12, stalled_s=9.0)
        await matches_file(pilot, "live-paused")


@in_event_loop
async def test_missing_volumes_pop_up_and_are_counted(session):
    async with watching(session, notifications=True) as pilot:
        session.decode_run(4)
        session.daemon.miss(4, 3)
        session.beat(durability="normal", clock_offset_s=3600.5, clock_uncertainty_s=0.002)
        await matches_file(pilot, "live-missing-volumes")


@in_event_loop
async def test_a_decoder_without_the_models_second_stage_says_which_picture_is_not_made(session):
    async with watching(session, (80, 24)) as pilot:
        only_z = msgspec.structs.replace(session.daemon.provenance, mode="z", simulated=False)
        session.decode(0, "scores", "xz", provenance=only_z)
        session.beat(simulated=False)
        await matches_file(pilot, "live-mode-z")
