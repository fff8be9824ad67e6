"""Who may reach a daemon: its address, its folder, its ports."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import zmq

from braind.config import load_config
from braind.daemon import sockets as sockets_module
from braind.daemon.access import AccessError, check_loopback, lock_data_path
from braind.daemon.sockets import SocketError, bind_sockets

SHAPE = (7, 8, 9)
HOLD = """
import sys
from pathlib import Path
from braind.daemon.access import lock_data_path
lock_data_path(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "::1"])
def test_a_numeric_loopback_address_is_served(host):
    check_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost", "", "127.0.0.1:5560"])
def test_every_other_address_is_refused_with_the_way_around(host):
    with pytest.raises(AccessError, match="tunnel its ports through SSH") as error:
        check_loopback(host)
    assert (error.value.code, f"host = {host!r}" in str(error.value)) == ("loopback", True)


def test_a_folder_that_a_daemon_uses_is_refused_by_its_process_and_free_when_that_is_gone(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(AccessError, match=f"another braind serve .process {holder.pid}. uses this folder") as error:
            lock_data_path(tmp_path)
        assert error.value.code == "in_use"
        holder.kill()
    descriptor = lock_data_path(tmp_path)
    assert (tmp_path / "serve.lock").read_text() == str(os.getpid())
    os.close(descriptor)


def test_a_folder_whose_daemon_was_killed_is_refused_while_a_child_holds_it(tmp_path, monkeypatch):
    """A decoder that outlives its front holds the lock: whoever comes waits a moment for it to leave."""
    monkeypatch.setattr("braind.daemon.access.LAST_BREATH_S", 0.1)
    descriptor = lock_data_path(tmp_path)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(gone.pid).encode(), 0)
    with pytest.raises(AccessError, match=f"process {gone.pid}"):
        lock_data_path(tmp_path)
    os.close(descriptor)
    os.close(lock_data_path(tmp_path))


def serve_of(tmp_path, **ports):
    ports = {"ingest_port": 0, "decodes_port": 0, "control_port": 0, **ports}
    return load_config(None, {"paths": {"data": str(tmp_path)}, "serve": ports}).serve


def test_free_ports_are_bound_and_named(tmp_path):
    sockets = bind_sockets(serve_of(tmp_path), SHAPE)
    addresses = [sockets.endpoints.address(name) for name in ("ingest", "decodes", "control")]
    assert {host for host, _ in addresses} == {"127.0.0.1"}
    assert len({port for _, port in addresses}) == 3
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
    largest = sockets.ingest.getsockopt(zmq.MAXMSGSIZE)
    assert 8 * 7 * 8 * 9 + sockets_module.LARGEST_PICTURE_BYTES <= largest < 2**24
    sockets.close()


def test_a_zeromq_with_known_holes_is_refused(tmp_path, monkeypatch):
    old = SimpleNamespace(zmq_version_info=lambda: (4, 3, 4), zmq_version=lambda: "4.3.4")
    monkeypatch.setattr(sockets_module, "zmq", old)
    with pytest.raises(SocketError, match=r"libzmq 4\.3\.4 is too old, 4\.3\.5 is needed: pip install -U pyzmq"):
        bind_sockets(serve_of(tmp_path), SHAPE)
