"""The monitor in a real terminal: tmux shows what a person would see."""

import os
import re
import shutil
import subprocess
import sys
import time

import pytest

PATIENCE_S = 60.0
SOCKETS = ("ingest", "decodes", "control")

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")


class Tmux:
    """A tmux server of its own, with one window of a given size that runs a shell."""

    def __init__(self, socket, environment):
        self._start = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        self._environment = environment

    def __call__(self, *arguments):
        done = subprocess.run(
            [*self._start, *arguments], env=self._environment, capture_output=True, text=True, check=True, timeout=30
        )
        return done.stdout

    @property
    def screen(self):
        """The lines that the window shows."""
        return self("capture-pane", "-p").splitlines()

    def type(self, line):
        """Type a line and press enter."""
        self("send-keys", "-l", line)
        self("send-keys", "Enter")

    def until(self, holds):
        """Return the screen when a condition on its words holds."""
        ends_s = time.monotonic() + PATIENCE_S
        while not holds(words := "\n".join(self.screen)):
            assert time.monotonic() < ends_s, f"never so:\n{words}"
            time.sleep(0.1)
        return words


@pytest.fixture
def tmux(daemon, tmp_path, monkeypatch):
    """A shell in a terminal, in which `braind monitor` watches the daemon."""
    for name in SOCKETS:
        monkeypatch.setenv(f"BRAIND_SERVE__{name.upper()}_PORT", getattr(daemon.endpoints, name).rpartition(":")[2])
    monkeypatch.setenv("BRAIND_PATHS__DATA", str(tmp_path))
    environment = {name: value for name, value in os.environ.items() if name not in ("TMUX", "NO_COLOR")}
    # A shell may export a size that its terminal has no longer.
    environment |= {"COLUMNS": "70", "LINES": "20"}
    terminal = Tmux(tmp_path / "tmux", environment)
    terminal("new-session", "-d", "-x", "100", "-y", "30", "sh", ";", "set", "-g", "status", "off")
    yield terminal
    terminal("kill-server")


def modes_of(tmux):
    """What a program may leave behind in a terminal: another screen, no cursor, mouse reports, raw input."""
    flags = ("alternate_on", "cursor_flag", "mouse_any_flag", "keypad_flag", "wrap_flag")
    return tmux("display-message", "-p", " ".join(f"#{{{flag}}}" for flag in flags))


def test_the_monitor_in_a_terminal_that_is_resized_and_left_as_it_was(tmux, daemon, tmp_path):
    tmux.until(lambda words: words.strip())
    modes = modes_of(tmux)
    for index in range(3):
        daemon.decode(index, label="a red fox")
    with daemon.beating():
        tmux.type("cd " + str(tmp_path))
        tmux.type(f"stty -a > before; {sys.executable} -m braind monitor; echo status $?; stty -a > after")
        expected = ("SIMULATED", "live run-03", "run run-03  volume 2", "a red fox.0", "q Quit", "k Calibration")
        tmux.until(lambda words: all(one in words for one in expected))
        tmux("resize-window", "-x", "60", "-y", "15")
        words = tmux.until(lambda words: "acked" not in words and words.splitlines()[-1].startswith(" q Quit"))
        assert "live run-03" in words.splitlines()[0]
        assert "a red fox.0" in words
        assert "▀▀▀▀▀▀" in words
        tmux("resize-window", "-x", "200", "-y", "60")
        words = tmux.until(lambda words: "b Bell" in words.splitlines()[-1])
        assert sum("▀▀▀▀▀▀▀▀" in line for line in words.splitlines()) > 30
        tmux("send-keys", "q")
        tmux.until(lambda words: "status 0" in words)
    tmux.until(lambda words: (tmp_path / "after").exists())
    assert modes_of(tmux) == modes
    unsized = [re.sub(r"rows \d+; columns \d+", "", (tmp_path / name).read_text()) for name in ("before", "after")]
    assert unsized[0] == unsized[1]
