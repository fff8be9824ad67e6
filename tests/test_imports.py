"""What an import may load: import-linter cannot tell a deferred import from one that everybody pays."""

import subprocess
import sys
from pathlib import Path

import pytest

import braind

ROOT = Path(braind.__file__).parent
CLIENT_MODULES = sorted(
    ".".join(("braind", *path.relative_to(ROOT).with_suffix("").parts))
    for path in (ROOT / "client").rglob("*.py")
    if path.stem != "__init__"
)
HEAVY = {"torch", "diffusers", "transformers", "sklearn"}
NOT_FOR_HELP = HEAVY | {"numpy", "textual", "zmq", "scipy", "h5py", "msgspec", "rich", "PIL", "nibabel"}


def loaded_by(*modules):
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in ran.stdout.split()}


def test_no_client_module_loads_what_a_scanner_console_does_not_have():
    assert not loaded_by(*CLIENT_MODULES) & HEAVY


@pytest.mark.parametrize(
    "module", ["braind.client.scanner", "braind.client.subscriber", "braind.client.replays.command"]
)
def test_what_talks_to_the_daemon_reads_no_datasets(module):
    assert not loaded_by(module) & {"h5py", "nibabel", "scipy", "rich", "textual", "PIL"}


def test_help_loads_nothing_but_click():
    assert not loaded_by("braind.cli") & NOT_FOR_HELP


def test_importing_braind_loads_no_room():
    assert not loaded_by("braind") & NOT_FOR_HELP
