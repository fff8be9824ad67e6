"""What `braind serve` says and does when it starts, cannot start, and stops."""

import json
import signal
import socket
import subprocess
import sys

import pytest
from running_daemon import RunningDaemon, hello, random_weights, serve_command, volume_frames

from braind.client import wire


def refused(command):
    """Run a daemon that must not start; return its exit status and last words."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::"])
def test_an_address_that_is_not_loopback_is_refused(files, tmp_path, host):
    status, words = refused(serve_command(files, tmp_path, {"serve": {"host": host}}))
    assert status == 2
    assert host in words
    assert "loopback" in words


def test_a_port_in_use_is_named(files, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, words = refused(serve_command(files, tmp_path, {"serve": {"decodes_port": port}}))
    assert status == 2
    assert f"port {port}" in words
    assert "decodes_port" in words


def test_missing_weights_are_answered_with_the_command_that_makes_them(files, tmp_path):
    status, words = refused(serve_command(files, tmp_path, {}, weights=tmp_path / "none.safetensors"))
    assert status == 2
    assert "braind fit --subject 1" in words


def test_weights_for_another_ldm_are_refused(files, tmp_path):
    weights_path = tmp_path / "weights.safetensors"
    random_weights(files.ldm._replace(fingerprint="another-ldm")).save(weights_path)
    status, words = refused(serve_command(files, tmp_path, {}, weights=weights_path))
    assert status == 2
    assert "another-ldm" in words
    assert "braind fit" in words


def test_the_front_never_imports_torch():
    code = (
        "import sys; import braind.daemon.serve; "
        "print([name for name in ('torch', 'diffusers', 'transformers', 'sklearn') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.fixture
def daemon(files, tmp_path):
    daemon = RunningDaemon(files, tmp_path)
    yield daemon
    daemon.close()


def test_a_daemon_acks_before_it_is_ready_and_says_that_it_is_starting(daemon):
    daemon.start(wait=False).wait_bound()
    assert daemon.status().state == "starting"
    with daemon.connect("ingest") as scanner:
        scanner.ask(hello())
        assert isinstance(scanner.ask_frames(volume_frames(0)), wire.Ack)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_status_0_and_nothing_left_behind(daemon, number):
    daemon.start(wait=False).wait_bound()
    decoder = daemon.decoder
    daemon.process.send_signal(number)
    assert daemon.process.wait(120) == 0
    assert not decoder.is_running()
    assert not (daemon.data_path / "serve.json").exists()
    assert "stopped" in daemon.words()


def test_a_shutdown_request_stops_it_with_status_0(daemon):
    daemon.start(wait=False).wait_bound()
    with daemon.watch() as viewer:
        assert isinstance(daemon.ask(wire.Shutdown())[0], wire.Done)
        assert daemon.process.wait(120) == 0
        while viewer.receive().state != "stopped":
            pass


def test_a_second_daemon_on_the_same_folder_is_refused(daemon):
    daemon.start(wait=False).wait_bound()
    status, words = refused(serve_command(daemon.files, daemon.data_path, {}))
    assert status == 2
    assert str(daemon.process.pid) in words


def test_log_lines_are_json_when_stderr_is_no_terminal(daemon):
    daemon.start(wait=False).wait_bound()
    with daemon.connect("ingest") as scanner:
        scanner.ask(hello())
        scanner.ask(hello(subject=2))
    daemon.stop()
    lines = [json.loads(line) for line in daemon.words().splitlines()]
    assert any("is open" in line["message"] for line in lines)
    assert any(line.get("code") == "subject" for line in lines)
