"""The pages' server alone: what it answers, and what hostile clients cost it."""

import http.client
import socket

import pytest

from braind.daemon.observing import http as page_http
from braind.daemon.observing.http import MOST_CONNECTIONS, Page, PageServer
from braind.daemon.sockets import SocketError


def broken():
    raise RuntimeError("no page")


@pytest.fixture
def server():
    pages = {"/page": lambda: Page(200, "text/plain", b"hello"), "/broken": broken}
    server = PageServer(0, pages)
    yield server
    server.close()


def port_of(server):
    return int(server.address.rsplit(":", 1)[1])


def ask(server, method="GET", path="/page", headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=30)
    connection.request(method, path, headers=headers or {})
    answer = connection.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    connection.close()
    return found


def send(server, content):
    """Send bytes and return everything that is answered until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=30) as connection:
        connection.sendall(content)
        answered = b""
        while received := connection.recv(4096):
            answered += received
    return answered


def test_a_page_is_answered_whole_with_its_type_and_length(server):
    status, body, headers = ask(server)
    assert (status, body) == (200, b"hello")
    assert headers["Content-Type"] == "text/plain"
    assert headers["Content-Length"] == "5"
    assert ask(server, path="/page?name=1")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_only_get_is_answered(server, method):
    status, _, headers = ask(server, method)
    assert status == 405
    assert headers["Allow"] == "GET"


def test_another_path_is_answered_with_the_paths_that_exist(server):
    assert ask(server, path="/../../etc/passwd")[:2] == (404, b"the pages are /page, /broken\n")


def test_a_page_that_cannot_be_made_is_an_answer_and_the_next_is_made(server):
    assert ask(server, path="/broken")[0] == 500
    assert ask(server)[0] == 200


@pytest.mark.parametrize(
    "content", [b"\r\n\r\n", b"GET /page\r\n\r\n", b"\xff\xfe\x00\r\n\r\n", b"GET / SPDY/3\r\n\r\n"]
)
def test_bytes_that_are_no_request_are_refused(server, content):
    assert send(server, content).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("line", [b"GET /" + b"a" * 20_000, b"GET /page HTTP/1.1\r\n" + b"x: y\r\n" * 5000])
def test_a_long_request_is_refused_by_its_length(server, line):
    assert send(server, line + b"\r\n\r\n").startswith(b"HTTP/1.1 431 ")


def test_clients_that_never_finish_a_request_do_not_lock_others_out(server):
    idle = [socket.create_connection(("127.0.0.1", port_of(server))) for _ in range(4 * MOST_CONNECTIONS)]
    for connection in idle:
        connection.sendall(b"GET /page HTTP/1.1\r\nx: ")
    assert ask(server)[0] == 200
    for connection in idle:
        connection.close()


def test_a_client_that_never_finishes_a_request_is_given_up(server, monkeypatch):
    monkeypatch.setattr(page_http, "PATIENCE_S", 0.05)
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=30) as connection:
        connection.sendall(b"GET /page HTTP/1.1\r\n")
        try:
            assert connection.recv(1) == b""
        except ConnectionResetError:
            pass  # closed as well
    assert ask(server)[0] == 200


def test_a_port_in_use_is_named_with_its_setting(server):
    with pytest.raises(SocketError, match=rf"port {port_of(server)} on 127.0.0.1 .* \[serve\] metrics_port"):
        PageServer(port_of(server), {})


def test_a_closed_server_leaves_its_port_and_its_connections(server):
    idle = socket.create_connection(("127.0.0.1", port_of(server)), timeout=30)
    other = PageServer(0, {})
    waiting = socket.create_connection(("127.0.0.1", port_of(other)), timeout=30)
    other.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port_of(other)), timeout=30)
    idle.close()
    waiting.close()
