"""The daemon's ports."""

import os
from types import SimpleNamespace

import pytest
import zmq

from braind.config import load_config
from braind.daemon import sockets as sockets_module
from braind.daemon.sockets import SocketError, bind_sockets

SHAPE = (7, 8, 9)


def serve_of(tmp_path, **ports):
    ports = {"ingest_port": 0, "decodes_port": 0, "control_port": 0, **ports}
    return load_config(None, {"paths": {"data": str(tmp_path)}, "serve": ports}).serve


def test_free_ports_are_bound_and_named(tmp_path):
    sockets = bind_sockets(serve_of(tmp_path), SHAPE)
    addresses = [sockets.endpoints.address(name) for name in ("ingest", "decodes", "control")]
    assert {address.host for address in addresses} == {"127.0.0.1"}
    assert len({address.port for address in addresses}) == 3
    assert sockets.endpoints.pid == os.getpid()
    sockets.close()


@pytest.mark.parametrize("name", ["ingest", "decodes", "control"])
def test_a_port_in_use_is_named_with_its_setting_and_the_other_ports_are_free_again(tmp_path, name):
    with zmq.Context() as context, context.socket(zmq.PULL) as other:
        taken = other.bind_to_random_port("tcp://127.0.0.1")
        with pytest.raises(SocketError, match=rf"port {taken} on 127\.0\.0\.1 .* set \[serve\] {name}_port") as error:
            bind_sockets(serve_of(tmp_path, **{f"{name}_port": taken}), SHAPE)
    assert error.value.code == "port_in_use"


def test_a_volume_of_the_wrong_dtype_still_comes_through_and_nothing_much_larger(tmp_path):
    sockets = bind_sockets(serve_of(tmp_path), SHAPE)
    largest = sockets.ingest._socket.getsockopt(zmq.MAXMSGSIZE)
    assert 8 * 7 * 8 * 9 + sockets_module.LARGEST_PICTURE_BYTES <= largest < 2**24
    sockets.close()


def test_a_zeromq_with_known_holes_is_refused(tmp_path, monkeypatch):
    old = SimpleNamespace(zmq_version_info=lambda: (4, 3, 4), zmq_version=lambda: "4.3.4")
    monkeypatch.setattr(sockets_module, "zmq", old)
    with pytest.raises(SocketError, match=r"libzmq 4\.3\.4 is too old, 4\.3\.5 is needed: pip install -U pyzmq"):
        bind_sockets(serve_of(tmp_path), SHAPE)
