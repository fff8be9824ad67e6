"""What systemd hears, over a real datagram socket in systemd's place."""

import asyncio
import os
import socket
from pathlib import Path

import pytest
from running_daemon import RunningDaemon, hello, volume_frames

from braind.daemon.supervision.systemd import ServiceManager

UNIT_PATH = Path(__file__).parents[3] / "examples/braind.service"


@pytest.fixture(params=["a file", "an abstract name"])
def systemd(request, tmp_path):
    """A socket, and its address as NOTIFY_SOCKET names it."""
    address = str(tmp_path / "notify") if request.param == "a file" else f"@braind-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0", 1))
        listening.settimeout(60)
        yield listening, address


def heard(listening):
    return listening.recv(4096).decode().split("\n")


def test_each_sign_of_life_comes_in_half_the_time_that_systemd_waits(systemd, monkeypatch):
    listening, address = systemd
    rests_s = []

    async def rest(seconds):
        rests_s.append(seconds)
        if len(rests_s) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", rest)
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    service = ServiceManager(environment)
    # a child would speak in the daemon's name
    assert environment == {"HOME": "/"}
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(service.beat(lambda: "ready"))
    assert rests_s == [15.0] * 3
    assert [heard(listening) for _ in range(3)] == [["WATCHDOG=1", "STATUS=ready"]] * 3


def test_a_watchdog_of_another_process_is_not_answered(systemd, monkeypatch):
    listening, address = systemd

    async def rest(_):
        raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", rest)
    service = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"})
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(service.beat(lambda: "ready"))
    assert heard(listening) == ["STATUS=ready"]


def test_a_service_manager_that_is_gone_is_said_once_and_ends_nothing(tmp_path, caplog):
    service = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    for _ in range(3):
        service.notify("READY=1")
    assert caplog.text.count("systemd hears nothing of this daemon") == 1


def test_without_systemd_nothing_is_sent(monkeypatch):
    monkeypatch.setattr(socket, "socket", None)
    ServiceManager({}).notify("READY=1")


def test_systemd_hears_that_the_daemon_is_warmed_up_what_it_does_and_that_it_stops(files, tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        daemon = RunningDaemon(files, tmp_path).start(wait=False)
        try:
            said = [heard(listening)]
            while "READY=1" not in said[-1]:
                said.append(heard(listening))
            assert {tuple(lines) for lines in said[:-1]} == {("WATCHDOG=1", "STATUS=starting")}
            assert said[-1] == ["READY=1", "STATUS=ready"]
            daemon.wait_ready()
            with daemon.connect("ingest") as scanner:
                scanner.ask(hello())
                scanner.ask_frames(volume_frames(0))
            while heard(listening) != ["WATCHDOG=1", "STATUS=ready, run run-01 of session ses"]:
                pass
            daemon.process.terminate()
            while heard(listening) != ["STOPPING=1"]:
                pass
            assert daemon.process.wait(60) == 0
        finally:
            daemon.close()


def test_the_unit_names_no_machine_and_asks_for_readiness_and_a_watchdog():
    lines = UNIT_PATH.read_text().splitlines()
    for wanted in ("Type=notify", "WatchdogSec=30", "Restart=on-failure", "KillMode=mixed"):
        assert wanted in lines
    (command,) = [line for line in lines if line.startswith("ExecStart=")]
    assert command.startswith("ExecStart=/PATH/TO/braind serve")
