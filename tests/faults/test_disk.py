"""A full disk and a disk whose flushes fail: no ack is given on them, and all goes on when the disk works again."""

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from running_daemon import PATIENCE_S, RunningDaemon, hello, volume_frames
from scans import Scan, Sender, decodes_of, restart, sent

from braind.client import wire
from braind.models.ridge.memory_maps import new_memory_map

DECODE = {"mode": "z"}
SCAN = Scan("beta", 4)
SHIM = Path(__file__).parent.parent / "support" / "failing_disk.c"
TMPFS_BYTES = 4 * 2**20


class FailingDisk:
    """The disk below a daemon's journals, as the daemon sees it."""

    def __init__(self, path):
        self._path = path

    def fail(self, how):
        self._path.write_text(how)

    def repair(self):
        self._path.unlink()


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """The compiled library that stands in front of the system's calls."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (apt-get install gcc)")
    library = tmp_path_factory.mktemp("shim") / "failing_disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SHIM, "-ldl"], check=True, timeout=60)
    return library


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    return FailingDisk(tmp_path_factory.mktemp("disk") / "fault")


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory, shim, disk):
    folder = tmp_path_factory.mktemp("failing")
    daemon = RunningDaemon(files, folder, decode=DECODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(shim))
        patch.setenv("FAILING_DISK", str(disk._path))
        patch.setenv("FAILING_DISK_UNDER", str(folder / "journals"))
        daemon.start()
    yield daemon
    daemon.close()


@pytest.fixture(scope="module")
def oracle(daemon):
    scan = Scan("beta", 4, session="undisturbed")
    return decodes_of(sent(daemon, scan), scan)


@pytest.mark.parametrize("fault", ["fsync", "full"])
def test_a_disk_that_fails_is_an_answer_and_no_ack_and_passes(daemon, disk, oracle, fault):
    session = f"disk-{fault}"
    with daemon.connect("ingest") as peer:
        assert isinstance(peer.ask(hello(session=session, run=SCAN.run)), wire.Welcome)
        assert isinstance(peer.ask_frames(volume_frames(0, session=session, run=SCAN.run)), wire.Ack)
        disk.fail(fault)
        try:
            for request in (
                volume_frames(1, session=session, run=SCAN.run),
                wire.encode(hello(session=session, run="another")),
                wire.encode(hello(session=f"{session}-another")),
                wire.encode(wire.EndRun(session=session, run=SCAN.run, n_volumes=4)),
            ):
                refused = peer.ask_frames(request)
                assert isinstance(refused, wire.Refused), refused
                assert (refused.code, refused.retryable) == ("storage", True), refused
            assert daemon.status().pid == daemon.process.pid
        finally:
            disk.repair()
    scan = Scan("beta", 4, session=session)
    assert decodes_of(sent(daemon, scan), scan) == oracle


@pytest.mark.parametrize("fault", ["fsync", "full"])
def test_a_scan_over_a_disk_that_fails_again_and_again_loses_nothing(daemon, disk, oracle, chance, fault):
    scan = Scan("beta", 4, session=f"again-{fault}")
    sender = Sender(int(daemon.addresses["ingest"].rsplit(":", 1)[1]), scan, timeout_s=0.3)
    assert sender.opened.wait(PATIENCE_S)
    with daemon.watch() as viewer:
        for _ in range(scan.n_volumes):
            disk.fail(fault)
            sender.release(1)
            # A heartbeat is a second: the client has sent the volume several times.
            viewer.receive()
            disk.repair()
            viewer.receive()
    sender.finish()
    daemon.wait_until(lambda status: status.n_waiting == 0 and status.n_decoded == scan.n_volumes + 1)
    decodes = [(message, b"".join(payload) or None) for message, payload in daemon.decodes()]
    assert decodes_of(decodes, scan) == oracle


def test_a_volume_that_was_refused_for_the_disk_is_there_once_when_it_is_sent_again_after_a_kill(daemon, disk, oracle):
    scan = Scan("beta", 4, session="killed")
    with daemon.connect("ingest") as peer:
        peer.ask(scan.hello())
        peer.ask_frames(volume_frames(0, session=scan.session, run=scan.run))
        disk.fail("fsync")
        assert peer.ask_frames(volume_frames(1, session=scan.session, run=scan.run)).code == "storage"
        disk.repair()
    daemon.kill()
    restart(daemon)
    with daemon.connect("ingest") as peer:
        # A failed flush does not say which bytes are on the disk: the volume may be there, and its resend a duplicate.
        assert peer.ask(scan.hello()).next_index in (1, 2)
    assert decodes_of(sent(daemon, scan), scan) == oracle


def fill(ballast):
    """Write a file until the disk is full."""
    with ballast.open("wb") as file, suppress(OSError):
        while True:
            os.write(file.fileno(), bytes(4096))


@pytest.fixture
def small_disk(tmp_path):
    """A real file system with little space."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", folder], capture_output=True, timeout=60
    )
    if mounted.returncode:
        pytest.skip("a file system of its own can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True, timeout=60)


def test_a_disk_that_fills_up_during_a_scan_is_an_answer_until_there_is_space(files, small_disk):
    daemon = RunningDaemon(files, small_disk)
    try:
        daemon.start(wait=False).wait_bound()
        ballast = small_disk / "ballast"
        with daemon.connect("ingest") as peer:
            peer.ask(hello())
            peer.ask_frames(volume_frames(0))
            fill(ballast)
            answers = [peer.ask_frames(volume_frames(1))]
            while isinstance(answers[-1], wire.Ack):
                # The last pages of the journal's own file may still have space.
                answers.append(peer.ask_frames(volume_frames(len(answers) + 1)))
            assert (answers[-1].code, answers[-1].retryable) == ("storage", True)
            assert daemon.status().pid == daemon.process.pid
            ballast.unlink()
            assert isinstance(peer.ask_frames(volume_frames(len(answers))), wire.Ack)
            assert peer.ask(hello()).next_index == len(answers) + 1
        # What was acked on the full disk is there after a kill.
        daemon.kill()
        restart(daemon)
        with daemon.connect("ingest") as peer:
            assert peer.ask(hello()).next_index == len(answers) + 1
    finally:
        daemon.close()


def test_a_disk_without_room_for_a_fits_arrays_is_an_error_that_names_the_file(small_disk):
    path = small_disk / "sums.npy"
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        new_memory_map(path, (TMPFS_BYTES + 1,), np.uint8)
    assert list(small_disk.iterdir()) == []
