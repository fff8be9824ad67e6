"""What an operator reads is true of what it stands beside: names, ages, states, counts."""

import asyncio
import re
import time

import msgspec
import pytest
from monitor_screens import in_event_loop, until, words_of

from braind.client import wire
from braind.tui import saving
from braind.tui.app import Monitor
from braind.tui.drawing.terminal import Terminal
from braind.tui.live.latency import Latency
from braind.tui.live.picture_view import PictureView
from braind.tui.live.strip import RUN_CHANGES, RecentStrip

RUN_4, RUN_5 = "sub-01_ses-14_run-04", "sub-01_ses-14_run-05"


def live(app):
    return words_of(app.screen_stack[0].query_one("#live"))


def shown(app):
    return words_of(app.screen_stack[0].query_one("#shown"))


def picture_ms(app):
    """The newest time, the median and the p99 of Xzc, as the table of latencies shows them."""
    rows = [line.split() for line in words_of(app.query_one(Latency)).splitlines()]
    return next((numbers for step, *numbers in filter(None, rows) if step == "Xzc" and numbers), None)


def publish(daemon, index, *stages, run=RUN_4, **fields):
    """Publish a volume of a run: its scores and pictures, or the stages that are named."""
    daemon.decode(index, *stages, **fields, run=run)


def sentences(app):
    return [entry.sentence for entry in app.state.log.entries]


# ── what is live, and what is on show ───────────────────────────────────────────────────────────────────────────────


@in_event_loop
async def test_a_picture_names_its_own_run_while_the_daemon_takes_volumes_of_the_next(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(100, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        publish(daemon, 7, trial=12)
        daemon.heartbeat(run=RUN_5, n_waiting=3)
        await until(pilot, lambda: "live run-05" in live(app))
        await until(pilot, lambda: "run run-04  volume 7  trial 12" in shown(app))
        assert "shown, not live" in shown(app)
        assert "session sub-01_ses-14" in shown(app)
        assert "run-05" not in shown(app)
        assert "backlog 3" in live(app)


@in_event_loop
async def test_walking_back_over_a_runs_end_names_the_earlier_run_and_the_strip_marks_the_change(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(100, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        for run, index in ((RUN_4, 6), (RUN_4, 7), (RUN_5, 0)):
            publish(daemon, index, run=run)
        daemon.heartbeat(run=RUN_5)
        await until(pilot, lambda: "run run-05  volume 0" in shown(app) and "not live" not in shown(app))
        indices = words_of(app.query_one(RecentStrip)).splitlines()[-1]
        assert indices.replace(" ", "") == f"0{RUN_CHANGES}76"
        await pilot.press("right")
        await until(pilot, lambda: "held, not live" in shown(app) and "run run-04  volume 7" in shown(app))
        assert "live run-05" in live(app)


@in_event_loop
async def test_classes_of_the_live_run_beside_a_picture_of_the_last_run_name_their_run(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(120, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        publish(daemon, 7, event=2)
        daemon.classify(1, {"face": 0.7, "house": 0.3}, mode="zc", run=RUN_5, event=0, is_final=False)
        await until(pilot, lambda: words_of(app.query_one("#class-line")).strip().startswith("run run-05, event 0"))
        assert "run run-04  event 2" in shown(app)


# ── ages ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("daemon_is_ahead_s", [0.0, 3600.0, -7200.0])
@in_event_loop
async def test_a_monitor_that_starts_late_gives_each_decode_its_own_age_whatever_the_clocks_say(
    daemon, daemon_is_ahead_s
):
    daemon_now_s = time.time() + daemon_is_ahead_s
    publish(daemon, 0, made_s=daemon_now_s - 600)
    publish(daemon, 1, made_s=daemon_now_s - 42)
    async with Monitor(daemon.endpoints).run_test(size=(120, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.heartbeat(run=RUN_4, sent_s=daemon_now_s)
        await until(pilot, lambda: "volume 1" in shown(app) and re.search(r"4[2-9] s ago", shown(app)))
        await pilot.press("right")
        await until(pilot, lambda: "volume 0" in shown(app) and "10 min ago" in shown(app))


@in_event_loop
async def test_an_age_that_nobody_knows_is_not_said(daemon):
    publish(daemon, 0)  # an earlier daemon's message does not say when it was made
    async with Monitor(daemon.endpoints).run_test(size=(120, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.heartbeat(run=RUN_4, sent_s=time.time())
        await until(pilot, lambda: "volume 0" in shown(app) and app.connection.heartbeat is not None)
        assert "ago" not in shown(app)


# ── one trial, one place ────────────────────────────────────────────────────────────────────────────────────────────


@in_event_loop
async def test_a_trial_whose_picture_is_skipped_says_so_in_its_one_place(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(120, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        for index in (5, 6):
            publish(daemon, index, "scores", event=0, is_final=False)
        publish(daemon, 6, "scores", event=1, is_final=False)
        daemon.skip(8, events=(0,), run=RUN_4)
        publish(daemon, 9, "scores", event=1)
        publish(daemon, 9, event=1)
        daemon.skip(7, "came late", events=(), run=RUN_4)
        await until(pilot, lambda: any("came late" in sentence for sentence in sentences(app)))
        assert [(one.event, bool(one.skipped), one.is_finished) for one in app.recent.volumes] == [
            (0, True, False), (1, False, True),
        ]  # fmt: skip
        await pilot.press("right")
        await until(pilot, lambda: "skipped: behind" in words_of(app.query_one("#xzc")))
        assert "run run-04  event 0" in shown(app)
        assert words_of(app.query_one(RecentStrip)).splitlines()[-1].split() == ["1", "0"]


@in_event_loop
async def test_a_picture_that_no_message_announces_any_more_is_not_decoding_for_ever(daemon, monkeypatch):
    monkeypatch.setattr("braind.tui.state.monitor_state.GIVEN_UP_AFTER_S", 0.0)
    async with Monitor(daemon.endpoints).run_test(size=(120, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        publish(daemon, 4, "scores", event=0, is_final=False)
        daemon.heartbeat(run=RUN_4, n_waiting=0)
        await until(pilot, lambda: "provisional …" in words_of(app.query_one("#xzc")))
        daemon.heartbeat(run=RUN_5, n_waiting=1)
        await until(pilot, lambda: "live run-05" in live(app))
        assert "provisional …" in words_of(app.query_one("#xzc"))
        daemon.heartbeat(run=RUN_5, n_waiting=0)
        await until(pilot, lambda: "no picture came" in words_of(app.query_one("#xzc")))


@in_event_loop
async def test_a_provisional_picture_beside_final_scores_is_not_called_final_and_may_still_be_skipped(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(120, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        publish(daemon, 5, event=0, is_final=False)
        publish(daemon, 6, "scores", event=0)
        await until(pilot, lambda: app.recent.volumes and app.recent.volumes[-1].index == 6)
        await until(pilot, lambda: "Xzc ◐" in words_of(app.query_one("#xzc-caption")))
        assert [one.outcome for one in app.state.trials.of_session("sub-01_ses-14")] == ["decoding"]
        daemon.skip(6, events=(0,), run=RUN_4)
        await until(pilot, lambda: app.state.trials.of_session("sub-01_ses-14")[0].outcome == "skipped")
        publish(daemon, 6, "xz", "xzc", event=0)
        await until(pilot, lambda: "Xzc ●" in words_of(app.query_one("#xzc-caption")))
        assert app.state.trials.of_session("sub-01_ses-14")[0].outcome == "final"


@in_event_loop
async def test_scores_of_other_weights_stand_beside_no_picture_of_the_weights_before(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(140, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        publish(daemon, 5)
        await until(pilot, lambda: app.recent.n_finished == 1)
        publish(daemon, 5, "scores", provenance=msgspec.structs.replace(daemon.provenance, weights="others"))
        await until(pilot, lambda: "weights others" in words_of(app.query_one("#counters")))
        assert "Xzc ○" in words_of(app.query_one("#xzc-caption"))
        assert app.recent.volumes[0].xzc is None


# ── statistics ──────────────────────────────────────────────────────────────────────────────────────────────────────


@in_event_loop
async def test_latencies_are_of_the_run_on_show_alone(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(120, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        for index in range(3):
            publish(daemon, index, timings_s={"xzc": 46.0})
        publish(daemon, 0, run=RUN_5, timings_s={"xzc": 0.4})
        await until(pilot, lambda: "run-05" in shown(app) and picture_ms(app) == ["400"] * 3)
        await pilot.press("right")
        await until(pilot, lambda: picture_ms(app) == ["46000"] * 3)


# ── the daemon's state ──────────────────────────────────────────────────────────────────────────────────────────────


@in_event_loop
async def test_a_decoder_that_dies_is_restarting_and_its_deaths_stay_visible(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(120, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.heartbeat(run=RUN_4)
        await until(pilot, lambda: "● ready" in live(app))
        down = {"session_restarts": 2, "is_decoder_down": True, "crashed_run": RUN_4, "crashed_index": 31}
        daemon.heartbeat("starting", run=RUN_4, **down)
        await until(pilot, lambda: "decoder restarting (2nd time; volume 31)" in live(app))
        # the alarm has its lines at the layout that follows
        await until(pilot, lambda: "volumes are still acked" in words_of(app.query_one("#alarm")))
        daemon.heartbeat("ready", run=RUN_4, **down | {"is_decoder_down": False})
        await until(pilot, lambda: "● ready" in live(app) and "restarts 2" in live(app))
        assert "the decoder died (2nd time; volume 31) and is started again" in sentences(app)


@in_event_loop
async def test_a_daemon_that_stopped_in_order_is_not_unreachable(daemon, monkeypatch):
    monkeypatch.setattr("braind.tui.connection.LOST_AFTER_S", 0.2)
    async with Monitor(daemon.endpoints).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.heartbeat("stopped")
        await until(pilot, lambda: "daemon stopped" in live(app))
        daemon.close()
        await asyncio.sleep(0.3)
        app.show()
        await pilot.pause()
        assert "daemon stopped" in live(app)
        assert not any(entry.severity == "alarm" for entry in app.state.log.entries)


@in_event_loop
async def test_a_daemon_that_falls_silent_is_unreachable_for_a_time_that_grows(daemon, monkeypatch):
    monkeypatch.setattr("braind.tui.connection.LOST_AFTER_S", 0.2)
    async with Monitor(daemon.endpoints).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.heartbeat()
        await until(pilot, lambda: app.connection.heartbeat is not None)
        app.connection.heard_s -= 6.0
        await until(pilot, lambda: "daemon unreachable for 6 s" in live(app))
        await until(pilot, lambda: "braind status" in words_of(app.query_one("#alarm")))
        app.connection.heard_s -= 60.0
        await until(pilot, lambda: re.search(r"daemon unreachable for (6[6-9]|[78]\d) s", live(app)))


@in_event_loop
async def test_a_stall_is_told_from_the_last_volume_with_what_may_be_wrong_and_not_while_paused(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.heartbeat(stalled_s=3.2)
        await until(pilot, lambda: re.search(r"ready, no volume for [3-9]\.\d s", live(app)))
        alarm = app.query_one("#alarm")
        await until(pilot, lambda: alarm.display and "scanner" in words_of(alarm))
        daemon.heartbeat("paused", stalled_s=9.0)
        await until(pilot, lambda: "paused" in live(app) and not alarm.display)
        assert "no volume" not in live(app)
        daemon.heartbeat()
        await until(pilot, lambda: "● ready" in live(app))
        assert "no volume" not in live(app)
        assert len([one for one in sentences(app) if "no volume for" in one]) == 1


@in_event_loop
async def test_a_stall_grows_between_two_heartbeats(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(80, 24)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.heartbeat(stalled_s=3.2)
        await until(pilot, lambda: "no volume for" in live(app))
        app.connection.heartbeat_s -= 2.0
        await until(pilot, lambda: re.search(r"no volume for [5-9]\.\d s", live(app)))


# ── saving the screen ───────────────────────────────────────────────────────────────────────────────────────────────


@in_event_loop
async def test_the_screen_is_saved_where_there_is_no_folder_of_downloads_and_the_monitor_says_where(
    daemon, tmp_path, monkeypatch
):
    monkeypatch.setattr(saving, "FOLDERS", (lambda: tmp_path / "Downloads", lambda: tmp_path))
    async with Monitor(daemon.endpoints).run_test(notifications=True) as pilot:
        await pilot.press("s", "s")
        await until(pilot, lambda: len(list(tmp_path.glob("*.svg"))) == 2)
        await until(pilot, lambda: len(pilot.app._notifications) == 2)
        said = " ".join(notice.message for notice in pilot.app._notifications)
        assert all(str(path) in said and "<svg" in path.read_text() for path in tmp_path.glob("*.svg"))
    assert not (tmp_path / "Downloads").exists()


@pytest.mark.parametrize("drawing", ["kitty", "sixel", "browser"])
@in_event_loop
async def test_the_saved_screen_has_the_pictures_that_the_terminal_draws_itself(daemon, drawing, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "FOLDERS", (lambda: tmp_path,))
    async with Monitor(daemon.endpoints, Terminal(drawing)).run_test(size=(100, 30)) as pilot:
        view = pilot.app.query_one("#xzc", PictureView)
        daemon.wait_for_viewer()
        daemon.decode(1, colour=(12, 34, 56))
        await until(pilot, lambda: view.picture is not None)
        await pilot.pause()  # the frame with the picture is drawn
        await pilot.press("s")
        (path,) = tmp_path.glob("*.svg")
        rows = [line for line in re.findall(r"<text[^>]*>([^<]*)", path.read_text()) if line.startswith("▀")]
        assert sum(len(line) >= view.size.height for line in rows) >= view.size.height - 2
        assert "▀" not in "".join(strip.text for strip in view.render_lines(view.size.region))


@in_event_loop
async def test_a_screen_that_no_folder_takes_is_a_sentence(daemon, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "FOLDERS", (lambda: tmp_path / "Downloads",))
    async with Monitor(daemon.endpoints).run_test(notifications=True) as pilot:
        await pilot.press("s")
        await until(pilot, lambda: any("was not saved" in notice.message for notice in pilot.app._notifications))


def test_old_messages_without_the_new_fields_are_read():
    beat = wire.decode([wire.MAGIC, b'{"type": "heartbeat", "last_seq": 1, "state": "ready"}'])[0]
    assert (beat.sent_s, beat.n_waiting, beat.session_restarts, beat.is_decoder_down) == (None, None, 0, False)
    header = b'{"type": "skipped", "seq": 1, "session": "s", "run": "r", "index": 3, "reason": "behind"}'
    assert wire.decode([wire.MAGIC, header])[0].events is None
    assert msgspec.json.decode(header)["type"] == "skipped"
