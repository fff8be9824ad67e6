import signal
import subprocess
import sys

import pytest

from braind.client.address import AddressError
from braind.client.endpoints import Endpoints
from braind.tui.app import run_monitor

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
    assert plain_monitor.stdout.readline() == "run\tvolume\tretrieved\tscore\tlatency_ms\n"
    assert plain_monitor.stderr.readline() == f"listening at {daemon.decodes_endpoint}\n"
    daemon.decode(0, label="a red\tfox\x1b[2J")
    daemon.skip(1)
    daemon.decode(2)
    daemon.skip(3, "failed: out of memory", failed=True)
    daemon.miss(31, 3)
    assert plain_monitor.stdout.readline() == "sub-01_ses-14_run-03\t0\ta red fox [2J.0\t0.900\t400\n"
    assert plain_monitor.stdout.readline() == "sub-01_ses-14_run-03\t2\tpicture 2.0\t0.900\t402\n"
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
