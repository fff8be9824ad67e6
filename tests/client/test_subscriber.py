"""A viewer that loses messages and gets them back; and requests to the control socket."""

import asyncio
import io

import numpy as np
import pytest
from PIL import Image

from braind.client import wire
from braind.client.connection import NoDaemonError, RefusedByDaemon
from braind.client.control import ControlClient
from braind.client.pictures import PictureError
from braind.client.scanner import ScannerClient
from braind.client.subscriber import DecodeSubscriber, Received


def send_volumes(daemon, hello, indices):
    with ScannerClient(port=daemon.ingest_port) as client:
        client.open_run(hello)
        for index in indices:
            client.send_volume(np.full((4, 5, 6), index, np.int16), index)


def subscribe(daemon, **history):
    return DecodeSubscriber("127.0.0.1", daemon.decodes_port, daemon.control_port, **history)


def numbers(subscriber, n_messages):
    """Return the numbers of the next decodes and skipped volumes."""
    found = []
    while len(found) < n_messages:
        received = subscriber.receive(5)
        assert received is not None, f"only {found}"
        if not isinstance(received.message, wire.Heartbeat):
            found.append(received.message.seq)
    return found


def wait_for_subscription(subscriber):
    while not isinstance(getattr(subscriber.receive(5), "message", None), wire.Heartbeat):
        pass


def test_decodes_come_in_order_with_their_pictures(daemon, hello):
    with subscribe(daemon) as subscriber:
        wait_for_subscription(subscriber)
        send_volumes(daemon, hello, [0])
        decodes = [received for received in (subscriber.receive(5) for _ in range(30)) if received.png]
        assert [decode.message.stage for decode in decodes] == ["scores", "xz", "xzc"]
        assert decodes[0].png == b"picture"


def test_a_hole_is_fetched_and_delivered_in_its_place(daemon, hello):
    daemon.lose_published = {2, 3, 5}
    with subscribe(daemon) as subscriber:
        wait_for_subscription(subscriber)
        send_volumes(daemon, hello, range(3))
        assert numbers(subscriber, 9) == list(range(1, 10))
        assert subscriber.n_lost == 0


def test_a_lost_tail_is_noticed_by_the_heartbeat(daemon, hello):
    daemon.lose_published = {2, 3}
    with subscribe(daemon) as subscriber:
        wait_for_subscription(subscriber)
        send_volumes(daemon, hello, [0])
        assert numbers(subscriber, 3) == [1, 2, 3]


def test_everything_from_a_number_on_comes_to_a_late_viewer(daemon, hello):
    send_volumes(daemon, hello, range(50))
    with subscribe(daemon, from_seq=4) as subscriber:
        assert numbers(subscriber, 147) == list(range(4, 151))


def test_a_late_viewer_gets_the_history_it_wants(daemon, hello):
    send_volumes(daemon, hello, range(4))
    with subscribe(daemon, history=5) as subscriber:
        assert numbers(subscriber, 5) == list(range(8, 13))


def test_a_daemon_that_counts_anew_is_followed(daemon, hello):
    with subscribe(daemon) as subscriber:
        wait_for_subscription(subscriber)
        send_volumes(daemon, hello, range(2))
        assert numbers(subscriber, 6)[-1] == 6
        daemon.stop()
        daemon.published.clear()
        daemon.start()
        send_volumes(daemon, hello, [2])
        assert numbers(subscriber, 3) == [1, 2, 3]


def test_what_the_daemon_no_longer_has_is_counted_and_waited_for_no_longer(daemon, hello):
    daemon.lose_published = {1, 2}
    with subscribe(daemon, from_seq=1) as subscriber:
        wait_for_subscription(subscriber)
        daemon._control = lambda message: iter([wire.encode(wire.Done())])
        send_volumes(daemon, hello, [0])
        assert numbers(subscriber, 1) == [3]
        assert subscriber.n_lost == 2


def test_a_stranger_message_is_passed_over(daemon, hello, caplog):
    with subscribe(daemon) as subscriber:
        wait_for_subscription(subscriber)
        daemon._send = lambda message, *payload: daemon._decodes.send_multipart([wire.MAGIC, b'{"type": "gossip"}'])
        send_volumes(daemon, hello, [0])
        while "gossip" not in caplog.text:
            subscriber.receive(5)
        assert subscriber.receive(5) is not None


def test_an_event_loop_goes_on_while_a_hole_is_fetched(daemon, hello):
    daemon.lose_published = {2}

    async def follow():
        with subscribe(daemon) as subscriber:
            while not isinstance(getattr(await subscriber.receive_async(5), "message", None), wire.Heartbeat):
                pass
            await asyncio.to_thread(send_volumes, daemon, hello, range(2))
            found = []
            while len(found) < 6:
                received = await subscriber.receive_async(5)
                assert received is not None
                if not isinstance(received.message, wire.Heartbeat):
                    found.append(received.message.seq)
            return found

    assert asyncio.run(follow()) == list(range(1, 7))


def test_only_the_stages_that_are_wanted_are_delivered(daemon, hello):
    with subscribe(daemon, stages=("xzc",)) as subscriber:
        wait_for_subscription(subscriber)
        send_volumes(daemon, hello, range(2))
        assert numbers(subscriber, 2) == [3, 6]


def test_the_newest_of_each_stage_is_all_that_a_busy_program_hears(daemon, hello):
    with subscribe(daemon, stages=("scores", "xzc"), newest_only=True) as busy, subscribe(daemon) as witness:
        wait_for_subscription(busy)
        wait_for_subscription(witness)
        send_volumes(daemon, hello, range(5))
        assert numbers(witness, 15)[-1] == 15
        found = []
        while not found or not isinstance(found[-1], wire.Heartbeat) or found[-1].last_seq < 15:
            found.append(busy.receive(5).message)
        seqs = [message.seq for message in found if isinstance(message, wire.Decode)]
        assert seqs[-2:] == [13, 15]
        assert len(seqs) < 10
        send_volumes(daemon, hello, [5])
        assert numbers(busy, 1)[0] in (16, 18)


def test_a_decodes_scores_and_picture_come_as_arrays(daemon, hello):
    png = io.BytesIO()
    Image.fromarray(np.full((3, 5, 3), (250, 10, 20), np.uint8)).save(png, "PNG")
    best = tuple(wire.Retrieved(label=label, score=score) for label, score in (("a crab", 0.75), ("a tulip", 0.5)))
    scores = wire.Decode(
        seq=1, session="s", run="r", index=0, stage="scores", provenance=daemon.provenance, timings_s={}, retrieved=best
    )
    received = Received(scores)
    assert (received.scores.dtype, received.scores.tolist()) == (np.float32, [0.75, 0.5])
    assert (received.labels, received.picture) == (["a crab", "a tulip"], None)
    picture = Received(scores, png.getvalue()).picture
    assert (picture.dtype, picture.shape, picture[0, 0].tolist()) == (np.uint8, (3, 5, 3), [250, 10, 20])
    beat = Received(wire.Heartbeat(last_seq=0, state="ready"))
    assert (beat.scores.shape, beat.labels, beat.picture) == ((0,), [], None)
    with pytest.raises(PictureError):
        Received(scores, b"no picture").picture  # noqa: B018 (it is read here)


def test_status_fetch_and_pause_are_answered(daemon, hello):
    send_volumes(daemon, hello, [0])
    with ControlClient(port=daemon.control_port) as control:
        assert control.status().last_seq == 3
        assert [message.stage for message, _ in control.fetch(2)] == ["xz", "xzc"]
        control.pause()
        assert control.status().state == "paused"
        control.pause(False)
        assert control.status().state == "ready"


def test_a_request_the_daemon_refuses_is_an_error_with_its_words(daemon):
    with ControlClient(port=daemon.control_port) as control:
        with pytest.raises(RefusedByDaemon, match="no request"):
            control.shutdown()
        assert control.status().state == "ready"


def test_without_a_daemon_a_request_says_how_to_start_one():
    with ControlClient(port=1, timeout_s=0.2) as control, pytest.raises(NoDaemonError, match="start it with `braind"):
        control.status()


def test_a_skipped_volume_comes_whatever_stages_are_wanted(daemon, hello):
    daemon.latest_skips = {0}
    with subscribe(daemon, stages=("xzc",)) as subscriber:
        wait_for_subscription(subscriber)
        send_volumes(daemon, hello, range(2))
        assert numbers(subscriber, 2) == [1, 4]


def test_a_history_longer_than_the_stream_is_the_whole_stream(daemon, hello):
    send_volumes(daemon, hello, range(2))
    with subscribe(daemon, history=1000) as subscriber:
        assert numbers(subscriber, 6) == list(range(1, 7))
        assert subscriber.n_lost == 0


def test_a_viewer_may_ask_for_numbers_that_are_still_to_come(daemon, hello):
    send_volumes(daemon, hello, [0])
    with subscribe(daemon, from_seq=4) as subscriber:
        wait_for_subscription(subscriber)
        send_volumes(daemon, hello, [1])
        assert numbers(subscriber, 3) == [4, 5, 6]


def test_a_loop_over_a_subscriber_gives_one_message_after_another(daemon, hello):
    with subscribe(daemon) as subscriber:
        wait_for_subscription(subscriber)
        send_volumes(daemon, hello, range(2))
        found = []
        for received in subscriber:
            if isinstance(received.message, wire.Decode):
                found.append(received.message.stage)
            if len(found) == 6:
                break
        assert found == ["scores", "xz", "xzc"] * 2


def test_nothing_within_the_time_is_none_and_the_next_message_still_comes(daemon, hello):
    with subscribe(daemon) as subscriber:
        wait_for_subscription(subscriber)
        daemon.stop()
        while subscriber.receive(0.05) is not None:
            pass
        daemon.start()
        assert subscriber.receive(20) is not None


def test_a_hole_that_the_daemon_refuses_to_fill_is_counted_and_said(daemon, hello, caplog):
    daemon.lose_published = {1, 2}
    with subscribe(daemon, from_seq=1) as subscriber:
        wait_for_subscription(subscriber)
        refused = wire.encode(wire.Refused(code="storage", sentence="the journal is away"))
        daemon._control = lambda message: iter([refused])
        send_volumes(daemon, hello, [0])
        assert numbers(subscriber, 1) == [3]
        assert subscriber.n_lost == 2
    assert "decodes 1 to 2 cannot be fetched: the journal is away" in caplog.text
