"""What a scanner's client does when the daemon is late, refuses, forgets or is another program."""

import asyncio
import threading

import numpy as np
import pytest
import zmq

from braind.client import resending, wire
from braind.client.connection import NoDaemonError, RefusedByDaemon
from braind.client.scanner import Onset, ScannerClient, ScannerError
from braind.client.scanner_async import AsyncScannerClient


def voxels(index):
    return np.full((4, 5, 6), index, np.int16)


@pytest.fixture
def client(daemon):
    with ScannerClient(port=daemon.ingest_port, timeout_s=0.2, give_up_s=10) as client:
        yield client


def intercept(daemon, kind, answer):
    """Let `answer` take messages of a kind; what it gives None for is answered as usual."""
    take = daemon._take

    def taken(message, payload):
        return (isinstance(message, kind) and answer(message)) or take(message, payload)

    daemon._take = taken


def test_the_grid_is_asked_for_before_a_run_and_in_one(daemon, client, hello):
    assert client.grid().shape == hello.shape
    client.open_run(hello)
    client.send_nowait(voxels(0), 0)
    assert client.grid().affine == hello.affine
    # the answer to the volume was not lost in the answer to the question
    assert [answer.index for answer in client.wait_answers()] == [0]


def test_a_daemon_without_weights_refuses_the_grid_in_its_own_words(daemon, client):
    intercept(daemon, wire.GridRequest, lambda _: wire.Refused(code="no_weights", sentence="only recording"))
    with pytest.raises(RefusedByDaemon, match="only recording") as refused:
        client.grid()
    assert refused.value.code == "no_weights"


def test_without_a_daemon_the_grid_is_not_waited_for_for_ever():
    with (
        ScannerClient(port=1, timeout_s=0.05) as client,
        pytest.raises(NoDaemonError, match="no answer to GridRequest"),
    ):
        client.grid()


@pytest.mark.parametrize("frames", [[b"HTTP/1.1 400 Bad Request"], [b"BRD1", b"{"], [b"BRD2", b"{}"]])
def test_another_programs_answer_is_named(frames):
    context = zmq.Context()
    stranger = context.socket(zmq.ROUTER)
    port = stranger.bind_to_random_port("tcp://127.0.0.1")

    def answer():
        sender, *_ = stranger.recv_multipart()
        stranger.send_multipart([sender, *frames])

    answering = threading.Thread(target=answer)
    answering.start()
    with (
        ScannerClient(port=port, timeout_s=5) as client,
        pytest.raises(ScannerError, match=f"127.0.0.1:{port} does not speak braind's protocol"),
    ):
        client.grid()
    answering.join()
    context.destroy(linger=0)


def test_a_run_that_cannot_be_opened_yet_is_opened_when_it_can(daemon, client, hello):
    waits = [wire.Refused(code="starting", sentence="warming up", retryable=True) for _ in range(2)]
    intercept(daemon, wire.Hello, lambda _: waits.pop() if waits else None)
    assert client.open_run(hello).next_index == 0
    assert daemon.n_hellos == 1


def test_a_run_that_stays_closed_for_now_is_given_up_with_the_daemons_words(daemon, hello):
    intercept(daemon, wire.Hello, lambda _: wire.Refused(code="storage", sentence="disk full", retryable=True))
    with ScannerClient(port=daemon.ingest_port, timeout_s=0.1, give_up_s=0.5) as client:
        with pytest.raises(RefusedByDaemon, match="disk full"):
            client.open_run(hello)
        with pytest.raises(ScannerError, match="no run is open"):
            client.end_run(0)


def test_a_volume_that_is_refused_for_now_for_too_long_is_refused(daemon, hello):
    intercept(
        daemon,
        wire.Volume,
        lambda message: wire.Refused(code="storage", sentence="disk full", index=message.index, retryable=True),
    )
    with ScannerClient(port=daemon.ingest_port, timeout_s=0.2, give_up_s=0.4) as client:
        client.open_run(hello)
        with pytest.raises((RefusedByDaemon, NoDaemonError)):
            client.send_volume(voxels(0), 0)


def test_a_refusal_without_an_index_is_the_oldest_messages(daemon, client, hello):
    client.open_run(hello)
    intercept(daemon, wire.Volume, lambda m: wire.Refused(code="malformed", sentence="no header") if m.trial else None)
    client.send_nowait(voxels(0), 0, trial=9)
    answers = client.wait_answers()
    assert [(type(answer), getattr(answer, "code", "")) for answer in answers] == [(wire.Refused, "malformed")]
    assert client.send_volume(voxels(1), 1).index == 1


def test_the_end_of_a_run_with_holes_is_refused_in_the_daemons_words(daemon, client, hello):
    client.open_run(hello)
    client.send_volume(voxels(0), 0)
    intercept(daemon, wire.EndRun, lambda _: wire.Refused(code="missing", sentence="volumes 1 to 4 are missing"))
    with pytest.raises(RefusedByDaemon, match="volumes 1 to 4 are missing"):
        client.end_run(5)


def test_the_end_of_a_run_whose_ack_is_lost_is_said_again(daemon, client, hello):
    client.open_run(hello)
    lost = []
    answer_to_end = daemon._take

    def lose_one(message, payload):
        answer = answer_to_end(message, payload)
        if isinstance(message, wire.EndRun) and not lost:
            lost.append(message)
            return None
        return answer

    daemon._take = lose_one
    assert client.end_run(0).of == "end_run"
    assert daemon.order.count(("end_run", 0)) == 2


def test_an_ack_of_another_run_is_no_answer(daemon, client, hello):
    client.open_run(hello)
    stray = [wire.Ack(session="s", run="run-99", index=0)]
    intercept(daemon, wire.Volume, lambda _: stray.pop() if stray else None)
    assert client.send_volume(voxels(0), 0).run == "run-01"
    assert list(daemon.volumes) == [("s", "run-01", 0)]


def test_the_window_bounds_what_has_no_answer(daemon, hello, monkeypatch):
    with ScannerClient(port=daemon.ingest_port, timeout_s=5, window=3) as client:
        client.open_run(hello)
        found = [client.send_nowait(voxels(index), index) for index in range(10)]
        assert client._connection.n_unanswered < 3
        assert sum(map(len, found)) >= 7
        assert len(client.wait_answers()) + sum(map(len, found)) == 10
        assert client.wait_answers() == []


def test_a_second_run_through_the_same_client_has_answers_of_its_own(daemon, client, hello):
    first = client.open_run(hello)
    first.send(voxels(0))
    first.end()
    second = client.open_run(session="s", run="run-02", **{
        name: getattr(hello, name) for name in ("subject", "kind", "shape", "affine", "tr_s", "dtype")
    })  # fmt: skip
    assert second.next_index == 0
    assert second.send(voxels(5)).run == "run-02"
    assert daemon.ended == {"run-01": 1}


def test_a_volume_may_be_numbered_by_the_caller_and_the_count_goes_on_from_the_highest(daemon, client, hello):
    run = client.open_run(hello)
    run.send(voxels(4), index=4)
    run.send(voxels(2), index=2)
    assert run.next_index == 5
    run.end(7)
    assert daemon.ended == {"run-01": 7}


@pytest.mark.parametrize(
    ("address", "where"),
    [("tcp://127.0.0.1:7001", ("127.0.0.1", 7001)), ("tcp://[::1]:7001", ("::1", 7001)), ("scanner-pc", None)],
)
def test_an_address_is_a_host_with_or_without_a_port(address, where):
    with ScannerClient(address, 5599) as client:
        assert (client.host, client.port) == (where or ("scanner-pc", 5599))


def test_an_ipv6_daemon_is_reached(hello):
    context = zmq.Context()
    context.setsockopt(zmq.IPV6, 1)
    router = context.socket(zmq.ROUTER)
    try:
        port = router.bind_to_random_port("tcp://[::1]")
    except zmq.ZMQError:
        context.destroy(linger=0)
        pytest.skip("this machine has no IPv6 loopback")

    def answer():
        sender, *_ = router.recv_multipart()
        grid = wire.Grid(subject=1, kind="beta", shape=hello.shape, affine=hello.affine, weights="w")
        router.send_multipart([sender, *wire.encode(grid)])

    answering = threading.Thread(target=answer)
    answering.start()
    with ScannerClient(f"tcp://[::1]:{port}", timeout_s=5) as client:
        assert client.grid().shape == hello.shape
    answering.join()
    context.destroy(linger=0)


def test_an_onset_brings_its_picture_and_its_names(daemon, client, hello):
    run = client.open_run(hello)
    run.send_onset(Onset(2, 1.5, duration_s=2.0, seen_png=b"\x89PNG", shown={"right": 7, "foil": "a crab"}))
    event = daemon.events["s", "run-01", 2]
    assert (event.onset_s, event.duration_s, event.seen, event.right, event.foil) == (1.5, 2.0, True, 7, "a crab")


def test_the_asyncio_form_raises_what_the_blocking_one_raises(daemon, hello):
    daemon.refuse[1] = wire.Refused(code="shape", sentence="wrong", session="s", run="run-01", index=1)

    async def stream():
        async with AsyncScannerClient(port=daemon.ingest_port, timeout_s=1) as client:
            run = await client.open_run(hello)
            await run.send(voxels(0), onsets=[Onset(0, 0.1)])
            await run.send_onset(Onset(1, 4.5))
            with pytest.raises(RefusedByDaemon, match="wrong"):
                await run.send(voxels(1))
            with pytest.raises(ScannerError, match="send X, Y, Z"):
                await run.send(np.zeros((2, 2), np.int16))
            await run.end(1)

    asyncio.run(stream())
    assert daemon.order == [("event", 0), ("volume", 0), ("event", 1), ("end_run", 1)]


def test_a_lost_connection_is_made_again_with_ever_longer_patience(daemon, hello, monkeypatch):
    patiences = []
    greet = resending.ResendingConnection._greet

    def noted(connection, timeout_s):
        patiences.append(timeout_s)
        return greet(connection, timeout_s)

    monkeypatch.setattr(resending.ResendingConnection, "_greet", noted)
    with ScannerClient(port=daemon.ingest_port, timeout_s=0.05, give_up_s=1.0) as client:
        client.open_run(hello)
        patiences.clear()
        daemon.stop()
        with pytest.raises(NoDaemonError):
            client.send_volume(voxels(0), 0)
        daemon.start()
    grown = [patience for patience in patiences[:-1] if patience]
    assert grown == sorted(grown)
    assert grown[-1] > grown[0]
