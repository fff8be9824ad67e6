"""A scanner faster than the decoder: TR 0.2 s under both policies, for beta and BOLD."""

import time

import pytest
from running_daemon import RunningDaemon
from scans import Scan, Sender, Watch, all_of, decodes_of, free_ports, sent

from braind.client import wire

TR_S = 0.2
N_VOLUMES = 20
# A picture takes several TR.
SLOW = {"num_inference_steps": 25}


@pytest.fixture(scope="module", params=["latest", pytest.param("all", marks=pytest.mark.faults)])
def daemon(request, files, tmp_path_factory):
    ports = {**free_ports(), "policy": request.param}
    daemon = RunningDaemon(files, tmp_path_factory.mktemp(request.param), decode=SLOW, serve=ports)
    daemon.start()
    # The first decode warms caches up.
    sent(daemon, Scan("beta", 1, session="warm"))
    yield daemon
    daemon.close()


def paced(daemon, scan):
    """Send a scan at its pace; return what was heard of its session."""
    ports = daemon.settings["serve"]
    with Watch(ports["decodes_port"], ports["control_port"]) as watch:
        sender = Sender(ports["ingest_port"], scan)
        for _ in range(scan.n_volumes):
            began_s = time.monotonic()
            sender.release(1)
            # A scanner waits for nobody.
            time.sleep(max(0.0, TR_S - (time.monotonic() - began_s)))
        sender.finish()
        assert watch.until(all_of(scan)), daemon.words()
    return [(message, png) for message, png in watch.heard if message.session == scan.session]


@pytest.mark.parametrize("kind", ["beta", "bold"])
def test_a_scanner_that_is_too_fast_is_acked_and_each_volume_has_its_word(daemon, kind):
    policy = daemon.settings["serve"]["policy"]
    heard = paced(daemon, Scan(kind, N_VOLUMES, session=f"fast-{kind}"))
    messages = [message for message, _ in heard if message.run == "scan"]
    seqs = [message.seq for message, _ in heard]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert not [message for message in messages if isinstance(message, wire.Skipped) and message.failed]
    skipped = {message.index for message in messages if isinstance(message, wire.Skipped)}
    pictured = {message.index for message in messages if getattr(message, "stage", "") == "xzc"}
    status = daemon.status()
    # The scan's volumes and one more: each is acked.
    assert (status.n_acked, status.n_waiting) == (N_VOLUMES + 1, 0)
    if policy == "all":
        assert not skipped
    if kind == "beta":
        assert skipped | pictured == set(range(N_VOLUMES))
        assert not skipped & pictured
        # The newest volume of all always has its picture.
        assert heard[-1][0].stage == "xzc"
    else:
        events = {message.event for message in messages if isinstance(message, wire.Decode)}
        events |= {event for message in messages if isinstance(message, wire.Skipped) for event in message.events or ()}
        assert events == {onset.event for index in range(N_VOLUMES) for onset in Scan(kind, N_VOLUMES).onsets(index)}


def test_under_policy_all_a_fast_scan_is_decoded_as_a_slow_one(daemon):
    if daemon.settings["serve"]["policy"] != "all":
        pytest.skip("under policy latest a fast scan has fewer decodes")
    fast, slow = (Scan("bold", N_VOLUMES // 2, session=name) for name in ("fast", "slow"))
    heard = paced(daemon, fast)
    assert decodes_of(heard, fast) == decodes_of(sent(daemon, slow), slow)
