"""The examples in other languages: compiled and run against a real daemon that is killed and started again."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from running_daemon import AFFINE, SHAPE, RunningDaemon

from braind.client import wire
from braind.daemon.access.keyring import add_client
from braind.daemon.journal.journal import Journal

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE_S = 60


def expected(index):
    """What the examples say they send: voxel v of volume `index` holds (31 v + 7 index) mod 1000."""
    return ((31 * np.arange(np.prod(SHAPE)) + 7 * index) % 1000).astype(np.int16).reshape(SHAPE)


@pytest.fixture(scope="module")
def c_client(tmp_path_factory):
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    program = tmp_path_factory.mktemp("c") / "scanner_client"
    if subprocess.run(["cc", "-E", "-"], input=b"#include <zmq.h>\n", capture_output=True).returncode:
        pytest.skip("no libzmq headers: apt-get install libzmq3-dev")
    subprocess.run(
        ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, EXAMPLES / "scanner_client.c", "-lzmq"], check=True
    )
    return program


def test_the_c_client_is_short():
    assert len((EXAMPLES / "scanner_client.c").read_text().splitlines()) <= 200


def test_the_c_client_streams_a_run_through_a_restart_of_the_daemon(c_client, files, tmp_path):
    n_volumes = 12
    daemon = RunningDaemon(files, tmp_path)
    try:
        daemon.start(wait=False).wait_bound()
        address = daemon.addresses["ingest"]
        numbers = [str(number) for row in AFFINE[:3] for number in row]
        arguments = [address, "c", "run-01", str(n_volumes), "0.05", "1", *map(str, SHAPE), *numbers]
        client = subprocess.Popen([c_client, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for number in range(5):
            assert client.stdout.readline() == f"acked {number}\n", client.stderr.read()
        daemon.close()
        # the same port: the client knows no other
        daemon.settings["serve"] = {"ingest_port": int(address.rpartition(":")[2])}
        daemon.start(wait=False).wait_bound()
        said, errors = client.communicate(timeout=PATIENCE_S)
        assert client.returncode == 0, errors
        assert said.splitlines() == [f"acked {number}" for number in range(5, n_volumes)]
    finally:
        daemon.close()
    journal = Journal(tmp_path / "journals" / "c.sqlite3")
    record = journal.run("run-01")
    assert record is not None
    assert (record.n_volumes, record.hello.producer) == (n_volumes, "scanner_client.c")
    states = journal.run_volumes("run-01", 0)
    assert [place.index for place, _ in states] == list(range(n_volumes))
    for place, _ in states:
        stored = journal.volume(place.arrival)
        gathered = expected(place.index).ravel()[files.weights.voxel_index] * np.float32(0.01)
        np.testing.assert_allclose(stored.voxels, gathered, rtol=1e-6)
    journal.close()


def test_a_run_that_does_not_fit_is_said_by_the_c_client(c_client, files, tmp_path):
    daemon = RunningDaemon(files, tmp_path)
    try:
        daemon.start(wait=False).wait_bound()
        with daemon.connect("ingest") as scanner:
            grid = scanner.ask(wire.GridRequest())
            assert (grid.subject, grid.shape, grid.affine) == (1, SHAPE, AFFINE)
        arguments = [daemon.addresses["ingest"], "c", "run-02", "3", "0", "1", "4", "4", "4", *["0"] * 12]
        ran = subprocess.run([c_client, *arguments], capture_output=True, text=True, timeout=PATIENCE_S)
        assert ran.returncode == 2
        assert '"code":"shape"' in ran.stderr
    finally:
        daemon.close()


def test_the_c_client_shows_a_key_to_a_daemon_that_requires_one(c_client, files, tmp_path):
    daemon = RunningDaemon(files, tmp_path, serve={"keys": "required"})
    try:
        daemon.start(wait=False).wait_bound()
        path = add_client(tmp_path / "keys", "console", ("ingest",))
        numbers = [str(number) for row in AFFINE[:3] for number in row]
        arguments = [daemon.addresses["ingest"], "c", "run-01", "2", "0", "1", *map(str, SHAPE), *numbers, path]
        ran = subprocess.run([c_client, *arguments], capture_output=True, text=True, timeout=PATIENCE_S)
        assert (ran.returncode, ran.stdout) == (0, "acked 0\nacked 1\n"), ran.stderr
    finally:
        daemon.close()


@pytest.mark.skipif(shutil.which("octave") is None, reason="Octave is not installed")
def test_the_bytes_of_the_matlab_example_are_the_documents(tmp_path):
    program = (
        f"addpath('{EXAMPLES}'); voxels = zeros(1, 2, 3, 'int16');"
        "voxels(1, 1, :) = [0 1 2]; voxels(1, 2, :) = [3 4 5];"
        "[header, payload] = volume_message('s', 'r', 0, voxels, 0.5);"
        "file = fopen('header', 'w'); fwrite(file, header); fclose(file);"
        "file = fopen('payload', 'w'); fwrite(file, payload); fclose(file);"
    )
    subprocess.run(["octave", "--no-gui", "--norc", "--eval", program], check=True, cwd=tmp_path, timeout=PATIENCE_S)
    message, payload = wire.decode([b"BRD1", (tmp_path / "header").read_bytes(), (tmp_path / "payload").read_bytes()])
    np.testing.assert_array_equal(wire.volume_array(message, payload), [[[0, 1, 2], [3, 4, 5]]])
    assert message.scale == 0.5
