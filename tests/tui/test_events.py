"""The event log keeps what notices said, and alarms ring a bell that can be switched off."""

import time

import pytest
from monitor_screens import in_event_loop, until, words_of

from braind.client import wire
from braind.tui.app import Monitor
from braind.tui.feed import Notice, Stage
from braind.tui.screens.events import UNKNOWN_TIME, EventsScreen, event_time
from braind.tui.state.monitor_state import MonitorState


@pytest.fixture
def state():
    return MonitorState(opened_s=0.0)


def beat(state="ready", **fields):
    return wire.Heartbeat(last_seq=0, state=state, **{"session": "s", "run": "r-1"} | fields)


def alarms(state):
    return [entry.sentence for entry in state.log.entries if entry.severity == "alarm"]


@in_event_loop
async def test_the_event_log_keeps_every_notice_with_its_time_after_it_has_gone_from_the_screen(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(100, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.heartbeat(sent_s=time.time())
        for index in (31, 41, 51):
            daemon.miss(index, 3)
        daemon.skip(7, "out of memory", failed=True, events=(2, 3), made_s=time.time() - 3600)
        await until(pilot, lambda: app.state.log.n_added >= 4)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, EventsScreen))
        await until(pilot, lambda: "volumes 31–33 missing" in words_of(app.screen))
        lines = words_of(app.screen.query_one("#events")).splitlines()
        (failed,) = [line for line in lines if "volume 7 (event 2, 3): failed, out of memory" in line]
        hour_ago = {time.strftime("%H:%M", time.localtime(time.time() - 3600 - s)) for s in (0, 30)}
        assert failed.strip()[:5] in hour_ago
        assert sum("missing" in line for line in lines) == 3
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, EventsScreen))


@in_event_loop
async def test_an_alarm_rings_once_and_the_bell_can_be_switched_off(daemon, monkeypatch):
    rung = []
    monkeypatch.setattr(Monitor, "bell", lambda app: rung.append(time.monotonic()))
    async with Monitor(daemon.endpoints).run_test(size=(100, 30)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.heartbeat()
        await until(pilot, lambda: app.connection.heartbeat is not None)
        for stalled_s in (3.2, 4.2):
            daemon.heartbeat(stalled_s=stalled_s)
            await until(pilot, lambda s=stalled_s: app.connection.heartbeat.stalled_s == s and rung)
        app.show()
        assert len(rung) == 1
        await pilot.press("b")
        daemon.heartbeat()
        daemon.decode(8, event=0, misaligned=True)
        await until(pilot, lambda: any("misaligned" in entry.sentence for entry in app.state.log.entries))
        app.show()
        assert len(rung) == 1
        assert any("bell on" in command.title for command in app.get_system_commands(app.screen))


def test_history_rings_no_bell(state):
    provenance = wire.Provenance(
        subject=1, preset="p", mode="zc", seed=1, engine="e", weights="w", ldm="l", simulated=False, version="0"
    )
    old = wire.Decode(
        seq=1, session="s", run="r-1", index=3, stage="scores", provenance=provenance, timings_s={}, misaligned=True
    )
    state.take(Stage(old, None), 1.0)
    state.take(beat(session_restarts=2), 1.0)
    assert all(entry.is_history for entry in state.log.entries if entry.severity == "alarm")
    assert "before this monitor started, the decoder died 2 times in this session" in [
        entry.sentence for entry in state.log.entries
    ]


def test_a_silent_daemon_is_one_alarm_and_its_return_is_told(state):
    state.take(beat(), 1.0)
    for now_s in (2.0, 10.0, 20.0, 30.0):
        state.tick(now_s)
    assert alarms(state) == ["daemon unreachable: no heartbeat came"]
    state.take(beat(), 31.0)
    assert state.log.entries[-1].sentence == "the daemon answers: ready"


def test_a_stall_is_one_alarm_and_its_end_says_whether_volumes_came(state):
    state.take(beat(n_acked=7), 1.0)
    for now_s in (2.0, 3.0):
        state.take(beat(n_acked=7, stalled_s=now_s + 2), now_s)
    state.take(beat(n_acked=8), 4.0)
    assert alarms(state) == ["run r-1: no volume for 4.0 s"]
    assert state.log.entries[-1].sentence == "run r-1: volumes come again after 5 s without a volume"
    state.take(beat(n_acked=8, stalled_s=60.0), 70.0)
    state.take(beat(n_acked=8), 71.0)
    assert "broken off" in state.log.entries[-1].sentence


def test_a_new_sessions_restarts_are_counted_anew(state):
    state.take(beat(session_restarts=2), 1.0)
    state.take(beat(session="next", session_restarts=0), 2.0)
    state.take(beat(session="next", session_restarts=1, is_decoder_down=True), 3.0)
    assert alarms(state) == ["the decoder died (1st time) and is started again"]


def test_an_event_of_an_earlier_daemon_has_no_time_and_a_notice_of_now_has(state):
    state.take(wire.Skipped(seq=1, session="s", run="r-1", index=3, reason="behind"), 5.0)
    state.take(Notice("ignored a published message"), 6.0)
    state.take(beat(), 7.0)
    times = [event_time(entry, state, 8.0, time.time()) for entry in state.log.entries]
    assert times[0] == UNKNOWN_TIME
    assert UNKNOWN_TIME not in times[1:]
