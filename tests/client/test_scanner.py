"""A scanner's client against a daemon that loses answers, refuses and restarts."""

import asyncio
import time

import numpy as np
import pytest

from braind.client import wire
from braind.client.connection import NoDaemonError, RefusedByDaemon
from braind.client.scanner import Onset, ScannerClient, ScannerError
from braind.client.scanner_async import AsyncScannerClient


def voxels(index):
    return np.random.default_rng(index).integers(-30000, 30000, (4, 5, 6)).astype(np.int16)


@pytest.fixture
def client(daemon):
    with ScannerClient(port=daemon.ingest_port, timeout_s=0.3, give_up_s=10) as client:
        yield client


def test_a_volume_arrives_as_sent(daemon, client, hello):
    assert client.open_run(hello).next_index == 0
    ack = client.send_volume(voxels(0), 0, scale=1 / 300, trial=7, nsd_id=123, seen_png=b"\x89PNG\r\n\x1a\n")
    assert (ack.run, ack.index, ack.duplicate) == ("run-01", 0, False)
    np.testing.assert_array_equal(daemon.volumes["s", "run-01", 0], voxels(0))
    header = daemon.headers["s", "run-01", 0]
    assert (header.trial, header.nsd_id, header.seen) == (7, 123, True)
    assert header.sent_s == pytest.approx(time.time(), abs=60)


def test_numpys_arrays_and_numbers_are_taken_where_an_image_gives_them(daemon, client):
    affine = np.diag([1.8, 1.8, 1.8, 1.0]).astype(np.float32)
    run = client.open_run(
        session="s", run="numpy", subject=np.int64(1), kind="bold", shape=np.array([4, 5, 6]), affine=affine,
        tr_s=np.float32(1.5), dtype=voxels(0).dtype, simulated=np.bool_(True),
    )  # fmt: skip
    onset = Onset(np.int64(0), np.float32(0.5), np.float32(3), shown={"trial": np.int64(3), "nsd_id": np.uint16(9)})
    moved = np.zeros(6, np.float32)
    run.send(voxels(0), index=np.int64(0), onsets=[onset], scale=np.float32(0.5), motion=moved, roi_values=moved[:2])
    hello, header = daemon.hellos["s", "numpy"], daemon.headers["s", "numpy", 0]
    assert (hello.affine, hello.shape) == (tuple(map(tuple, affine.tolist())), (4, 5, 6))
    assert (hello.subject, hello.tr_s, hello.dtype, hello.simulated) == (1, 1.5, "int16", True)
    assert (header.scale, header.motion, header.roi_values) == (0.5, (0.0,) * 6, (0.0, 0.0))
    event = daemon.events["s", "numpy", 0]
    assert (event.onset_s, event.duration_s, event.trial, event.nsd_id) == (0.5, 3.0, 3, 9)


def test_a_field_that_no_header_can_hold_is_named(client):
    with pytest.raises(wire.WireError, match="a header field holds .*, a object; give numbers, text or numpy arrays"):
        client.open_run(
            session="s", run="r", subject=1, kind="bold", shape=(4, 5, 6), affine=object(), tr_s=1.5, dtype=np.int16
        )


def test_the_daemons_clock_is_measured_and_told_to_it_with_an_uncertainty_that_holds(
    daemon, client, hello, monkeypatch
):
    daemon.clock_ahead_s = 3600.0
    assert client.clock_offset is None
    run = client.open_run(hello)
    offset_s, uncertainty_s = client.clock_offset
    assert abs(offset_s - 3600) <= uncertainty_s < 1
    monkeypatch.setattr("braind.client.resending.CLOCK_EVERY_S", 0)
    run.send(voxels(0))
    first, *_, last = daemon.clock_requests
    assert (first.offset_s, first.uncertainty_s) == (None, None)
    assert abs(last.offset_s - 3600) <= last.uncertainty_s
    # The daemon's clock is set in the run: what was measured before says nothing any more.
    daemon.clock_ahead_s = -5.0
    run.send(voxels(1))
    offset_s, uncertainty_s = client.clock_offset
    assert abs(offset_s + 5) <= uncertainty_s < 1


def test_a_daemon_that_says_nothing_of_its_clock_is_sent_volumes_all_the_same(daemon, client, hello, monkeypatch):
    monkeypatch.setattr("braind.client.resending.CLOCK_PATIENCE_S", 0.01)
    take = daemon._take
    daemon._take = lambda message, payload: None if isinstance(message, wire.ClockRequest) else take(message, payload)
    client.open_run(hello)
    assert not client.send_volume(voxels(0), 0).duplicate
    assert client.clock_offset is None


def test_a_view_with_axes_swapped_arrives_as_it_reads(daemon, client, hello):
    client.open_run(hello)
    client.send_volume(voxels(0).transpose(2, 1, 0).copy().transpose(2, 1, 0), 0)
    np.testing.assert_array_equal(daemon.volumes["s", "run-01", 0], voxels(0))


def test_a_volume_whose_ack_is_lost_is_sent_again_and_kept_once(daemon, client, hello):
    client.open_run(hello)
    daemon.lose_acks = 2
    ack = client.send_volume(voxels(0), 0)
    assert ack.duplicate
    assert daemon.n_volume_messages == 3
    assert len(daemon.volumes) == 1


def test_a_restarted_daemon_gets_its_hello_again_and_then_the_volume(daemon, client, hello):
    client.open_run(hello)
    client.send_volume(voxels(0), 0)
    daemon.stop()
    daemon.start()
    assert not client.send_volume(voxels(1), 1).duplicate
    assert sorted(index for *_, index in daemon.volumes) == [0, 1]


def test_a_restarted_daemon_is_told_the_clients_clock_again_with_the_next_volume(daemon, client, hello):
    daemon.clock_ahead_s = 3600.0
    client.open_run(hello)
    daemon.stop()
    daemon.start()
    daemon.clock_requests.clear()
    client.send_volume(voxels(0), 0)
    (told,) = daemon.clock_requests
    assert abs(told.offset_s - 3600) <= told.uncertainty_s


def test_volumes_on_their_way_survive_a_restart_of_the_daemon(daemon, client, hello):
    client.open_run(hello)
    answers = []
    for index in range(60):
        answers += client.send_nowait(voxels(index), index)
        if index == 30:
            daemon.stop()
            daemon.start()
    answers += client.wait_answers()
    assert sorted(answer.index for answer in answers) == list(range(60))
    for index in range(60):
        np.testing.assert_array_equal(daemon.volumes["s", "run-01", index], voxels(index))


def test_acks_lost_from_a_full_window_cost_only_time(daemon, client, hello):
    client.open_run(hello)
    daemon.lose_acks = 5
    answers = [answer for index in range(20) for answer in client.send_nowait(voxels(index), index)]
    answers += client.wait_answers()
    assert sorted(answer.index for answer in answers) == list(range(20))
    assert len(daemon.volumes) == 20


def test_a_refused_volume_is_said_and_the_next_one_is_taken(daemon, client, hello):
    client.open_run(hello)
    daemon.refuse[1] = wire.Refused(code="not_finite", sentence="3 voxels are NaN", run="run-01", session="s", index=1)
    client.send_volume(voxels(0), 0)
    with pytest.raises(RefusedByDaemon, match="3 voxels are NaN") as refused:
        client.send_volume(voxels(1), 1)
    assert refused.value.code == "not_finite"
    assert client.send_volume(voxels(2), 2).index == 2


def test_a_refusal_in_the_window_is_an_answer_like_the_others(daemon, client, hello):
    client.open_run(hello)
    daemon.refuse[3] = wire.Refused(code="shape", sentence="wrong", run="run-01", session="s", index=3)
    answers = [answer for index in range(10) for answer in client.send_nowait(voxels(index), index)]
    answers += client.wait_answers()
    assert [answer.index for answer in answers if isinstance(answer, wire.Refused)] == [3]
    assert len(answers) == 10


def test_what_is_refused_for_now_is_sent_again(daemon, client, hello):
    client.open_run(hello)
    daemon.refuse[0] = wire.Refused(
        code="storage", sentence="disk full", run="run-01", session="s", index=0, retryable=True
    )
    assert client.send_volume(voxels(0), 0).index == 0


def test_a_run_that_is_refused_can_be_put_right(daemon, client, hello):
    daemon.refuse_hello = wire.Refused(code="subject", sentence="subject 9 has no weights here")
    with pytest.raises(RefusedByDaemon, match="subject 9"):
        client.open_run(hello)
    with pytest.raises(ScannerError, match="no run is open"):
        client.send_volume(voxels(0), 0)
    daemon.refuse_hello = None
    assert client.open_run(hello).next_index == 0


def test_a_run_is_resumed_where_the_daemon_says(daemon, client, hello):
    client.open_run(hello)
    for index in range(3):
        client.send_volume(voxels(index), index)
    with ScannerClient(port=daemon.ingest_port) as another:
        assert another.open_run(hello).next_index == 3


def test_events_and_the_end_of_a_run_are_acked(daemon, client, hello):
    client.open_run(hello)
    assert client.send_event(0, 1.5, nsd_id=9).of == "event"
    assert client.send_event(0, 1.5, nsd_id=9).duplicate
    assert client.end_run(12).of == "end_run"
    assert daemon.ended == {"run-01": 12}


def test_without_a_daemon_the_sentence_says_how_to_start_one(hello):
    with (
        ScannerClient(port=1, timeout_s=0.1) as client,
        pytest.raises(NoDaemonError, match=r"no daemon answers at 127\.0\.0\.1:1 .*start it with `braind serve`"),
    ):
        client.open_run(hello)


def test_a_daemon_that_stays_away_is_given_up(daemon, hello):
    with ScannerClient(port=daemon.ingest_port, timeout_s=0.1, give_up_s=0.5) as client:
        client.open_run(hello)
        daemon.stop()
        with pytest.raises(NoDaemonError, match="volume 0"):
            client.send_volume(voxels(0), 0)
        daemon.start()


def test_an_array_with_four_axes_is_refused_before_it_is_sent(client, hello):
    client.open_run(hello)
    with pytest.raises(ScannerError, match="send X, Y, Z"):
        client.send_volume(np.zeros((2, 3, 4, 5), np.int16), 0)


def test_a_run_sends_onsets_before_their_volume_and_counts_for_itself(daemon, hello):
    with ScannerClient(f"tcp://127.0.0.1:{daemon.ingest_port}") as client:
        run = client.open_run(session="s", run="run-01", subject=1, kind="bold", shape=hello.shape, affine=hello.affine,
                              tr_s=1.5, dtype="int16")  # fmt: skip
        run.send(voxels(0))
        run.send(voxels(1), onsets=[Onset(0, 1.6, shown={"trial": 5})], motion=(0.1, 0, 0, 0, 0, 0.01))
        run.end()
    assert daemon.order == [("volume", 0), ("event", 0), ("volume", 1), ("end_run", 2)]
    assert daemon.headers["s", "run-01", 1].motion == (0.1, 0, 0, 0, 0, 0.01)
    assert daemon.events["s", "run-01", 0].trial == 5


def test_the_asyncio_form_survives_a_restart_and_does_not_hold_up_the_loop(daemon, hello):
    async def stream():
        n_ticks = 0

        async def tick():
            nonlocal n_ticks
            while True:
                await asyncio.sleep(0.001)
                n_ticks += 1

        ticking = asyncio.create_task(tick())
        async with AsyncScannerClient(port=daemon.ingest_port, timeout_s=0.3, give_up_s=10) as client:
            assert (await client.grid()).shape == hello.shape
            run = await client.open_run(hello)
            for index in range(4):
                if index == 2:
                    await asyncio.to_thread(lambda: (daemon.stop(), daemon.start()))
                await run.send(voxels(index))
            await run.end()
            assert run.next_index == 4
        ticking.cancel()
        return n_ticks

    assert asyncio.run(stream()) > 10
    for index in range(4):
        np.testing.assert_array_equal(daemon.volumes["s", "run-01", index], voxels(index))
