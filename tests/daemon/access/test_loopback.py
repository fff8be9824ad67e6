"""Which addresses a daemon binds."""

import socket

import pytest

from braind.config import load_config
from braind.daemon.access.error import AccessError
from braind.daemon.access.loopback import numeric_host


def serve_of(host, keys="off"):
    return load_config(overrides={"serve": {"host": host, "keys": keys}}).serve


@pytest.mark.parametrize(
    ("host", "bound"),
    [("127.0.0.1", "127.0.0.1"), ("127.0.0.53", "127.0.0.53"), ("::1", "::1"), ("localhost", "127.0.0.1")],
)
def test_a_loopback_address_or_name_is_served_without_keys(host, bound):
    assert numeric_host(serve_of(host)) == bound


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "::", "10.0.0.1", "no-such-name.invalid", "127.0.0.1:5560", "[::1]"])
def test_every_other_address_is_refused_without_keys_with_the_ways_around(host):
    with pytest.raises(AccessError, match='set .serve. keys = "required".* tunnel its ports through SSH') as error:
        numeric_host(serve_of(host))
    assert (error.value.code, f"host = {host!r}" in str(error.value)) == ("loopback", True)


def test_a_name_that_means_another_machine_too_is_no_loopback_name(monkeypatch):
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("127.0.0.1", "192.168.1.7")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    with pytest.raises(AccessError, match="no loopback address"):
        numeric_host(serve_of("decoder"))


@pytest.mark.parametrize(
    ("host", "bound"), [("0.0.0.0", "0.0.0.0"), ("*", "0.0.0.0"), ("::", "::"), ("10.0.0.1", "10.0.0.1")]
)
def test_with_keys_every_address_is_served(host, bound):
    assert numeric_host(serve_of(host, "required")) == bound


def test_with_keys_a_name_that_is_unknown_is_refused():
    with pytest.raises(AccessError, match="no address or name of this machine") as error:
        numeric_host(serve_of("no-such-name.invalid", "required"))
    assert error.value.code == "host"
