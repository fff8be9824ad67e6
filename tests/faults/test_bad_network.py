"""A network that delays, dribbles, cuts, resets and swallows, between real clients and the daemon."""

import time

import pytest
from chaos_proxy import ChaosProxy
from running_daemon import PATIENCE_S, RunningDaemon
from scans import Scan, Sender, Watch, all_of, decodes_of, sent

from braind.client.clock import ClockOffset
from braind.client.scanner import NoDaemonError, ScannerClient

N_VOLUMES = 12
DECODE = {"mode": "z"}
SHORT_S = 0.3
SCAN = Scan("bold", N_VOLUMES)


def slow_down(proxy, chance):
    proxy.delay_s = 0.05


def dribble(proxy, chance):
    # A volume of 1,008 bytes takes as long as the client waits for its answer.
    proxy.bytes_per_s = 4000


def cut(proxy, chance):
    # Anywhere: within the greeting of ZeroMQ, a header or the voxels.
    proxy.n_bytes_left = chance.randrange(1, 3000)


def reset(proxy, chance):
    proxy.reset()


def swallow(proxy, chance):
    proxy.is_black_hole = True


def half_open(proxy, chance):
    proxy.is_half_open = True


def repair(proxy):
    proxy.delay_s, proxy.bytes_per_s, proxy.n_bytes_left = 0.0, None, None
    proxy.is_black_hole = proxy.is_half_open = False


FAULTS = [slow_down, dribble, cut, reset, swallow, half_open]


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("network"), decode=DECODE)
    yield daemon.start()
    daemon.close()


@pytest.fixture(scope="module")
def oracle(daemon):
    return decodes_of(sent(daemon, SCAN), SCAN)


@pytest.fixture
def proxies(daemon):
    with ChaosProxy(daemon.addresses["ingest"]) as ingest, ChaosProxy(daemon.addresses["decodes"]) as decodes:
        yield ingest, decodes


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_scan_through_a_bad_network_is_decoded_as_one_that_nothing_disturbed(daemon, proxies, oracle, chance, fault):
    scan = Scan("bold", N_VOLUMES, session=fault.__name__)
    ingest, decodes = proxies
    control_port = int(daemon.addresses["control"].rsplit(":", 1)[1])
    with Watch(decodes.port, control_port) as watch:
        sender = Sender(ingest.port, scan, timeout_s=SHORT_S)
        # A client that has never met the daemon gives up soon, so that a wrong address is said at once.
        assert sender.opened.wait(PATIENCE_S)
        for _ in range(N_VOLUMES // 4):
            sender.release(2)
            for proxy in proxies:
                fault(proxy, chance)
            sender.release(2)
            time.sleep(SHORT_S)
            for proxy in proxies:
                repair(proxy)
        sender.finish()
        assert watch.until(all_of(scan)), daemon.words()
    assert watch.n_lost == 0
    seqs = [message.seq for message, _ in watch.heard]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert decodes_of(watch.heard, scan) == oracle


@pytest.mark.faults
def test_a_volume_that_is_cut_after_any_number_of_bytes_is_decoded_once(daemon, oracle, chance):
    scan = Scan("beta", 60, session="cut-everywhere")
    with ChaosProxy(daemon.addresses["ingest"]) as proxy:
        sender = Sender(proxy.port, scan, timeout_s=SHORT_S)
        assert sender.opened.wait(PATIENCE_S)
        for n_bytes in range(0, 3000, 50):
            proxy.n_bytes_left = n_bytes + 1 + chance.randrange(50)
            sender.release(1)
            deadline = time.monotonic() + PATIENCE_S
            while len(sender.acked) <= n_bytes // 50:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            proxy.n_bytes_left = None
        sender.finish()
    daemon.wait_until(lambda status: status.n_waiting == 0)
    decodes = decodes_of([(message, b"".join(payload)) for message, payload in daemon.decodes()], scan)
    assert {index for run, index, *_ in decodes if run == scan.run} == set(range(60))


def test_a_network_that_swallows_everything_is_said_within_the_clients_patience(daemon):
    with ChaosProxy(daemon.addresses["ingest"]) as proxy:
        proxy.is_black_hole = True
        with ScannerClient(port=proxy.port, timeout_s=SHORT_S) as client, pytest.raises(NoDaemonError):
            client.open_run(SCAN.hello())


def test_a_slow_network_is_part_of_the_uncertainty_of_the_clients_clock(daemon):
    with ChaosProxy(daemon.addresses["ingest"]) as proxy:
        proxy.delay_s = 0.05
        with ScannerClient(port=proxy.port) as client:
            client.open_run(Scan("beta", 1, session="clock").hello())
            offset = client.clock_offset
    assert isinstance(offset, ClockOffset)
    assert abs(offset.offset_s) <= offset.uncertainty_s
    assert offset.uncertainty_s >= 0.05
