"""The packages that people install: what is in them, what the light install can do, and what it says of the rest."""

import ast
import json
import re
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions

import nibabel as nib
import numpy as np
import pytest
from installed import ROOT, Installed, tracked_files
from running_daemon import AFFINE, RunningDaemon, values

from braind.extras import MODULES

LIGHT_BYTES = 150e6
NOT_SHIPPED = {"tests", "benchmarks", "docs", "examples", ".ci"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {name: libraries for name, libraries in PROJECT["optional-dependencies"].items() if name != "dev"}


def library_of(requirement):
    """Return the library that a requirement names, as the package index writes it."""
    return re.split(r"[^\w.-]", requirement)[0].replace("_", "-").lower()


DISTRIBUTIONS = {"gdcm": "python-gdcm"} | {name: library_of(of[0]) for name, of in packages_distributions().items()}
"""The name that a library is imported by → its name in the package index."""


@pytest.fixture(scope="module")
def light(built, tmp_path_factory):
    """`pip install braind`."""
    return Installed(tmp_path_factory.mktemp("light"), built.wheel)


def shipped():
    """Return the checkout's files that a package must hold."""
    return {path.as_posix() for path in tracked_files() if len(path.parts) == 1 or path.parts[0] not in NOT_SHIPPED}


def test_the_wheel_holds_every_file_of_the_rooms_and_nothing_else(built):
    names = zipfile.ZipFile(built.wheel).namelist()
    inside = {name.removeprefix("braind/") for name in names if ".dist-info/" not in name}
    of_the_root = {name for name in shipped() if "/" not in name}
    code = {name for name in of_the_root if name.endswith(".py")} | {"config.toml", "py.typed"}
    assert inside == shipped() - of_the_root | code
    licences = {name.partition(".dist-info/licenses/")[2] for name in names} - {""}
    assert licences == set(PROJECT["license-files"])


def test_the_sdist_holds_what_the_wheel_is_built_from(built):
    with tarfile.open(built.sdist) as sdist:
        files = {name.partition("/")[2] for name in sdist.getnames()}
    with zipfile.ZipFile(built.wheel) as wheel:
        inside = {name.removeprefix("braind/") for name in wheel.namelist() if ".dist-info/" not in name}
    assert inside | {"README.md", "pyproject.toml"} <= files
    assert not any(name.startswith(tuple(NOT_SHIPPED)) for name in files)


def test_the_packages_metadata_pins_no_build_of_torch_and_no_index(built):
    with zipfile.ZipFile(built.wheel) as wheel:
        (metadata,) = (wheel.read(name).decode() for name in wheel.namelist() if name.endswith("/METADATA"))
    required = re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)
    assert [line for line in required if line.startswith("torch>")] == ['torch>=2.11; extra == "decode"']
    assert not any("://" in line or "+" in line or "==" in line.split(";")[0] for line in required)
    always = {library_of(line) for line in required if "extra ==" not in line}
    assert always == {library_of(line) for line in PROJECT["dependencies"]}


def test_the_extras_that_commands_name_are_those_of_the_package():
    assert MODULES.keys() == EXTRAS.keys()
    for extra, modules in MODULES.items():
        asked = {library_of(line) for line in EXTRAS[extra]} - {"braind", "onnxruntime"}
        assert {DISTRIBUTIONS.get(module, module) for module in modules} == asked


def test_every_library_that_the_code_imports_is_asked_for():
    known = frozenset().union(*MODULES.values())
    light = {library_of(line) for line in PROJECT["dependencies"]}
    assert {DISTRIBUTIONS[module] for module in imported_modules() - known} <= light


def imported_modules():
    """Return the top-level names of the foreign modules that the rooms import anywhere."""
    found = set()
    for name in shipped():
        if name.endswith(".py"):
            for node in ast.walk(ast.parse((ROOT / name).read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names


def test_the_light_install_takes_at_most_150_megabytes(light):
    assert 50e6 < light.n_bytes() <= LIGHT_BYTES, f"{light.n_bytes() / 1e6:.1f} MB"
    assert not {"torch", "h5py", "scipy"} & {path.name for path in light.packages.iterdir()}


def test_every_module_of_the_client_the_monitor_and_the_commands_imports_on_the_light_install(light):
    lacking = json.loads(light.python(IMPORT_ALL))
    assert lacking.pop("braind.tui.web.server") == "aiohttp"
    assert set(lacking.values()) == {"h5py"}
    assert all(module.startswith("braind.client.datasets.nsd.") for module in lacking)


IMPORT_ALL = """
import importlib, json, pkgutil
lacking = {}
for room in ("client", "tui", "commands", "offline.sessions"):
    path = importlib.import_module(f"braind.{room}").__path__
    for module in pkgutil.walk_packages(path, f"braind.{room}."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            lacking[module.name] = error.name
print(json.dumps(lacking))
"""


def test_the_light_install_sends_watches_and_asks(light, files, tmp_path):
    """Against the daemon of a full install."""
    nib.save(nib.Nifti1Image(np.stack([values(0), values(1)], axis=3), np.array(AFFINE)), tmp_path / "betas.nii")
    daemon = RunningDaemon(files, tmp_path / "data")
    try:
        daemon.start()
        at = ("--data", daemon.data_path)
        sent = light.braind("send", tmp_path / "betas.nii", "--kind", "beta", "--tr", "4", "--session", "s", *at)
        assert sent.stdout == "session s, run betas: 2 volumes acked, 0 not sent\n", sent.stderr
        daemon.wait_until(lambda status: status.n_decoded == 2)
        status = json.loads(light.braind("status", "--json", *at).stdout)
        assert (status["session"], status["n_acked"], status["n_decoded"]) == ("s", 2, 2)
        seen = json.loads(light.braind("monitor", "--once", "--json", *at).stdout)
        assert (seen["decode"]["session"], seen["decode"]["run"]) == ("s", "betas")
        assert json.loads(light.braind("sessions", "list", "--json", *at).stdout)[0]["session"] == "s"
        exported = light.braind("sessions", "export", "s", "-o", tmp_path / "exported", *at)
        assert exported.returncode == 0, exported.stderr
        report = json.loads(light.braind("doctor", "--json", *at).stdout)
        assert (report["daemon"]["n_decoded"], report["packages"]["torch"]) == (2, {"installed": False})
    finally:
        daemon.close()


@pytest.mark.parametrize(
    ("command", "needs", "extra"),
    [
        ("fit", "fit needs h5py", "decode"),
        ("serve", "serve needs safetensors", "decode"),
        ("replay", "replay needs h5py", "decode"),
        ("sessions verify x", "sessions verify needs torch", "decode"),
        ("report", "report needs h5py", "report"),
        ("outlet lsl", "outlet lsl needs pylsl", "lsl"),
        ("monitor --web", "monitor needs aiohttp", "web"),
    ],
)
def test_a_command_that_lacks_its_extra_says_which_one_to_install(light, command, needs, extra):
    ran = light.braind(*command.split())
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == f'braind: {needs}, which is not installed: pip install "braind[{extra}]"\n'
