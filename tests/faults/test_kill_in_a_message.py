"""kill -9 of the front while it carries out `hello`, `end_run` and `use`: each is done whole, or not at all."""

import time

import pytest
from running_daemon import RunningDaemon, hello, random_weights, volume_frames
from scans import Scan, free_ports, restart

from braind.client import wire

FEW, MANY = 4, 50
N_VOLUMES = 2
# A message is carried out within this time; the kills are spread over it.
LONGEST_S = 0.012
AMOUNTS = [FEW, pytest.param(MANY, marks=[pytest.mark.faults, pytest.mark.timeout(900)])]


@pytest.fixture
def daemon(files, tmp_path):
    """A daemon at the same address after each restart. Its decoder may never finish loading."""
    daemon = RunningDaemon(files, tmp_path, decode={"mode": "z"}, serve=free_ports())
    yield daemon.start(wait=False).wait_bound()
    daemon.close()


def kill_within(daemon, name, message, delay_s):
    """Send a message and kill the front a moment later; start it again; return the answer, if one came before."""
    with daemon.connect(name) as peer:
        peer.send(message)
        time.sleep(delay_s)
        daemon.kill()
        answer = peer.receive() if peer.socket.poll(0) else None
    restart(daemon)
    return answer


def delays(chance, n_kills):
    return [chance.uniform(0, LONGEST_S) for _ in range(n_kills)]


@pytest.mark.parametrize("n_kills", AMOUNTS)
@pytest.mark.parametrize("kind", ["beta", "bold"])
def test_a_kill_within_hello_leaves_a_run_that_is_open_or_unknown(daemon, chance, kind, n_kills):
    for number, delay_s in enumerate(delays(chance, n_kills)):
        # A new session too: its file is made within the message.
        scan = Scan(kind, N_VOLUMES, session=f"session-{number}")
        answer = kill_within(daemon, "ingest", scan.hello(), delay_s)
        with daemon.connect("ingest") as peer:
            first = peer.ask_frames(volume_frames(0, session=scan.session, run=scan.run, scale=scan.scale))
            if answer is not None:
                assert isinstance(first, wire.Ack), (first, daemon.words())
            assert isinstance(peer.ask(scan.hello()), wire.Welcome), daemon.words()
            for index in range(N_VOLUMES):
                frames = volume_frames(index, session=scan.session, run=scan.run, scale=scan.scale)
                assert isinstance(peer.ask_frames(frames), wire.Ack)


@pytest.mark.parametrize("n_kills", AMOUNTS)
@pytest.mark.parametrize("kind", ["beta", "bold"])
def test_a_kill_within_end_run_leaves_a_run_that_is_open_or_ended(daemon, chance, kind, n_kills):
    for number, delay_s in enumerate(delays(chance, n_kills)):
        scan = Scan(kind, N_VOLUMES, run=f"run-{number}")
        with daemon.connect("ingest") as peer:
            assert isinstance(peer.ask(scan.hello()), wire.Welcome)
            for index in range(N_VOLUMES):
                peer.ask_frames(volume_frames(index, run=scan.run, scale=scan.scale))
        ending = wire.EndRun(session=scan.session, run=scan.run, n_volumes=N_VOLUMES)
        answer = kill_within(daemon, "ingest", ending, delay_s)
        with daemon.connect("ingest") as peer:
            again = peer.ask(ending)
            assert isinstance(again, wire.Ack), daemon.words()
            if answer is not None:
                assert again.duplicate
            late = peer.ask_frames(volume_frames(N_VOLUMES, run=scan.run, scale=scan.scale))
            assert late.code == "run_ended"


@pytest.mark.parametrize("n_kills", [2, pytest.param(MANY, marks=[pytest.mark.faults, pytest.mark.timeout(1500)])])
def test_a_kill_within_use_leaves_a_daemon_with_the_old_or_the_new_weights(files, tmp_path, daemon, chance, n_kills):
    other = tmp_path / "other.safetensors"
    weights = random_weights(files.ldm, seed=7)
    weights.save(other)
    known = {files.weights.fingerprint, weights.fingerprint}
    for number, delay_s in enumerate(delays(chance, n_kills)):
        path = chance.choice([other, files.weights_path])
        kill_within(daemon, "control", wire.Use(weights=str(path), candidates=str(files.candidates_path)), 8 * delay_s)
        status = daemon.status()
        assert status.weights in known
        with daemon.connect("ingest") as peer:
            welcome = peer.ask(hello(run=f"after-{number}"))
            assert isinstance(welcome, wire.Welcome), daemon.words()
            assert welcome.weights == status.weights
            assert isinstance(peer.ask(wire.EndRun(session="ses", run=f"after-{number}", n_volumes=0)), wire.Ack)
