"""A scanner console starts a client at once: nothing is imported but what speaks the protocol.

The time that an import takes is measured by benchmarks/run.py startup.
"""

import subprocess
import sys

import pytest

CODE = """
import sys, {module}
packages = {{name.partition(".")[0] for name in sys.modules}} - sys.stdlib_module_names
print(*(name for name in packages if not name.startswith("_")))
"""
PROTOCOL = {"braind", "msgspec", "numpy", "zmq", "typing_extensions", "cython_runtime"}


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("braind.client.scanner", PROTOCOL),
        ("braind.client.subscriber", PROTOCOL),
        ("braind.client.replays.replay", PROTOCOL),
        ("braind.cli", {"braind", "click"}),
    ],
)
def test_an_import_brings_only_what_is_needed(module, allowed):
    # site imports some by itself, for .pth files
    own = subprocess.run([sys.executable, "-c", CODE.format(module="os")], check=True, capture_output=True, text=True)
    ran = subprocess.run([sys.executable, "-c", CODE.format(module=module)], check=True, capture_output=True, text=True)
    assert set(ran.stdout.split()) - set(own.stdout.split()) <= allowed
