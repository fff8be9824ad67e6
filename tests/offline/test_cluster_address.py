"""`--ray HOST:PORT`: Ray heads on this machine, with and without a token, and peers that are no head."""

import gc
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from braind.cli import main
from braind.errors import ExitCode

TOKEN = "0123456789abcdef" * 4
CONNECT = """
import sys
from braind.offline.ray_cluster import connect
from braind.offline.workers import Workers
print(connect(Workers(address=sys.argv[1]))["CPU"])
"""


def _frame(kind, flags, stream, body=b""):
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


SETTINGS = _frame(4, 0, 0)
STRANGERS = {
    "closes at once": b"",
    "HTTP/1 server": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2 goes away": SETTINGS + _frame(7, 0, 0, bytes(8)),
    "HTTP/2 resets the stream": SETTINGS + _frame(3, 0, 1, (7).to_bytes(4, "big")),
    "HTTP/2 page": SETTINGS + _frame(1, 4, 1, b"\x88") + _frame(0, 1, 1, b"<html>Welcome</html>"),
    "HTTP/2 without this page": SETTINGS + _frame(1, 5, 1, b"\x8d"),
    "gRPC without Ray's service": SETTINGS
    + _frame(1, 5, 1, b"\x88\0\x0ccontent-type\x10application/grpc\0\x0bgrpc-status\x0212"),
}
SILENT = {"takes connections": b"", "HTTP/2 settings": SETTINGS}


@contextmanager
def peer(words, *, silent):
    """Serve a peer that answers with the words, and then is silent or closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted = []

        def serve():
            with suppress(OSError):  # closed at the end
                while True:
                    connection, _ = server.accept()
                    accepted.append(connection)
                    if words:
                        connection.recv(65536)
                        connection.sendall(words)
                    if not silent:
                        connection.shutdown(socket.SHUT_RDWR)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
    for connection in accepted:
        connection.close()


def refused(address):
    ran = CliRunner().invoke(main, ["decode", "--ray", address])
    assert ran.exit_code == ExitCode.NO_DAEMON
    assert ran.output.count("\n") == 1
    return ran.output


@pytest.mark.parametrize("words", STRANGERS.values(), ids=STRANGERS)
def test_what_is_not_rays_head_is_refused_with_one_sentence(words):
    with peer(words, silent=False) as address:
        assert re.match(
            rf"braind: --ray {address}: (what answers there is not Ray|nothing answers there)", refused(address)
        )


@pytest.mark.parametrize("words", SILENT.values(), ids=SILENT)
def test_a_peer_that_falls_silent_is_refused_with_one_sentence(words, monkeypatch):
    monkeypatch.setattr("braind.offline.cluster_address.ANSWERS_WITHIN_S", 0.5)
    with peer(words, silent=True) as address:
        assert f"--ray {address}: nothing answers there (timed out)" in refused(address)


def test_the_connection_to_a_silent_peer_is_closed(monkeypatch):
    monkeypatch.setattr("braind.offline.cluster_address.ANSWERS_WITHIN_S", 0.5)
    gc.disable()  # it closes forgotten connections, some time later
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            refused(f"127.0.0.1:{server.getsockname()[1]}")
            connection, _ = server.accept()
            with connection:
                connection.settimeout(20)
                while connection.recv(65536):
                    pass
    finally:
        gc.enable()


def test_a_name_that_is_unknown_or_none_is_refused_with_one_sentence():
    for host in ("no-such-host.invalid", "a..b", "a" * 300):
        assert f"--ray {host}:6379: nothing answers there" in refused(f"{host}:6379")


@contextmanager
def _head(**environment):
    """Start Ray's head on this machine; yield its port and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["--head", "--block", "--port", port, "--num-cpus", 1, "--include-dashboard", "false"]
    # The names of Ray's sockets begin with its folder and may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *words, "--temp-dir", folder]
        with subprocess.Popen(
            list(map(str, command)),
            env={**os.environ, **environment, "RAY_USAGE_STATS_ENABLED": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as head:
            try:
                said = ""
                while "block forever" not in said:
                    assert (line := head.stdout.readline()), said
                    said += line
                yield port, psutil.Process(head.pid)
            finally:
                head.terminate()
                head.wait()


@pytest.fixture(autouse=True)
def no_settings_of_ray(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="module")
def guarded_head(tmp_path_factory):
    """The port of a head on this machine's own address that wants a token, as Ray does where a token file is."""
    home = tmp_path_factory.mktemp("home")
    _token_file(home)
    with _head(HOME=str(home)) as (port, _):
        yield port


@pytest.fixture(scope="module")
def loopback_head(tmp_path_factory):
    """The port of a head without a token that listens on 127.0.0.1 only."""
    with _head(HOME=str(tmp_path_factory.mktemp("home")), RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0") as (port, _):
        yield port


def _token_file(home, token=TOKEN):
    path = Path(home) / ".ray" / "auth_token"
    path.parent.mkdir()
    path.write_text(token + "\n")
    return path


def _cores(address):
    """Return the cores of the cluster that a new process joins."""
    ran = _join(address)
    assert ran.stderr == ""
    return float(ran.stdout)


def _join(address):
    return subprocess.run([sys.executable, "-c", CONNECT, address], capture_output=True, text=True)


@pytest.mark.parametrize("where", ["~/.ray/auth_token", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN", "RAY_AUTH_MODE"])
def test_a_head_that_wants_a_token_is_joined_by_its_address(guarded_head, where, tmp_path, monkeypatch):
    if where == "RAY_AUTH_TOKEN":
        monkeypatch.setenv(where, TOKEN)
    else:
        path = _token_file(tmp_path)
        if where == "RAY_AUTH_TOKEN_PATH":
            monkeypatch.setenv(where, str(path.rename(tmp_path / "token")))
        if where == "RAY_AUTH_MODE":
            monkeypatch.setenv(where, "token")
    assert _cores(f"127.0.0.1:{guarded_head}") == 1


def test_a_head_on_the_machines_own_address_is_joined_by_it(guarded_head, monkeypatch):
    from ray.util import get_node_ip_address

    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    assert _cores(f"{get_node_ip_address()}:{guarded_head}") == 1


def test_a_machine_that_is_a_node_of_another_cluster_only_is_told_how_to_join(loopback_head, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_GCS_SERVER_REQUEST_TIMEOUT_SECONDS", "100000")  # Ray would wait so long
    with _head(HOME=str(tmp_path), RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0") as (port, head):
        (node,) = (child for child in head.children() if "raylet" in child.name())
        head.suspend()  # it would end the cluster with its node
        node.kill()
        try:
            ran = _join(f"127.0.0.1:{port}")
        finally:
            head.resume()
    assert f"--ray 127.0.0.1:{port}: this machine is no node of the cluster; join it" in ran.stderr


@pytest.mark.parametrize("mode", [None, "disabled", "token"])
def test_a_head_that_listens_on_127_0_0_1_only_is_joined_by_its_address(loopback_head, mode, monkeypatch):
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    assert _cores(f"127.0.0.1:{loopback_head}") == 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "the head wants a token, and none is here"),
        ({"RAY_AUTH_TOKEN": "another"}, "the head refuses the token of RAY_AUTH_TOKEN"),
        ({"RAY_AUTH_TOKEN_PATH": "/no/such/file"}, "RAY_AUTH_TOKEN_PATH names /no/such/file, which holds no token"),
        (
            {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": TOKEN},
            "wants a token, and RAY_AUTH_MODE=disabled sends none",
        ),
        ({"RAY_AUTH_MODE": "token"}, "RAY_AUTH_MODE=token wants a token, and none is here"),
    ],
)
def test_a_missing_or_wrong_token_is_refused_with_the_places_of_rays_token(
    guarded_head, settings, sentence, monkeypatch
):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    words = refused(f"127.0.0.1:{guarded_head}")
    assert sentence in words
    for place in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token"):
        assert place in words


def test_a_wrong_token_in_the_file_is_named(guarded_head, tmp_path):
    _token_file(tmp_path, "another")
    assert "the head refuses the token of ~/.ray/auth_token" in refused(f"127.0.0.1:{guarded_head}")


def test_a_token_is_not_sent_to_a_peer_that_wants_none(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    received = b""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            nonlocal received
            connection, _ = server.accept()
            with connection:
                received = connection.recv(65536)

        serving = threading.Thread(target=serve)
        serving.start()
        refused(f"127.0.0.1:{server.getsockname()[1]}")
        serving.join()
    assert b"GetClusterId" in received
    assert TOKEN.encode() not in received
