"""The command line: exit statuses, and which stream says what."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from braind import __version__
from braind.cli import main
from braind.client import wire
from braind.client.control import ControlClient
from braind.config import load_config
from braind.models.weights.card import SCHEMA

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


def test_the_version_names_the_protocol_and_the_schema_of_weights_on_one_line(braind):
    answer = braind("--version")
    assert answer.stdout == f"braind {__version__} (protocol {wire.PROTOCOL_VERSION}, weights schema {SCHEMA})\n"
    assert answer.stdout.split(" ")[1] == __version__


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


@pytest.mark.parametrize("imported", ["click", "numpy", "braind.config", "braind.daemon.serve"])
def test_ctrl_c_while_a_command_is_imported_is_130_and_a_sentence(tmp_path, imported):
    """Whatever module the interrupt comes in: the import of that module is where Ctrl-C is pressed."""
    (tmp_path / "sitecustomize.py").write_text(INTERRUPT_AT_IMPORT.format(imported=imported))
    (tmp_path / "m.nii").touch()
    answer = subprocess.run(
        [sys.executable, "-m", "braind", "serve", "--data", tmp_path, "--mask", tmp_path / "m.nii"],
        capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )  # fmt: skip
    assert (answer.returncode, answer.stdout, answer.stderr) == (130, "", "braind: interrupted\n")


INTERRUPT_AT_IMPORT = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "{imported}":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
"""


def test_a_librarys_warning_never_reaches_the_terminal(monkeypatch, recwarn):
    """Neither of this process nor of a process that it starts, unless the user asks for warnings."""
    torchs = "import warnings; warnings.warn('The given NumPy array is not writable', UserWarning); print('done')"

    def warn():
        ran = subprocess.run([sys.executable, "-c", torchs], capture_output=True, text=True)
        click.echo(ran.stdout + ran.stderr)
        exec(torchs)

    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    monkeypatch.setattr(sys, "warnoptions", [])
    monkeypatch.setattr(main.commands["simulate"], "callback", warn)
    monkeypatch.setattr(main.commands["simulate"], "params", [])
    answer = CliRunner().invoke(main, ["simulate"])
    assert (answer.stdout, answer.stderr, list(recwarn)) == ("done\n\ndone\n", "", [])


def test_what_the_demo_says_to_do_next_are_commands_that_exist(tmp_path):
    from braind.demo import next_steps

    (tmp_path / "mine.toml").touch()
    config = load_config(tmp_path / "mine.toml", {"paths": {"data": "/my data"}})
    steps = [line.strip().split("  ")[0] for line in next_steps(config).splitlines() if line.startswith("  braind ")]
    assert len(steps) == 7
    for step in steps:
        _, name, *words = shlex.split(step)
        options = {option for parameter in main.commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, step
    assert "braind serve --data '/my data'" in steps


@pytest.mark.parametrize("arguments", [["--help"], ["config", "show"], ["doctor"], ["sessions", "list"]])
def test_a_command_ends_quietly_when_the_reader_of_its_output_has_enough(arguments, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    settings = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_DATA_HOME": str(tmp_path / "data")}
    command = [sys.executable, "-m", "braind", *arguments]
    ran = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env={**os.environ, **settings})
    os.close(writing)
    assert ran.stderr == b""
