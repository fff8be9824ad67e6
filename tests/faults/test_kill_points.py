"""kill -9 at random instants of a scan: of the front, of the decoder, of both. Scanner client and viewer live on."""

import time
from dataclasses import dataclass

import pytest
from running_daemon import PATIENCE_S, RunningDaemon
from scans import Scan, Sender, Watch, all_of, decodes_of, free_ports, restart, undisturbed

from braind.client import wire

FEW, MANY = 2, 50
VOLUMES_A_KILL = 4
# A BOLD run's first trial is decoded from its sixth volume on.
LEAD = 12
LONGEST_WAIT_S = 0.03
DECODE = {"num_inference_steps": 2}


@dataclass(frozen=True)
class Victim:
    """Which processes die."""

    name: str

    def kill(self, daemon):
        if self.name == "decoder":
            daemon.decoder.kill()
            return
        decoder = daemon.decoder
        if self.name == "both":
            daemon.kill()
        else:
            daemon.process.kill()
            daemon.process.wait(PATIENCE_S)
        # the decoder holds the data folder's lock while it lives
        decoder.wait(PATIENCE_S)

    def revive(self, daemon, acked, scan):
        if self.name == "decoder":
            return
        restart(daemon)
        if acked:
            with daemon.connect("ingest") as peer:
                assert peer.ask(scan.hello()).next_index > max(acked)


@pytest.fixture(scope="module")
def oracle(files, tmp_path_factory):
    """What an undisturbed daemon decodes of a scan; made once for each scan."""
    made = {}

    def decodes_of_scan(scan):
        if scan not in made:
            made[scan] = undisturbed(files, tmp_path_factory.mktemp("undisturbed"), scan, decode=DECODE)
        return made[scan]

    return decodes_of_scan


def disturbed(files, folder, scan, victim, chance, n_kills):
    """Kill a victim `n_kills` times during a scan; return what a viewer has heard of it."""
    ports = free_ports()
    daemon = RunningDaemon(files, folder, decode=DECODE, serve=ports)
    try:
        daemon.start(wait=False).wait_bound()
        with Watch(ports["decodes_port"], ports["control_port"]) as watch:
            sender = Sender(ports["ingest_port"], scan, timeout_s=0.5)
            sender.release(LEAD)
            for _ in range(n_kills):
                n_heard = len(watch.volumes())
                sender.release(VOLUMES_A_KILL)
                # A volume that kills two decoders is passed over: two decoders must not die over the same volume.
                if victim.name == "decoder" or chance.random() < 0.5:
                    assert watch.until(lambda _, n=n_heard: len(watch.volumes()) >= n + 2), daemon.words()
                time.sleep(chance.uniform(0, LONGEST_WAIT_S))
                acked = set(sender.acked)
                victim.kill(daemon)
                victim.revive(daemon, acked, scan)
            sender.finish()
            assert watch.until(all_of(scan)), daemon.words()
        assert watch.n_lost == 0
        return watch.heard
    finally:
        daemon.close()


def assert_nothing_lost(heard, scan, expected):
    seqs = [message.seq for message, _ in heard]
    assert seqs == list(range(1, len(heard) + 1))
    assert not [message for message, _ in heard if isinstance(message, wire.Skipped)]
    assert decodes_of(heard, scan) == expected


def test_a_scan_with_a_few_kills_is_decoded_as_one_that_nothing_disturbed(files, tmp_path, chance, oracle):
    scan = Scan("bold", LEAD + FEW * VOLUMES_A_KILL)
    heard = disturbed(files, tmp_path, scan, Victim("both"), chance, FEW)
    assert_nothing_lost(heard, scan, oracle(scan))


@pytest.mark.faults
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("kind", ["beta", "bold"])
@pytest.mark.parametrize("victim", ["front", "decoder", "both"])
def test_a_scan_with_many_kills_is_decoded_as_one_that_nothing_disturbed(files, tmp_path, chance, oracle, victim, kind):
    scan = Scan(kind, LEAD + MANY * VOLUMES_A_KILL)
    heard = disturbed(files, tmp_path, scan, Victim(victim), chance, MANY)
    assert_nothing_lost(heard, scan, oracle(scan))
