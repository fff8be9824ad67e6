"""Addresses as people write them."""

import pytest

from braind.client.address import Address, AddressError
from braind.client.control import ControlClient
from braind.client.endpoints import Endpoints, ingest_address, write_endpoints
from braind.client.scanner import ScannerClient
from braind.client.subscriber import DecodeSubscriber
from braind.config import load_config


@pytest.mark.parametrize(
    ("text", "address", "url"),
    [
        ("scanner", Address("scanner", 5560), "tcp://scanner:5560"),
        ("localhost:15560", Address("localhost", 15560), "tcp://localhost:15560"),
        ("tcp://10.0.0.5", Address("10.0.0.5", 5560), "tcp://10.0.0.5:5560"),
        ("tcp://10.0.0.5:1", Address("10.0.0.5", 1), "tcp://10.0.0.5:1"),
        ("::1", Address("::1", 5560), "tcp://[::1]:5560"),
        ("[::1]", Address("::1", 5560), "tcp://[::1]:5560"),
        ("[::1]:15560", Address("::1", 15560), "tcp://[::1]:15560"),
        ("tcp://[fe80::1%eth0]:65535", Address("fe80::1%eth0", 65535), "tcp://[fe80::1%eth0]:65535"),
    ],
)
def test_every_form_of_an_address_is_read_and_written_as_zeromq_takes_it(text, address, url):
    assert Address.parse(text, 5560) == address
    assert address.url == url
    assert Address.parse(url) == address


@pytest.mark.parametrize(
    "text", ["", ":5560", "a:b", "a:", "a:0", "a:65536", "a:1:2", "::1:5560x", "[a]:1", "udp://a:1", "a/b:1", "a b"]
)
def test_any_other_text_is_no_address(text):
    with pytest.raises(AddressError, match="is no address; give HOST:PORT") as error:
        Address.parse(text, 5560)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize("client", [ScannerClient, ControlClient, DecodeSubscriber])
def test_each_client_refuses_an_address_that_is_none(client):
    with pytest.raises(AddressError):
        client("localhost:port")


def test_a_port_must_be_named_where_none_is_usual():
    with pytest.raises(AddressError):
        Address.parse("localhost")


@pytest.mark.parametrize(
    ("to", "address"),
    [
        (None, Address("127.0.0.1", 1)),
        ("localhost:15560", Address("localhost", 15560)),
        ("scanner", Address("scanner", 5560)),
        ("[::1]:7", Address("::1", 7)),
    ],
)
def test_a_sender_is_told_where_to_send_to(tmp_path, to, address):
    config = load_config(overrides={"paths": {"data": str(tmp_path)}})
    write_endpoints(config, Endpoints(ingest="tcp://127.0.0.1:1", decodes="tcp://a:2", control="tcp://a:3", pid=1))
    assert ingest_address(config, to) == address
