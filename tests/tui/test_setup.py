"""The Setup screen: live results of the checks, and who is connected; what is not known is said to be."""

import msgspec
import pytest
from keyed_peers import KeyedPeer, make_key
from monitor_screens import in_event_loop, until, words_of
from running_daemon import RunningDaemon, hello

from braind.client import wire
from braind.client.endpoints import Endpoints
from braind.tui.app import Monitor
from braind.tui.screens.setup import SetupScreen
from braind.tui.state.setup import bytes_words, checks_of, client_words

STATUS = wire.Status(
    state="ready", pid=31, version="0.1.0", uptime_s=90.0, subject=1, weights="f00d", ldm="beef", engine="torch-cpu",
    preset="live-4", policy="all", simulated=False, journal="/data/journals/s.sqlite3", session="s", run="r-1",
    n_acked=100, n_decoded=90, n_skipped=0, n_refused=0, n_waiting=0, decoder_restarts=0, last_seq=300,
    latency_p50_s=0.4, latency_p99_s=0.6, clock_offset_s=0.002, clock_uncertainty_s=0.001,
)  # fmt: skip
SETUP = wire.Setup(
    mode="zc", refine="", presets=("live-4",), keys="off", libzmq="4.3.5", connections=(), tr_s=2.0,
    journal_bytes=10**7, free_bytes=10**10, ack_p50_s=0.002, ack_p99_s=0.004, clock_step_s=0.0, is_synchronised=True,
)  # fmt: skip


def levels(**fields):
    of_status = {name: value for name, value in fields.items() if name in wire.Status.__struct_fields__}
    of_setup = {name: value for name, value in fields.items() if name not in of_status}
    status, setup = msgspec.structs.replace(STATUS, **of_status), msgspec.structs.replace(SETUP, **of_setup)
    return {check.name: check.level for check in checks_of(status, setup)}


def test_a_daemon_in_order_fails_and_warns_of_nothing():
    found = levels()
    assert {name for name, level in found.items() if level != "ok"} == {"files"}
    assert found["files"] == "?"


@pytest.mark.parametrize(
    ("check", "level", "fields"),
    [
        ("daemon", "warn", {"state": "paused"}),
        ("daemon", "warn", {"decoder_restarts": 2}),
        ("speed", "fail", {"latency_p99_s": 2.5}),
        ("speed", "?", {"latency_p50_s": None}),
        ("speed", "?", {"tr_s": None}),
        ("volumes", "?", {"run": ""}),
        ("volumes", "warn", {"stalled_s": 9.0}),
        ("volumes", "warn", {"n_refused": 1}),
        ("volumes", "warn", {"n_acked": None}),
        ("volumes", "warn", {"n_without_signal": 40}),
        ("writing", "fail", {"ack_p50_s": 3.0}),
        ("writing", "warn", {"ack_p50_s": 0.2}),
        ("writing", "warn", {"durability": "normal"}),
        ("writing", "?", {"ack_p50_s": None}),
        ("disk", "?", {"free_bytes": None}),
        ("disk", "fail", {"free_bytes": 2 * 10**7}),
        ("disk", "warn", {"free_bytes": 2 * 10**8}),
        ("disk", "warn", {"free_bytes": 10**8, "n_acked": 0}),
        ("clock", "warn", {"clock_step_s": -4.0}),
        ("clock", "?", {"clock_step_s": None}),
        ("sender", "warn", {"clock_offset_s": -0.4}),
        ("sender", "?", {"clock_offset_s": None}),
        ("libzmq", "fail", {"libzmq": "4.3.4"}),
    ],
)
def test_each_check_says_what_is_wrong_or_not_known(check, level, fields):
    assert levels(**fields)[check] == level


def test_a_daemon_of_an_earlier_version_leaves_checks_unknown_and_none_failed():
    found = {check.name: check.level for check in checks_of(STATUS, None)}
    assert "fail" not in found.values()
    assert {name for name, level in found.items() if level == "?"} == {
        "speed", "writing", "disk", "clock", "keys", "libzmq", "files",
    }  # fmt: skip


def test_a_client_that_did_not_measure_its_clock_is_not_said_to_be_in_step():
    client = wire.Connected(socket="ingest", address="", key="console", roles=("ingest",), silent_s=2.0)
    assert client_words(client) == "key console (ingest), from ?, silent for 2 s, clock not measured"
    measured = msgspec.structs.replace(client, clock_offset_s=-0.25)
    assert client_words(measured).endswith("clock −250.0 ms")


def test_sizes_have_their_units():
    assert [bytes_words(n) for n in (0, 999, 1e3, 2.5e6, 6e10, 1e19)] == [
        "0 B", "999 B", "1 kB", "2.5 MB", "60 GB", "1e+04 PB",
    ]  # fmt: skip


def words(app):
    return " ".join(words_of(app.screen).split())


@pytest.mark.parametrize("size", [(60, 15), (80, 24)], ids=str)
@in_event_loop
async def test_results_change_while_the_screen_is_open_and_fit_a_small_terminal(daemon, size):
    daemon.answers[wire.StatusRequest] = STATUS
    daemon.answers[wire.SetupRequest] = SETUP
    async with Monitor(daemon.endpoints).run_test(size=size) as pilot:
        app = pilot.app
        await pilot.press("u")
        await until(pilot, lambda: "nothing failed, 1 not known" in words(app))
        daemon.answers[wire.SetupRequest] = msgspec.structs.replace(SETUP, free_bytes=2 * 10**7)
        await until(pilot, lambda: "1 fail" in words(app))
        assert app.screen.query_one("#setup-checks").size.width < size[0]
        lines = words_of(app.screen.query_one("#setup-checks")).splitlines()
        assert any(line.startswith("ok   daemon   ready, process 31") for line in lines)
        assert all(line[:5].strip() in ("ok", "warn", "fail", "?", "") for line in lines)
        daemon.close()
        await until(pilot, lambda: "no answer, the lines are old" in words(app))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, SetupScreen))


@in_event_loop
async def test_clients_of_a_daemon_with_keys_have_names_and_roles(files, tmp_path):
    real_daemon = RunningDaemon(files, tmp_path, serve={"keys": "required"})
    try:
        real_daemon.start(wait=False).wait_bound()
        console = make_key(real_daemon, "console", "ingest")
        make_key(real_daemon, "desk", "view")
        sockets = {name: real_daemon.addresses[name] for name in ("ingest", "decodes", "control")}
        where = Endpoints(**sockets, key=str(tmp_path / "keys" / "desk.key"))
        with KeyedPeer(real_daemon, "ingest", console) as scanner:
            scanner.ask(hello())
            scanner.ask(wire.ClockRequest(sent_s=1.0, offset_s=0.25, uncertainty_s=0.01))
            async with Monitor(where).run_test(size=(120, 40)) as pilot:
                await pilot.press("u")
                await until(pilot, lambda: "key console (ingest), from 127.0.0.1" in words(pilot.app))
                found = words(pilot.app)
                assert "clock +250.0 ms" in found
                with KeyedPeer(real_daemon, "control", console) as sender:
                    # Who else is connected is no matter of a sender.
                    for request in (wire.SetupRequest(), wire.RecordedRequest(), wire.Mark(note="x"), wire.Change()):
                        assert sender.ask(request).code == "role"
                assert "watches key desk (view)" in found
                assert "required: only programs with a key connect" in found
    finally:
        real_daemon.close()
