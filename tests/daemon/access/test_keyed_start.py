"""Starts of a daemon with keys: what is refused, and what stays over a restart."""

import subprocess

import pytest
from keyed_peers import address_of, make_key, owner_key
from running_daemon import RunningDaemon, serve_command

from braind.client.connection import RefusedByDaemon
from braind.client.control import ControlClient
from braind.daemon.access.keyring import make_keys


def ask_status(daemon, key):
    with ControlClient(*address_of(daemon, "control", key)) as client:
        return client.status()


def test_with_keys_every_address_may_be_bound_and_keys_stay_the_same_over_a_restart(files, tmp_path):
    daemon = RunningDaemon(files, tmp_path, serve={"keys": "required", "host": "0.0.0.0"})
    try:
        daemon.start(wait=False).wait_bound()
        key = make_key(daemon, "viewer", "view")
        daemon.addresses = {
            name: address.replace("0.0.0.0", "127.0.0.1")
            for name, address in daemon.addresses.items()
            if isinstance(address, str)
        }
        assert ask_status(daemon, key).state == "starting"
        with pytest.raises(RefusedByDaemon, match="requires a key"):
            ask_status(daemon, None)
        daemon.close()
        ports = {f"{name}_port": address_of(daemon, name).port for name in ("ingest", "decodes", "control")}
        daemon.settings["serve"] = {"keys": "required", **ports}
        daemon.start(wait=False).wait_bound()
        assert ask_status(daemon, key).state == "starting"
    finally:
        daemon.close()


@pytest.mark.parametrize("name", ["server.json", "clients.json", "."])
def test_keys_that_others_may_read_keep_the_daemon_from_starting(files, tmp_path, name):
    make_keys(tmp_path / "keys")
    (tmp_path / "keys" / name).chmod(0o755 if name == "." else 0o644)
    done = subprocess.run(
        serve_command(files, tmp_path, {"serve": {"keys": "required"}}), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "other users" in done.stderr.splitlines()[-1]
    assert "chmod" in done.stderr.splitlines()[-1]


def test_a_key_for_a_daemon_without_keys_is_said_to_be_too_much(files, tmp_path):
    daemon = RunningDaemon(files, tmp_path)
    try:
        daemon.start(wait=False).wait_bound()
        with pytest.raises(RefusedByDaemon, match="takes no keys|breaks off each handshake"):
            ask_status(daemon, owner_key(daemon))
        assert ask_status(daemon, None).state == "starting"
    finally:
        daemon.close()
