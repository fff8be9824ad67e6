"""Where clients look for the daemon."""

import os
import subprocess
import sys

import msgspec
import pytest

from braind.client.address import Address
from braind.client.endpoints import Endpoints, endpoints, endpoints_path, remove_endpoints, write_endpoints
from braind.config import load_config


@pytest.fixture
def config(tmp_path):
    return load_config(overrides={"paths": {"data": str(tmp_path)}})


def listening(pid):
    return Endpoints(ingest="tcp://127.0.0.1:1", decodes="tcp://127.0.0.1:2", control="tcp://127.0.0.1:3", pid=pid)


def test_without_a_daemon_the_configured_ports_are_taken(config):
    assert endpoints(config).address("ingest") == Address("127.0.0.1", 5560)


def test_a_running_daemon_says_where_it_listens(config):
    write_endpoints(config, listening(os.getpid()))
    assert endpoints(config).address("control") == Address("127.0.0.1", 3)
    remove_endpoints(config, os.getpid() + 1)
    assert endpoints_path(config).exists()
    remove_endpoints(config, os.getpid())
    assert not endpoints_path(config).exists()


def test_the_word_of_a_dead_daemon_is_not_taken(config):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    write_endpoints(config, listening(dead.pid))
    assert endpoints(config).address("decodes") == Address("127.0.0.1", 5561)


def test_a_daemon_elsewhere_is_asked_there(config, tmp_path):
    write_endpoints(config, listening(os.getpid()))
    elsewhere = load_config(overrides={"paths": {"data": str(tmp_path)}, "serve": {"host": "10.0.0.5"}})
    assert endpoints(elsewhere).address("ingest") == Address("10.0.0.5", 5560)


def test_a_daemon_that_listens_everywhere_is_reached_through_loopback(tmp_path):
    config = load_config(overrides={"paths": {"data": str(tmp_path)}, "serve": {"host": "0.0.0.0"}})
    bound = Endpoints(ingest="tcp://0.0.0.0:1", decodes="tcp://0.0.0.0:2", control="tcp://0.0.0.0:3", pid=os.getpid())
    write_endpoints(config, bound)
    assert endpoints(config).address("decodes") == Address("127.0.0.1", 2)


def test_a_broken_file_is_passed_over(config):
    write_endpoints(config, listening(os.getpid())).write_text("{")
    assert endpoints(config).address("ingest") == Address("127.0.0.1", 5560)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:ingest", "tcp://127.0.0.1", "", "tcp://127.0.0.1:"])
def test_a_file_whose_addresses_have_no_port_is_not_taken(config, address):
    good = msgspec.to_builtins(listening(os.getpid()))
    endpoints_path(config).parent.mkdir(parents=True, exist_ok=True)
    endpoints_path(config).write_bytes(msgspec.json.encode(good | {"control": address}))
    assert endpoints(config).address("control") == Address("127.0.0.1", 5562)
