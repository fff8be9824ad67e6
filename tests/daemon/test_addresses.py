"""Commands beside a daemon find it by its own word, wherever it listens."""

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from running_daemon import AFFINE, SHAPE, RunningDaemon


@pytest.fixture(scope="module", params=["::1", "localhost"])
def daemon(request, files, tmp_path_factory):
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("addresses"), serve={"host": request.param})
    yield daemon.start(wait=False).wait_bound()
    daemon.close()


def braind(daemon, *arguments):
    """Run a command with the default settings: 127.0.0.1 and the usual ports."""
    command = [sys.executable, "-m", "braind", arguments[0], "--data", daemon.data_path, *arguments[1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def port_of(daemon, socket):
    return daemon.addresses[socket].rpartition(":")[2]


def test_status_finds_it(daemon):
    done = braind(daemon, "status", "--json")
    assert done.returncode == 0, done.stderr
    assert f'"pid": {daemon.process.pid}' in done.stdout


@pytest.mark.parametrize("named", [False, True])
def test_send_finds_it_by_itself_and_by_an_address_with_a_port(daemon, tmp_path, named):
    volumes = np.zeros((*SHAPE, 2), np.int16)
    nib.save(nib.Nifti1Image(volumes, np.array(AFFINE)), tmp_path / "run.nii")
    host = "[::1]" if "[" in daemon.addresses["ingest"] else "localhost"
    to = ["--to", f"{host}:{port_of(daemon, 'ingest')}"] if named else []
    run = ["--kind", "beta", "--tr", "1", "--run", f"run-{named}", "--flat-out"]
    done = braind(daemon, "send", tmp_path / "run.nii", *run, *to)
    assert done.returncode == 0, done.stderr
    assert "2 volumes acked" in done.stdout


def test_replay_finds_it(daemon, small_data):
    done = braind(daemon, "replay", "--nsd", small_data / "nsd-simulated")
    assert "no daemon" not in done.stderr
    assert "shape" in done.stderr  # the small brain is none of these weights'


def test_monitor_finds_it(daemon):
    command = [sys.executable, "-m", "braind", "monitor", "--plain", "--data", daemon.data_path]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as monitor:
        assert monitor.stderr.readline() == f"listening at {daemon.addresses['decodes']}\n"
        monitor.kill()
