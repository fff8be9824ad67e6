import signal
import subprocess
import sys

import pytest

from braind.client import wire
from braind.client.address import AddressError
from braind.client.endpoints import Endpoints
from braind.tui.app import run_monitor
from braind.tui.plain import HEADER

PROGRAM = """
import sys
from braind.client.endpoints import Endpoints
from braind.tui.app import run_monitor
sys.exit(run_monitor(Endpoints(ingest=sys.argv[2], decodes=sys.argv[1], control=sys.argv[2]), plain=True))
"""


@pytest.fixture
def plain_monitor(daemon):
    """A process that writes the daemon's decodes, ready to hear them."""
    command = [sys.executable, "-c", PROGRAM, daemon.decodes_endpoint, daemon.control_endpoint]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        daemon.wait_for_viewer()
        yield process
        process.kill()


def test_plain_writes_one_line_a_decode_until_interrupted(daemon, plain_monitor):
    assert plain_monitor.stdout.readline() == "\t".join(HEADER) + "\n"
    assert HEADER[:5] == ("run", "volume", "retrieved", "score", "latency_ms")
    assert plain_monitor.stderr.readline() == f"listening at {daemon.decodes_endpoint}\n"
    daemon.decode(0, label="a red\tfox\x1b[2J")
    daemon.skip(1)
    daemon.decode(2)
    daemon.skip(3, "failed: out of memory", failed=True)
    daemon.miss(31, 3)
    assert plain_monitor.stdout.readline() == "sub-01_ses-14_run-03\t0\ta red fox [2J.0\t0.900\t400\t\t\t1\t\t\t\t\n"
    assert plain_monitor.stdout.readline() == "sub-01_ses-14_run-03\t2\tpicture 2.0\t0.900\t402\t\t\t1\t\t\t\t\n"
    assert plain_monitor.stderr.readline() == "run sub-01_ses-14_run-03, volume 1: skipped, behind\n"
    assert plain_monitor.stderr.readline() == "run sub-01_ses-14_run-03, volume 3: failed, out of memory\n"
    assert plain_monitor.stderr.readline() == "run sub-01_ses-14_run-03: volumes 31–33 missing\n"
    plain_monitor.send_signal(signal.SIGINT)
    assert plain_monitor.wait(20) == 130
    assert plain_monitor.stderr.read() == ""


def test_plain_says_once_that_no_volume_comes_and_nothing_while_paused(daemon, plain_monitor):
    plain_monitor.stderr.readline()
    daemon.heartbeat(state="paused", stalled_s=4.2)
    for stalled_s in (3.2, 4.2, None, 5.0):
        daemon.heartbeat(stalled_s=stalled_s)
    run = "sub-01_ses-14_run-03"
    assert plain_monitor.stderr.readline() == f"run {run}: no volume for 3.2 s\n"
    assert plain_monitor.stderr.readline() == f"run {run}: no volume for 5.0 s\n"


def test_plain_writes_the_classes_of_a_block_at_every_tr_and_of_hostile_names_only_text(daemon, plain_monitor):
    plain_monitor.stdout.readline()
    daemon.classify(4, {"face": 0.7, "a\t[b]\x1b[2J": 0.3}, "face", event=1, since_onset_s=5.0, is_final=False)
    daemon.classify(5, {"face": 0.2, "cat": 0.8}, "dog", "zc", event=2, since_onset_s=7.5, is_final=False)
    daemon.classify(14, {"face": 0.4, "cat": 0.6}, event=1, since_onset_s=30.5)
    run = "sub-01_ses-14_run-03"
    lines = [plain_monitor.stdout.readline() for _ in range(3)]
    assert lines[0] == f"{run}\t4\t\t\t9\t1\t5.000\t0\tface\tface\t0.7000\tface 0.7000; a [b] [2J 0.3000\n"
    assert lines[1] == f"{run}\t5\t\t\t\t2\t7.500\t0\tdog\tcat\t0.8000\tcat 0.8000; face 0.2000\n"
    assert lines[2] == f"{run}\t14\t\t\t9\t1\t30.500\t1\t\tcat\t0.6000\tcat 0.6000; face 0.4000\n"


def test_plain_says_voxels_without_signal_once_a_run(daemon, plain_monitor):
    plain_monitor.stderr.readline()
    for n_without_signal in (None, 0, 412, 412):
        daemon.heartbeat(n_without_signal=n_without_signal)
    daemon.classify(4, {"face": 0.7, "cat": 0.3}, n_without_signal=412)
    daemon.heartbeat(n_without_signal=412)
    daemon.publish(wire.Decode(
        seq=2, session="s", run="next", index=0, stage="scores", provenance=daemon.provenance, timings_s={},
        n_without_signal=1,
    ))  # fmt: skip
    words = "of the weights' voxels have no signal; they count as the training mean"
    assert plain_monitor.stderr.readline() == f"run sub-01_ses-14_run-03: 412 {words}\n"
    assert plain_monitor.stderr.readline() == f"run next: 1 {words.replace('have', 'has')}\n"


def test_plain_ends_quietly_when_its_reader_has_enough(daemon, plain_monitor):
    plain_monitor.stdout.readline()
    plain_monitor.stdout.close()
    daemon.decode(0)
    assert plain_monitor.wait(20) == 0
    assert plain_monitor.stderr.read() == f"listening at {daemon.decodes_endpoint}\n"


@pytest.mark.parametrize("plain", [True, False])
def test_a_wrong_address_is_refused_before_anything_is_drawn(plain):
    with pytest.raises(AddressError, match="give HOST:PORT"):
        run_monitor(Endpoints(ingest="tcp://a:1", decodes="localhost", control="tcp://localhost:1"), plain=plain)
