"""Viewers that read slowly, not at all or are stopped: decodes go on, and who comes back has everything."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
import zmq
from chaos_proxy import ChaosProxy
from running_daemon import PATIENCE_S, RunningDaemon
from scans import Scan, Sender, Watch, all_of, decodes_of, free_ports

N_VIEWERS = 8
N_VOLUMES = 40
MOST_GROWTH = 64 * 2**20
DECODE = {"mode": "z"}
STOPPABLE = """
import sys
from braind.client.subscriber import DecodeSubscriber
with DecodeSubscriber(decodes_port=int(sys.argv[1]), control_port=int(sys.argv[2]), history=10**9) as subscriber:
    print("listening", flush=True)
    for received in subscriber:
        seq = getattr(received.message, "seq", None)
        if seq is not None:
            print(seq, flush=True)
"""


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("viewers"), decode=DECODE, serve=free_ports())
    yield daemon.start()
    daemon.close()


@pytest.fixture
def never_reading(daemon):
    """Viewers that subscribe and read nothing more."""

    context = zmq.Context()
    viewers = []
    for _ in range(N_VIEWERS):
        viewer = context.socket(zmq.SUB)
        viewer.rcvhwm = 1
        viewer.connect(daemon.addresses["decodes"])
        viewer.subscribe(b"")
        assert viewer.poll(PATIENCE_S * 1000)
        viewers.append(viewer)
    yield viewers
    for viewer in viewers:
        viewer.close(linger=0)
    context.term()


def scan_with_a_good_viewer(daemon, session):
    """Send a scan while a good viewer listens; assert that it has every message once."""
    ports, scan = daemon.settings["serve"], Scan("beta", N_VOLUMES, session=session)
    with Watch(ports["decodes_port"], ports["control_port"]) as watch:
        Sender(ports["ingest_port"], scan).finish()
        assert watch.until(all_of(scan)), daemon.words()
    assert watch.n_lost == 0
    assert [message.seq for message, _ in watch.heard] == list(range(1, len(watch.heard) + 1))
    assert len(decodes_of(watch.heard, scan)) == 2 * (N_VOLUMES + 1)


def test_eight_viewers_that_read_nothing_cost_no_message_and_little_memory(daemon, never_reading):
    scan_with_a_good_viewer(daemon, "warm")
    before = psutil.Process(daemon.process.pid).memory_info().rss
    scan_with_a_good_viewer(daemon, "never")
    assert psutil.Process(daemon.process.pid).memory_info().rss - before < MOST_GROWTH


def test_viewers_behind_a_slow_line_cost_no_message(daemon):
    with ChaosProxy(daemon.addresses["decodes"]) as proxy:
        # A viewer's own bytes dribble; those of the daemon wait half a second each time.
        proxy.delay_s, proxy.bytes_per_s = 0.5, 50
        with Watch(proxy.port, daemon.settings["serve"]["control_port"]):
            scan_with_a_good_viewer(daemon, "slow-line")
        assert proxy.n_connections


@pytest.mark.parametrize("n_viewers", [1, pytest.param(N_VIEWERS, marks=pytest.mark.faults)])
def test_a_stopped_viewer_that_goes_on_ends_with_every_message_once(daemon, n_viewers):
    ports = daemon.settings["serve"]
    command = [sys.executable, "-c", STOPPABLE, str(ports["decodes_port"]), str(ports["control_port"])]
    viewers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(n_viewers)]
    try:
        for viewer in viewers:
            assert viewer.stdout.readline() == "listening\n"
            os.kill(viewer.pid, signal.SIGSTOP)
        scan_with_a_good_viewer(daemon, f"stopped-{n_viewers}")
        last = daemon.status().last_seq
        for viewer in viewers:
            os.kill(viewer.pid, signal.SIGCONT)
        for viewer in viewers:
            seqs = [int(viewer.stdout.readline())]
            while seqs[-1] < last:
                seqs.append(int(viewer.stdout.readline()))
            assert seqs == list(range(1, last + 1))
    finally:
        for viewer in viewers:
            viewer.kill()
            viewer.wait()
            viewer.stdout.close()
