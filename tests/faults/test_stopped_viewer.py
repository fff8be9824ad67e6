"""A viewer that is stopped (SIGSTOP) while hundreds of messages are published ends with all of them, the last too."""

import json
import os
import signal
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from running_daemon import AFFINE, PATIENCE_S, SHAPE, RunningDaemon, hello

from braind.client import wire
from braind.daemon.journal.journal import Journal

N_MESSAGES = 330
PICTURE = bytes(2**18)
PROVENANCE = wire.Provenance(
    subject=1, preset="live-4", mode="zc", seed=1, engine="e", weights="w", ldm="l", simulated=True, version="0"
)
# Prints each message's number, the last after a heartbeat that says so; and what was lost.
VIEWER = """
import sys
from braind.client.subscriber import DecodeSubscriber
from braind.client.wire import Heartbeat

decodes_port, control_port, last_seq = map(int, sys.argv[1:])
with DecodeSubscriber("127.0.0.1", decodes_port, control_port) as subscriber:
    print("listening", flush=True)
    seqs = []
    while not seqs or seqs[-1] < last_seq:
        message = subscriber.receive().message
        if not isinstance(message, Heartbeat):
            seqs.append(message.seq)
    print([seqs, subscriber.n_lost])
"""


@pytest.fixture
def daemon(files, tmp_path):
    """A daemon that only records: nobody but the test journals decodes."""
    mask = np.zeros(SHAPE, np.uint8)
    mask.flat[files.weights.voxel_index] = 1
    nib.save(nib.Nifti1Image(mask, np.array(AFFINE)), tmp_path / "mask.nii.gz")
    daemon = RunningDaemon(files, tmp_path, mask=tmp_path / "mask.nii.gz")
    yield daemon.start()
    daemon.close()


@pytest.fixture
def journal(daemon):
    with daemon.connect("ingest") as scanner:
        assert isinstance(scanner.ask(hello()), wire.Welcome)
    journal = Journal(daemon.data_path / "journals" / "ses.sqlite3", wait_for_disk=False)
    yield journal
    journal.close()


@pytest.mark.timeout(180)
def test_a_viewer_that_was_stopped_gets_every_message_once_and_in_order_the_last_too(daemon, journal):
    ports = [daemon.addresses[name].rpartition(":")[2] for name in ("decodes", "control")]
    command = [sys.executable, "-c", VIEWER, *ports, str(N_MESSAGES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as viewer:
        try:
            assert viewer.stdout.readline() == b"listening\n"
            os.kill(viewer.pid, signal.SIGSTOP)
            for seq in range(1, N_MESSAGES + 1):
                named = {"session": "ses", "run": "run-01", "index": seq}
                decode = wire.Decode(seq=seq, stage="xzc", provenance=PROVENANCE, timings_s={}, **named)
                journal.add_decode(decode, PICTURE)
            daemon.wait_until(lambda status: status.last_seq == N_MESSAGES)
            os.kill(viewer.pid, signal.SIGCONT)
            seqs, n_lost = json.loads(viewer.communicate(timeout=PATIENCE_S)[0])
        finally:
            viewer.kill()
    assert seqs == list(range(1, N_MESSAGES + 1))
    assert n_lost == 0
