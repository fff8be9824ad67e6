"""The light install on a machine that is not Linux: a Windows without POSIX, and consoles that lack characters.

Another system can only be played here (tests/support/on_windows.py). The daemon is a real one, as on its own machine.
"""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from running_daemon import AFFINE, SHAPE, RunningDaemon, values

import braind
from braind.client.address import Address
from braind.client.scanner import ScannerClient
from braind.console import is_reader_gone, never_fail_on_a_character

ROOT = Path(braind.__file__).parent
ON_WINDOWS = Path(__file__).parent / "support" / "on_windows.py"
CLASS = "Gesicht – 日本 ≤ é 😀"
IN_CONSOLE = {
    "cp1252": "Gesicht – \\u65e5\\u672c <= é \\ud83d\\ude00",
    "cp437": "Gesicht - \\u65e5\\u672c ≤ é \\ud83d\\ude00",
}
SCREEN = """
from on_windows import become_windows
become_windows()
from pathlib import Path
from braind.client.endpoints import Endpoints
from braind.tui.screenshot import screenshot
screenshot(Endpoints(ingest="", decodes={decodes!r}, control={control!r}), 1, Path({out!r}))
"""


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("daemon"), decode={"preset": "live-1", "mode": "z"})
    yield daemon.start()
    daemon.close()


@pytest.fixture
def windows(daemon, tmp_path):
    """Start braind on a Windows that knows the daemon by its ports."""
    ports = {
        f"BRAIND_SERVE__{name.upper()}_PORT": str(Address.parse(daemon.addresses[name]).port)
        for name in ("ingest", "decodes", "control")
    }
    started = []

    def start(*words, encoding="utf-8"):
        environment = {**os.environ, **ports, "HOME": str(tmp_path), "PYTHONIOENCODING": encoding}
        command = [sys.executable, ON_WINDOWS, *map(str, words)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def finished(process):
    """Return the exit status, and the bytes on stdout and stderr."""
    said, complained = process.communicate(timeout=120)
    return process.returncode, said, complained


def send_one(daemon, run, label=CLASS):
    with ScannerClient(daemon.addresses["ingest"]) as client:
        fields = {"subject": 1, "kind": "beta", "shape": SHAPE, "affine": AFFINE, "tr_s": 4.0, "dtype": "int16"}
        client.open_run(session="ses", run=run, **fields).send(values(0), scale=1 / 300, label=label)


def test_what_a_viewer_or_a_scanners_computer_runs_is_imported_on_windows(windows):
    rooms = [path for room in ("client", "commands", "tui") for path in (ROOT / room).rglob("*.py")]
    own = [
        ROOT / "cli.py",
        ROOT / "daemon" / "checkup" / "doctor.py",
        *(ROOT / "offline" / "sessions").glob("list*.py"),
    ]
    modules = [".".join(("braind", *path.relative_to(ROOT).with_suffix("").parts)) for path in [*rooms, *own]]
    assert finished(windows("import", *modules)) == (0, b"", b"")


def test_a_windows_sends_volumes_and_asks_for_the_state(daemon, windows, tmp_path):
    image = nib.Nifti1Image(np.stack([values(0), values(1)], -1).astype(np.float32), np.array(AFFINE))
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 4.0
    image.to_filename(tmp_path / "betas.nii.gz")
    sending = windows("send", tmp_path / "betas.nii.gz", "--kind", "beta", "--flat-out", "--session", "sent")
    status, said, complained = finished(sending)
    assert (status, said) == (0, f"session sent, run betas: 2 volumes acked, 0 not sent{os.linesep}".encode()), (
        complained
    )
    status, said, complained = finished(windows("status", "--json"))
    assert (status, complained) == (0, b"")
    assert json.loads(said)["state"] == "ready"
    status, said, complained = finished(windows("sessions", "show", daemon.data_path / "journals" / "sent.sqlite3"))
    assert (status, complained) == (0, b"")
    assert b"run betas: subject 1, beta" in said


def test_a_file_of_addresses_is_another_machines_on_windows(windows, daemon):
    """Nothing asks by `os.kill` whether the daemon of the data folder runs."""
    assert (daemon.data_path / "serve.json").exists()
    status, said, _ = finished(windows("status", "--data", daemon.data_path))
    assert (status, said.split()[:2]) == (0, [b"state", b"ready"])


@pytest.mark.parametrize("encoding", IN_CONSOLE)
def test_no_character_ends_a_command(daemon, windows, encoding):
    lines = windows("monitor", "--plain", encoding=encoding)
    assert lines.stdout.readline().startswith(b"session\trun\t")
    send_one(daemon, f"run-{encoding}")
    line = lines.stdout.readline().decode(encoding).rstrip("\r\n").split("\t")
    assert (line[1], line[13]) == (f"run-{encoding}", IN_CONSOLE[encoding])
    lines.send_signal(signal.SIGINT)
    assert finished(lines)[0] == 130
    status, said, complained = finished(windows("monitor", "--once", "--json", encoding=encoding))
    assert (status, complained) == (0, b"")
    assert json.loads(said)["decode"]["sent_class"] == CLASS, "JSON is UTF-8 on every console"


def test_a_windows_shows_the_screens(daemon, tmp_path):
    send_one(daemon, "screen")
    told = {name: daemon.addresses[name] for name in ("decodes", "control")}
    code = SCREEN.format(**told, out=str(tmp_path / "screen.svg"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ON_WINDOWS.parent), *sys.path])}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=environment)
    assert "screen" in (tmp_path / "screen.svg").read_text()


def test_the_daemons_own_commands_say_where_they_run(windows):
    status, said, complained = finished(windows("keys", "show"))
    assert (status, said) == (2, b"")
    assert b"need Linux or macOS" in complained
    assert complained.count(b"\n") == 1


@pytest.mark.parametrize(
    ("encoding", "words", "written"),
    [
        ("ascii", "p ≤ 1.2 × 10⁻⁴, −0.5 … “x”", 'p <= 1.2 x 10^-4, -0.5 ... "x"'),
        ("cp1252", "● \udce9", "\\u25cf \\udce9"),
        ("utf-8", "● – \udce9", "● – \\udce9"),
    ],
)
def test_a_console_gets_in_ascii_what_its_encoding_lacks(monkeypatch, encoding, words, written):
    console = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", console)
    never_fail_on_a_character()
    sys.stdout.write(words)
    sys.stdout.flush()
    assert console.buffer.getvalue().decode(encoding) == written


def test_a_program_without_a_console_starts(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    never_fail_on_a_character()


def test_windows_word_for_a_closed_pipe_is_known(monkeypatch):
    closed, wrong_name = OSError(22, "Invalid argument"), OSError(22, "Invalid argument", "a?b")
    assert not is_reader_gone(closed)
    monkeypatch.setattr(sys, "platform", "win32")
    assert is_reader_gone(closed)
    assert not is_reader_gone(wrong_name)
    assert is_reader_gone(BrokenPipeError(32, "Broken pipe"))
