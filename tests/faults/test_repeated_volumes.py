"""Volumes that come twice, with other bytes, not at all, out of order, broken, or with impossible shapes."""

import random
import threading
from zlib import crc32

import msgspec
import psutil
import pytest
import zmq
from mutations import header
from running_daemon import SHAPE, RunningDaemon, hello, values, volume_frames
from scans import Scan, decodes_of, sent

from braind.client import wire

DECODE = {"mode": "z"}
N_VOLUMES = 20
N_CONFLICTS = 10
HUGE = [
    [2**31, 2**31, 2**31], [2**31 - 1, 2**31 - 1, 1], [2**63 - 1, 2, 2], [2**21, 2**21, 2**22], [2**32, 2**32, 1],
    [0, 8, 9], [-7, 8, 9], [-7, -8, 9], [7 * 8 * 9, 1, 1], [9, 8, 7], [7, 8], [7, 8, 9, 1], [], [7.5, 8, 9],
]  # fmt: skip
MOST_GROWTH = 8 * 2**20


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("repeated"), decode=DECODE)
    yield daemon.start()
    daemon.close()


@pytest.fixture(scope="module")
def oracle(daemon):
    """The decodes of a scan without faults, by volume."""
    scan = Scan("beta", N_VOLUMES, session="undisturbed")
    return decodes_of(sent(daemon, scan), scan)


def volumes_decoded(daemon, session, n_volumes):
    """Return a session's decodes when all its volumes have one."""
    # Other sessions' volumes may wait too.
    daemon.wait_until(lambda status: status.n_waiting == 0)
    decodes = [(message, b"".join(payload) or None) for message, payload in daemon.decodes()]
    found = decodes_of(decodes, Scan("beta", n_volumes, session=session))
    assert len({key[1] for key in found}) == n_volumes
    return found


def expected(oracle, indices):
    return {key: one for key, one in oracle.items() if key[0] == "scan" and key[1] in indices}


def send_shuffled(daemon, session, messages, chance, answers):
    """Send messages from a socket of their own; the caller's list gets the answers."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(daemon.addresses["ingest"])
    socket.send_multipart(wire.encode(hello(session=session, run="scan")))
    socket.recv_multipart()
    for frames in chance.sample(messages, len(messages)):
        socket.send_multipart(frames)
    for _ in messages:
        answers.append(wire.decode(socket.recv_multipart())[0])
    socket.close(linger=0)
    context.term()


def from_two_sockets(daemon, session, messages, chance):
    """Send the same messages from two sockets at once, each in an order of its own; return all answers."""
    answers = []
    threads = [
        threading.Thread(target=send_shuffled, args=(daemon, session, messages, one, answers))
        for one in (random.Random(chance.random()), random.Random(chance.random()))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_volumes_sent_one_to_five_times_from_two_sockets_at_once_are_decoded_once(daemon, oracle, chance):
    times = [chance.randrange(1, 6) for _ in range(N_VOLUMES)]
    messages = [
        volume_frames(index, session="twice", run="scan") for index in range(N_VOLUMES) for _ in range(times[index])
    ]
    answers = from_two_sockets(daemon, "twice", messages, chance)
    assert len(answers) == 2 * sum(times)
    assert all(isinstance(answer, wire.Ack) for answer in answers)
    assert sum(not answer.duplicate for answer in answers) == N_VOLUMES
    # The order of arrival is not the oracle's; a beta's decode does not depend on it.
    assert volumes_decoded(daemon, "twice", N_VOLUMES) == expected(oracle, range(N_VOLUMES))


def test_of_two_volumes_under_one_index_the_first_is_kept_whatever_the_second_differs_in(daemon, oracle, chance):
    session = "conflicts"
    with daemon.connect("ingest") as peer:
        peer.ask(hello(session=session, run="scan"))
        for index in range(N_CONFLICTS):
            first = volume_frames(index, session=session, run="scan")
            assert isinstance(peer.ask_frames(first), wire.Ack)
            # One voxel that the decoder reads is enough.
            stored = values(index).copy()
            stored.flat[chance.choice(daemon.files.weights.voxel_index.tolist())] += 1
            second = volume_frames(index, session=session, run="scan", stored=stored)
            assert peer.ask_frames(second).code == "conflict"
            assert peer.ask_frames(first).duplicate
    assert volumes_decoded(daemon, session, N_CONFLICTS) == expected(oracle, range(N_CONFLICTS))


@pytest.mark.parametrize("missing", ["first", "last", "1 %", "3 %", "10 %"])
def test_missing_volumes_leave_the_others_decodes_as_they_are(daemon, oracle, chance, missing):
    session = f"missing-{missing[:-2] if missing.endswith('%') else missing}"
    if missing.endswith("%"):
        gone = set(chance.sample(range(N_VOLUMES), max(1, N_VOLUMES * int(missing[:-2]) // 100)))
    else:
        gone = {0 if missing == "first" else N_VOLUMES - 1}
    with daemon.connect("ingest") as peer:
        peer.ask(hello(session=session, run="scan"))
        for index in set(range(N_VOLUMES)) - gone:
            assert isinstance(peer.ask_frames(volume_frames(index, session=session, run="scan")), wire.Ack)
        assert peer.ask(hello(session=session, run="scan")).next_index == min(gone)
        ended = peer.ask(wire.EndRun(session=session, run="scan", n_volumes=N_VOLUMES))
        assert isinstance(ended, wire.Ack)
    kept = set(range(N_VOLUMES)) - gone
    assert volumes_decoded(daemon, session, len(kept)) == expected(oracle, kept)


@pytest.mark.parametrize("shape", HUGE, ids=str)
@pytest.mark.parametrize("dtype", ["int16", "float64"])
def test_a_volume_of_an_impossible_shape_is_refused_before_memory_is_taken(daemon, shape, dtype):
    before = psutil.Process(daemon.process.pid).memory_info().rss
    voxels = values(0).tobytes()
    volume = wire.Volume(session="shapes", run="scan", index=0, shape=SHAPE, dtype=dtype, crc32=crc32(voxels))
    with daemon.connect("ingest") as peer:
        peer.ask(hello(session="shapes", run="scan"))
        frames = [b"BRD1", msgspec.json.encode(header(volume, shape=shape)), voxels]
        assert peer.ask_frames(frames).code in ("shape", "malformed", "length")
        opening = msgspec.json.encode(header(hello(session="shapes", run="other"), shape=shape))
        assert peer.ask_frames([b"BRD1", opening]).code in ("shape", "malformed")
    assert psutil.Process(daemon.process.pid).memory_info().rss - before < MOST_GROWTH


@pytest.mark.parametrize("where", ["voxels", "checksum", "length"])
def test_a_volume_that_was_broken_on_its_way_is_refused_and_may_be_sent_again(daemon, oracle, chance, where):
    session = f"broken-{where}"
    with daemon.connect("ingest") as peer:
        peer.ask(hello(session=session, run="scan"))
        for index in range(4):
            frames = [bytearray(frame) for frame in volume_frames(index, session=session, run="scan")]
            if where == "voxels":
                frames[2][chance.randrange(len(frames[2]))] ^= 1 << chance.randrange(8)
            elif where == "length":
                del frames[2][-1 - chance.randrange(100) :]
            else:
                fields = msgspec.json.decode(frames[1])
                frames[1] = bytearray(msgspec.json.encode({**fields, "crc32": fields["crc32"] ^ 1}))
            refused = peer.ask_frames(list(map(bytes, frames)))
            assert refused.code == ("length" if where == "length" else "crc")
            assert refused.retryable == (where != "length")
            assert isinstance(peer.ask_frames(volume_frames(index, session=session, run="scan")), wire.Ack)
    assert volumes_decoded(daemon, session, 4) == expected(oracle, range(4))


def test_volumes_of_two_runs_that_come_mixed_stay_apart(daemon, oracle, chance):
    order = [(run, index) for run in ("scan", "other") for index in range(6)]
    chance.shuffle(order)
    with daemon.connect("ingest") as first, daemon.connect("ingest") as second:
        peers = {"scan": first, "other": second}
        for run, peer in peers.items():
            peer.ask(hello(session="mixed", run=run))
        for run, index in order:
            number = index if run == "scan" else index + 6
            frames = volume_frames(index, number=number, session="mixed", run=run)
            assert isinstance(peers[run].ask_frames(frames), wire.Ack)
    daemon.wait_until(lambda status: status.n_waiting == 0)
    pictures = {
        (m.run, m.index): payload for m, payload in daemon.decodes() if m.session == "mixed" and m.stage == "xz"
    }
    wanted = {key[1]: png for key, (_, png) in oracle.items() if key[0] == "scan" and key[4] == "xz"}
    assert {index: pictures["scan", index][0] for index in range(6)} == {index: wanted[index] for index in range(6)}
    assert {index: pictures["other", index][0] for index in range(6)} == {i: wanted[i + 6] for i in range(6)}
