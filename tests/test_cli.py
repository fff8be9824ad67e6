"""The command line: exit statuses, and which stream says what."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from braind.cli import main
from braind.client import wire
from braind.client.control import ControlClient

BRAIND = Path(sys.executable).with_name("braind")


@pytest.fixture
def braind(tmp_path):
    def run(*arguments, **environment):
        settings = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_DATA_HOME": str(tmp_path / "data")}
        return subprocess.run(
            [BRAIND, *arguments], capture_output=True, text=True, env={**os.environ, **settings, **environment}
        )

    return run


def test_help_names_every_command_and_the_exit_statuses(braind):
    answer = braind("--help")
    assert answer.returncode == 0
    for word in ("serve", "replay", "monitor", "status", "config", "simulate", "fit", "decode", "evaluate", "demo"):
        assert f"  {word} " in answer.stdout
    assert "3 no daemon" in answer.stdout


def test_without_a_daemon_status_is_3_and_one_sentence_on_stderr(braind):
    answer = braind("status", BRAIND_SERVE__CONTROL_PORT="1")
    assert (answer.returncode, answer.stdout) == (3, "")
    assert answer.stderr.startswith("braind: no daemon answers at 127.0.0.1:1")
    assert answer.stderr.count("\n") == 1


def test_a_wrong_setting_is_2_and_one_sentence_on_stderr(braind):
    answer = braind("status", BRAIND_SERVE__CONTROL_PROT="1")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "did you mean 'control_port'?" in answer.stderr


def test_a_wrong_option_is_2(braind):
    assert braind("replay", "--kind", "meg").returncode == 2


def test_config_show_says_where_values_come_from(braind, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[decode]\nseed = 7\n")
    answer = braind("config", "show", "--config", str(path), BRAIND_SERVE__POLICY="all")
    lines = {line.split()[0]: line.split()[1:] for line in answer.stdout.splitlines()}
    assert lines["decode.seed"] == ["7", str(path)]
    assert lines["serve.policy"] == ['"all"', "BRAIND_SERVE__POLICY"]
    assert lines["serve.host"] == ['"127.0.0.1"', "default"]


def test_config_validate_lists_problems_and_says_so_in_its_status(braind, tmp_path):
    assert braind("config", "validate").returncode == 0
    path = tmp_path / "mine.toml"
    path.write_text("[decode]\nsede = 7\nmode = 'x'\n")
    answer = braind("config", "validate", "--config", str(path))
    assert answer.returncode == 2
    assert len(answer.stdout.splitlines()) == 2


def test_numbers_that_the_daemon_does_not_know_are_said_to_be_unknown(monkeypatch):
    unknown = wire.Status(
        state="ready", pid=1, version="0", uptime_s=1.0, subject=1, weights="w", ldm="l", engine="e", preset="p",
        policy="all", simulated=True, journal="j", session="s", run="", n_acked=None, n_decoded=None, n_skipped=None,
        n_refused=0, n_waiting=None, decoder_restarts=0, last_seq=0,
    )  # fmt: skip
    monkeypatch.setattr(ControlClient, "status", lambda self: unknown)
    lines = dict(line.split(maxsplit=1) for line in CliRunner().invoke(main, ["status"]).stdout.splitlines())
    assert [lines[f"n_{what}"] for what in ("acked", "decoded", "skipped", "waiting")] == ["unknown"] * 4
    assert (lines["n_refused"], lines["run"], lines["latency_p50_s"]) == ("0", "-", "-")
