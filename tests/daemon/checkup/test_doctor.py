"""`braind doctor`: facts for a report of a fault, also where packages or settings are broken; nothing private."""

import json
import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from running_daemon import AFFINE, SHAPE, RunningDaemon, hello, volume_frames

from braind import __version__
from braind.daemon.checkup.packages import probe_packages


@pytest.fixture
def packages(tmp_path):
    """Heavy packages that are broken in the ways in which packages are, first on the path."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "torch.py").write_text("import os, sys\nsys.stderr.write('libcudart: cannot open\\n')\nos.abort()\n")
    (folder / "diffusers.py").write_text("raise ImportError('made for another torch\\nand more')\n")
    (folder / "transformers.py").write_text("print('noise')\nCLIPTextModel = None\n")
    (folder / "onnxruntime.py").write_text("raise SystemExit(3)\n")
    return folder


@pytest.fixture
def doctor(tmp_path, packages):
    def examine(*options):
        environment = {
            **os.environ,
            "HOME": str(tmp_path),
            "PYTHONPATH": f"{packages}:{os.environ.get('PYTHONPATH', '')}",
        }
        environment |= {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_DATA_HOME": str(tmp_path / "share")}
        done = subprocess.run(
            [sys.executable, "-m", "braind", "doctor", *map(str, options)],
            capture_output=True, text=True, timeout=120, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    return examine


def test_a_broken_package_is_a_line_and_the_others_are_still_tried(doctor, tmp_path):
    (tmp_path / "config" / "braind").mkdir(parents=True)
    (tmp_path / "config" / "braind" / "config.toml").write_text("[decode]\nseed = 7\n")
    text = doctor("--data", tmp_path / "data")
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith("  ")}
    assert "broken=libcudart: cannot open" in lines["torch"]
    assert "ImportError: made for another torch" in text
    assert "  transformers       works=True" in text
    assert "broken=SystemExit: 3" in text
    assert f"  braind             {__version__}" in text
    assert "  decode.seed        7 (~/config/braind/config.toml)" in text
    assert "  data               ~/data (not there; " in text
    assert str(tmp_path) not in text
    assert "\x1b" not in text


def test_settings_that_cannot_be_read_are_a_line(doctor, tmp_path):
    (tmp_path / "mine.toml").write_text("[decode]\nsede = 7\n")
    report = json.loads(doctor("--json", "--config", tmp_path / "mine.toml"))
    assert "did you mean 'seed'?" in report["settings"]["unusable"]
    assert report["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))


def test_a_running_daemon_is_described_without_the_names_of_sessions(doctor, files, tmp_path):
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), np.array(AFFINE)), tmp_path / "mask.nii")
    daemon = RunningDaemon(files, tmp_path / "data", mask=tmp_path / "mask.nii").start()
    try:
        with daemon.connect("ingest") as scanner:
            scanner.ask(hello(session="jane-doe"))
            scanner.ask_frames(volume_frames(0, session="jane-doe"))
        (daemon.data_path / "keys").mkdir(exist_ok=True)
        (daemon.data_path / "keys" / "server").write_text("secret")
        text = doctor("--json", "--data", daemon.data_path)
        report = json.loads(text)
        assert (report["daemon"]["state"], report["daemon"]["n_acked"]) == ("recording", 1)
        assert report["daemon"]["pid"] == daemon.process.pid
        assert report["journals"]["sessions"] == 1
        assert report["journals"]["bytes"] > 4096
        assert "jane" not in text
        assert "secret" not in text
    finally:
        daemon.close()


def test_the_packages_that_braind_needs_work_here():
    (torch,) = probe_packages(["torch"]).values()
    assert torch["works"] is True
    assert torch["threads"]
