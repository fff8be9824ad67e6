"""Clocks that jump and clocks that are wrong: no decode and no latency depends on the time of day."""

import time
from pathlib import Path

import pytest
from running_daemon import PATIENCE_S, RunningDaemon, hello
from scans import Scan, Sender, Watch, all_of, decodes_of, free_ports, sent

from braind.client.scanner import ScannerClient

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
pytestmark = pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed (apt-get install libfaketime)")

DECODE = {"mode": "z"}
N_VOLUMES = 12
HOUR_S = 3600
BEYOND_2038_S = 420_000_000
OFFSETS_S = [-HOUR_S, HOUR_S, BEYOND_2038_S]


class ShiftedDaemon(RunningDaemon):
    """A daemon under libfaketime, whose wall clock the test sets; the monotonic clock stays true."""

    def set_clock(self, offset_s):
        # libfaketime reads the file at every call.
        self.data_path.mkdir(exist_ok=True)
        (self.data_path / "clock").write_text(f"{offset_s:+d}s")

    def start(self, *, wait=True):
        faked = {
            "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(self.data_path / "clock"),
            "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1",
        }  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            for name, value in faked.items():
                patch.setenv(name, value)
            super().start(wait=False)
        if wait:
            self.wait_ready()
        return self


@pytest.fixture(scope="module")
def ports():
    return free_ports()


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory, ports):
    daemon = ShiftedDaemon(files, tmp_path_factory.mktemp("clocks"), decode=DECODE, serve=ports)
    daemon.set_clock(0)
    yield daemon.start()
    daemon.close()


@pytest.fixture(scope="module")
def oracle(daemon):
    scan = Scan("bold", N_VOLUMES, session="undisturbed")
    return decodes_of(sent(daemon, scan), scan)


@pytest.fixture(autouse=True)
def latencies_are_true(daemon, oracle):
    """After each test every published latency lies between 0 and the time that has passed."""
    began_s = time.monotonic()
    n_before = daemon.status().last_seq
    yield
    passed_s = time.monotonic() - began_s
    timings = [message.timings_s for message, _ in daemon.decodes() if message.seq > n_before]
    assert timings
    assert all(0 <= latency_s <= passed_s for timings_s in timings for latency_s in timings_s.values())
    status = daemon.status()
    if status.latency_p50_s is not None:
        assert 0 <= status.latency_p50_s <= status.latency_p99_s


def told_offset_s(daemon, ports):
    """Return the offset that a client tells the daemon. A busy machine may answer later than the client waits."""
    deadline = time.monotonic() + PATIENCE_S
    with ScannerClient(port=ports["ingest_port"]) as client:
        while daemon.status().clock_offset_s is None and time.monotonic() < deadline:
            client.open_run(hello(session="clock", run="measured"))
    return daemon.status().clock_offset_s


@pytest.mark.parametrize("offset_s", OFFSETS_S)
def test_a_scanner_client_whose_clock_is_wrong_changes_no_decode_and_is_told_of(
    daemon, oracle, monkeypatch, ports, offset_s
):
    scan = Scan("bold", N_VOLUMES, session=f"client{offset_s}")
    true_time = time.time
    # The client runs in this process; the daemon does not.
    monkeypatch.setattr(time, "time", lambda: true_time() + offset_s)
    assert decodes_of(sent(daemon, scan), scan) == oracle
    assert abs(told_offset_s(daemon, ports) + offset_s) < 1


def test_a_wall_clock_that_jumps_during_a_scan_changes_no_decode(daemon, oracle, ports):
    scan = Scan("bold", N_VOLUMES, session="jumps")
    with Watch(ports["decodes_port"], ports["control_port"]) as watch:
        sender = Sender(ports["ingest_port"], scan)
        for offset_s in OFFSETS_S:
            sender.release(N_VOLUMES // 4)
            daemon.set_clock(offset_s)
        sender.finish()
        assert watch.until(all_of(scan)), daemon.words()
    assert decodes_of(watch.heard, scan) == oracle
    # The client measures the daemon's clock again when it opens the last run.
    assert abs(told_offset_s(daemon, ports) - BEYOND_2038_S) < HOUR_S


def test_a_daemon_that_starts_again_an_hour_earlier_decodes_what_waits(daemon, oracle, ports):
    # The times of the journal and of its file lie in the future then.
    scan = Scan("bold", N_VOLUMES, session="earlier")
    daemon.decoder.suspend()
    Sender(ports["ingest_port"], scan).finish()
    daemon.kill()
    daemon.close()
    daemon.__init__(daemon.files, daemon.data_path, **daemon.settings)
    daemon.set_clock(-HOUR_S)
    daemon.start()
    with Watch(ports["decodes_port"], ports["control_port"]) as watch:
        assert watch.until(all_of(scan)), daemon.words()
    assert decodes_of(watch.heard, scan) == oracle
    status = daemon.status()
    assert (status.n_acked, status.n_waiting) == (N_VOLUMES + 1, 0)
