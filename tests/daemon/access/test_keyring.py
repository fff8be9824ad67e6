"""The files of the keys: who may read them, what is in them, and what happens when they change."""

import os
import re
import stat
import subprocess
import sys

import pytest
from click.testing import CliRunner
from msgspec import structs

from braind.cli import main
from braind.client.endpoints import Endpoints, write_endpoints
from braind.client.key import ROLES, Key, KeyFileError
from braind.config import load_config
from braind.daemon.access.keyring import Keyring, add_client, make_keys, read_clients, revoke_client

ADD = """
import sys
from pathlib import Path
from braind.daemon.access.keyring import add_client
for number in range(5):
    add_client(Path(sys.argv[1]), f"{sys.argv[2]}-{number}", ("view",))
"""


@pytest.fixture
def folder(tmp_path):
    make_keys(tmp_path / "data" / "keys")
    return tmp_path / "data" / "keys"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_made_once_and_only_their_owner_may_read_them(folder):
    assert mode(folder) == 0o700
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(before) == ["clients.json", "owner.key", "server.json"]
    assert {mode(path) for path in folder.iterdir()} == {0o600}
    make_keys(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["keys"]


def test_a_key_that_is_added_is_known_at_once_and_a_revoked_key_no_more(folder):
    keyring = Keyring(folder)
    key = Key.load(add_client(folder, "console", ("ingest",)))
    found = keyring.find(key.public)
    assert found is not None
    assert (found.name, found.roles, key.server) == ("console", ("ingest",), keyring.server.public)
    assert keyring.take_revoked() == []
    revoke_client(folder, "console")
    assert keyring.find(key.public) is None
    assert [client.name for client in keyring.take_revoked()] == ["console"]
    assert keyring.take_revoked() == []
    assert not (folder / "console.key").exists()
    again = Key.load(add_client(folder, "console", ("ingest",)))
    assert keyring.find(key.public) is None
    assert keyring.find(again.public) is not None


def test_a_list_that_is_damaged_while_the_daemon_runs_changes_nothing_and_is_said_once(folder, caplog):
    keyring, owner = Keyring(folder), Key.load(folder / "owner.key")
    whole = (folder / "clients.json").read_bytes()
    (folder / "clients.json").write_bytes(whole[:20])
    for _ in range(3):
        assert keyring.find(owner.public) is not None
    assert keyring.take_revoked() == []
    assert sum("changes of the keys are not noticed" in record.message for record in caplog.records) == 1
    (folder / "clients.json").write_bytes(b"[]")
    assert keyring.find(owner.public) is None


@pytest.mark.parametrize("name", ["server.json", "clients.json"])
@pytest.mark.parametrize("wrong_mode", [0o644, 0o640, 0o606])
def test_a_file_that_others_may_read_is_refused_with_the_remedy(folder, name, wrong_mode):
    (folder / name).chmod(wrong_mode)
    with pytest.raises(KeyFileError, match=rf"{name} may be read by other users .mode {wrong_mode:04o}.: chmod 600"):
        Keyring(folder)


def test_a_folder_that_others_may_enter_is_refused_with_the_remedy(folder):
    folder.chmod(0o755)
    with pytest.raises(KeyFileError, match="may be entered by other users .mode 0755.: chmod 700"):
        Keyring(folder)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"name": "a"}', b"\xff", b"[]"])
def test_a_file_that_is_no_key_file_is_refused(tmp_path, content):
    (tmp_path / "a.key").write_bytes(content)
    (tmp_path / "a.key").chmod(0o600)
    with pytest.raises(KeyFileError, match=r"a\.key is no key file"):
        Key.load(tmp_path / "a.key")


def test_a_secret_is_in_no_text_of_a_key(folder):
    key = Key.load(folder / "owner.key")
    assert key.secret not in repr(key)
    assert key.secret not in str(key)


def test_two_programs_that_add_keys_at_the_same_time_lose_none(folder):
    programs = [subprocess.Popen([sys.executable, "-c", ADD, folder, name]) for name in ("a", "b")]
    assert [program.wait(60) for program in programs] == [0, 0]
    assert len(read_clients(folder)) == 11


# ── braind keys ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def keys(tmp_path):
    def run(*arguments):
        return CliRunner().invoke(main, ["keys", arguments[0], "--data", str(tmp_path / "data"), *arguments[1:]])

    return run


def test_a_key_is_made_shown_and_revoked_on_the_command_line(keys, folder):
    added = keys("add", "console", "--role", "ingest", "--role", "view")
    assert (added.exit_code, added.stdout) == (0, f"{folder / 'console.key'}\n")
    key = Key.load(folder / "console.key")
    shown = keys("show").stdout
    assert shown.splitlines()[0] == f"server {key.server}"
    assert [line.split()[0] for line in shown.splitlines()] == ["server", "owner", "console"]
    assert shown.splitlines()[2].endswith("  ingest view")
    for secret in (key.secret, Key.load(folder / "owner.key").secret):
        assert secret not in shown
    assert keys("revoke", "console").exit_code == 0
    assert "console" not in keys("show").stdout


def test_keys_can_be_made_before_the_first_daemon(keys, tmp_path):
    assert keys("add", "console", "--role", "ingest").exit_code == 0
    assert (tmp_path / "data/keys/server.json").exists()


def test_a_new_key_is_printed_with_the_commands_that_its_roles_allow(keys, monkeypatch):
    monkeypatch.setenv("BRAIND_SERVE__INGEST_PORT", "7001")
    added = keys("add", "console", "--role", "ingest")
    assert re.search(r"\n  braind send FILE\.nii\.gz --to \S+:7001 --key console\.key\n", added.stderr)
    assert "monitor" not in added.stderr
    assert "--keys required" in added.stderr
    added = keys("add", "screen", "--role", "view", "--role", "view", "--role", "control")
    commands = [line.split("CONTROL_PORT=5562 ")[1] for line in added.stderr.splitlines() if line.startswith("  ")]
    assert commands == ["braind monitor --key screen.key", "braind status --key screen.key"]


def test_looking_at_keys_and_revoking_make_none(keys, tmp_path):
    shown = keys("show")
    assert (shown.exit_code, "no keys; `braind keys add`" in shown.stdout) == (0, True)
    revoked = keys("revoke", "console")
    assert (revoked.exit_code, "No such file or directory; `braind keys add`" in revoked.stderr) == (2, True)
    assert not (tmp_path / "data").exists()


def test_a_revoked_owner_is_told_how_commands_of_this_machine_get_a_key_again(keys, folder):
    revoked = keys("revoke", "owner")
    command = re.search(r"`braind keys (add owner [^`]+)`", revoked.stderr)
    assert command is not None
    assert keys(*command[1].split()).exit_code == 0
    assert Key.load(folder / "owner.key").roles == ROLES


@pytest.mark.parametrize("command", [["show"], ["add", "console", "--role", "view"]])
@pytest.mark.parametrize("lost", ["server.json", "clients.json"])
@pytest.mark.parametrize("content", [None, b"{}"])
def test_a_folder_that_lost_its_own_files_is_refused_with_a_remedy_that_helps(keys, folder, command, lost, content):
    (folder / lost).unlink() if content is None else (folder / lost).write_bytes(content)
    answer = keys(*command)
    assert answer.exit_code == 2
    assert re.search(rf"{lost}.*; stop the daemon, move the whole folder of keys away", answer.stderr)
    folder.rename(folder.with_name("away"))
    assert keys("add", "console", "--role", "view").exit_code == 0


@pytest.mark.parametrize("command", [["show"], ["add", "console", "--role", "view"]])
def test_a_folder_that_others_may_enter_gets_no_key(keys, folder, command):
    folder.chmod(0o755)
    answer = keys(*command)
    assert (answer.exit_code, f"chmod 700 {folder}" in answer.stderr) == (2, True)
    assert not (folder / "console.key").exists()


def test_no_new_keys_are_made_under_a_daemon_that_has_keys_of_a_folder_that_is_gone(keys, folder):
    config = load_config(None, {"paths": {"data": str(folder.parent)}})
    everywhere = Endpoints.of_host("127.0.0.1", (1, 2, 3), str((folder / "owner.key").resolve()))
    write_endpoints(config, structs.replace(everywhere, pid=os.getpid()))
    folder.rename(folder.with_name("away"))
    answer = keys("add", "console", "--role", "view")
    assert (answer.exit_code, "put the folder back, or stop the daemon" in answer.stderr) == (2, True)
    assert not folder.exists()
    folder.with_name("away").rename(folder)
    assert keys("add", "console", "--role", "view").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "owner", "--role", "view"), "there is a key 'owner' already"),
        (("add", "../x", "--role", "view"), "a name has 1 to 64 letters"),
        (("add", "aux", "--role", "view"), "Windows can have no file of this name"),
        (("add", "", "--role", "view"), "a name has 1 to 64 letters"),
        (("add", "console"), "Missing option '--role'"),
        (("add", "console", "--role", "admin"), "'admin' is not one of 'ingest', 'view', 'control'"),
        (("revoke", "nobody"), "there is no key 'nobody'; keys are: owner"),
        (("revoke", "../x"), "there is no key '../x'"),
    ],
)
def test_wrong_names_and_roles_are_2_and_change_nothing(keys, folder, arguments, words):
    before = sorted(path.name for path in folder.iterdir())
    answer = keys(*arguments)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert words in answer.stderr
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("command", ["status", "monitor", "use", "replay", "send", "bridge", "outlet udp"])
def test_a_key_file_that_is_missing_is_2_with_the_command_that_makes_one(tmp_path, small_data, command):
    arguments = {"use": [__file__], "send": [__file__], "bridge": ["murfi"], "outlet udp": ["127.0.0.1:5005"]}
    options = ["--data", str(small_data), "--key", str(tmp_path / "no.key")]
    answer = CliRunner().invoke(main, [*command.split(), *options, *arguments.get(command, [])])
    assert answer.exit_code == 2, answer.output
    assert "no.key: No such file or directory; `braind keys add NAME --role ROLE`" in answer.stderr
