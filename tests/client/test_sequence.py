"""What a viewer receives is what was published: each message once, in order, whatever is lost, late or restarted."""

import asyncio
import random
import socket
import threading
import time

import pytest

from braind.client import sequence, subscriber, wire
from braind.client.subscriber import DecodeSubscriber

PLACE = {"session": "s", "run": "r", "index": 0}


def subscribe(daemon, **wanted):
    found = DecodeSubscriber("127.0.0.1", daemon.decodes_port, daemon.control_port, **wanted)
    found._control.timeout_s = 0.2
    return found


def publish(daemon, n_messages, payload=b"", lost=()):
    """Publish messages of all types; those whose number is `lost` reach no viewer."""
    first = len(daemon.published) + 1
    daemon.lose_published |= set(lost)
    for seq in range(first, first + n_messages):
        if seq % 5 == 4:
            message = wire.Gap(seq=seq, n_missing=2, **PLACE)
        elif seq % 5 == 3:
            message = wire.Skipped(seq=seq, reason="behind", **PLACE)
        else:
            message = wire.Decode(seq=seq, stage="xz", provenance=daemon.provenance, timings_s={}, **PLACE)
        daemon.to_publish.put((message, payload + b"%d" % seq))
    while len(daemon.published) < first + n_messages - 1:
        time.sleep(0.001)
    return list(range(first, first + n_messages))


def receive_until(viewer, last_seq):
    """Return number and payload of what comes up to a heartbeat that names this number."""
    found = []
    while True:
        received = viewer.receive(30)
        assert received is not None, found
        if not isinstance(received.message, wire.Heartbeat):
            found.append((received.message.seq, received.png))
        elif received.message.last_seq == last_seq:
            return found


def expected(seqs, payload=b""):
    return [(seq, payload + b"%d" % seq) for seq in seqs]


class Viewing:
    """A viewer, and what it must have received."""

    def __init__(self, daemon, **wanted):
        self.viewer = subscribe(daemon, **wanted)
        self.expected, self.received = [], []


@pytest.mark.parametrize("seed", range(12))
def test_what_is_received_is_what_was_published(daemon, seed):
    chance = random.Random(seed)
    payload, count = b"0 ", 0
    viewings = []

    def settle():
        for one in viewings:
            one.received += receive_until(one.viewer, len(daemon.published))
            assert one.received == one.expected

    for _ in range(40):
        action = chance.choices(("publish", "join", "read", "restart", "anew"), (12, 2, 4, 2, 1))[0]
        if action == "publish":
            n_messages = chance.randrange(1, 130 if chance.random() < 0.1 else 8)
            first = len(daemon.published) + 1
            lost = {seq for seq in range(first, first + n_messages) if chance.random() < 0.4}
            seqs = publish(daemon, n_messages, payload, lost)
            for one in viewings:
                one.expected += expected(seqs, payload)
        elif action == "join" and len(viewings) < 5:
            last_seq = len(daemon.published)
            history = chance.choice((0, 3, 1000))
            wanted = {"from_seq": 1} if chance.random() < 0.3 else {"history": history}
            first = 1 if "from_seq" in wanted else max(1, last_seq - history + 1)
            viewings.append(Viewing(daemon, **wanted))
            viewings[-1].expected = expected(range(first, last_seq + 1), payload)
        elif action == "read":
            for one in viewings:
                for _ in range(chance.randrange(10)):
                    received = one.viewer.receive(0.01)
                    if received and not isinstance(received.message, wire.Heartbeat):
                        one.received.append((received.message.seq, received.png))
        elif action == "restart":
            daemon.stop()
            daemon.start()
        elif action == "anew":
            settle()  # nobody can fetch what a daemon knew that is gone
            daemon.stop()
            count += 1
            payload = b"%d " % count
            daemon.published.clear()
            daemon.lose_published.clear()
            daemon.start()
            settle()
    settle()
    for one in viewings:
        assert one.viewer.n_lost == 0
        one.viewer.close()


def test_a_decode_published_before_the_connection_is_up_comes(daemon, monkeypatch):
    """The stream begins when the subscriber is made, not with the first message that happens to come."""
    connect = subscriber.connect
    monkeypatch.setattr(
        subscriber, "connect", lambda context, kind, to: connect(context, kind, to._replace(port=proxied))
    )
    with Late(daemon.decodes_port) as late:
        proxied = late.port
        with subscribe(daemon) as viewer:
            seqs = publish(daemon, 3)
            late.begin.set()
            assert receive_until(viewer, 3) == expected(seqs)


class Late:
    """Passes a viewer's connection on to the daemon once `begin` is set."""

    def __init__(self, port):
        self._port, self.begin = port, threading.Event()
        self._socket, self._connections = socket.create_server(("127.0.0.1", 0)), []
        self.port = self._socket.getsockname()[1]
        self._connect = lambda: socket.create_connection(("127.0.0.1", self._port))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        for one in (self._socket, *self._connections):
            one.close()

    def _accept(self):
        viewer, _ = self._socket.accept()
        self.begin.wait()
        daemon = self._connect()
        self._connections = [viewer, daemon]
        for source, target in ((viewer, daemon), (daemon, viewer)):
            threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source, target):
        try:
            while content := source.recv(65536):
                target.sendall(content)
        except OSError:
            pass


def test_a_message_that_was_fetched_at_the_start_does_not_come_twice(daemon):
    publish(daemon, 5)
    with subscribe(daemon) as witness, subscribe(daemon, from_seq=1) as viewer:
        receive_until(witness, 5)
        # The start ran ahead of the stream: messages 4 and 5 are still on their way.
        late = [
            sequence.Received(wire.decode(frames)[0], b"late") for frames in daemon.published[3:]
        ]  # fmt: skip
        assert receive_until(viewer, 5) == expected(range(1, 6))
        viewer._sequence._heard_seq = 3
        for one in late:
            viewer._take(one)
        assert receive_until(viewer, 5) == []


def test_what_cannot_be_fetched_now_is_waited_for_and_comes_in_its_place(daemon):
    with subscribe(daemon) as viewer:
        receive_until(viewer, 0)
        daemon.is_silent = True
        seqs = publish(daemon, 6, lost={2, 3})
        found = []
        while viewer._waiting is None:
            found.append(viewer.receive(0.1))
        daemon.stop()
        daemon.is_silent = False
        daemon.start()
        before = [(one.message.seq, one.png) for one in found if one and hasattr(one.message, "seq")]
        assert before + receive_until(viewer, 6) == expected(seqs)
        assert viewer.n_lost == 0


def test_a_daemon_whose_control_socket_stays_silent_holds_up_the_stream_for_a_while_only(daemon, monkeypatch):
    monkeypatch.setattr(sequence, "FETCH_PATIENCE_S", 0.5)
    with subscribe(daemon) as viewer:
        receive_until(viewer, 0)
        daemon.is_silent = True
        publish(daemon, 6, lost={2, 3})
        assert [seq for seq, _ in receive_until(viewer, 6)] == [1, 4, 5, 6]
        assert viewer.n_lost == 2


def test_messages_of_sessions_that_the_daemon_has_closed_are_counted_as_lost_and_the_rest_comes(daemon):
    publish(daemon, 250)
    open_frames = daemon.published[180:]

    def control(request):
        if isinstance(request, wire.FetchRequest):
            found = [frames for frames in open_frames if wire.decode(frames)[0].seq >= request.from_seq]
            return iter([*found[: request.limit], wire.encode(wire.Done())])
        return type(daemon)._control(daemon, request)

    daemon._control = control
    with subscribe(daemon, from_seq=1) as viewer:
        assert [seq for seq, _ in receive_until(viewer, 250)] == list(range(181, 251))
        assert viewer.n_lost == 180


def test_a_message_after_a_hole_that_is_lost_does_not_come_twice(daemon):
    with subscribe(daemon) as viewer:
        receive_until(viewer, 0)
        known = type(daemon)._control

        def without_2(request):
            return (answer for answer in known(daemon, request) if getattr(wire.decode(answer)[0], "seq", 0) != 2)

        def control(request):
            if isinstance(request, wire.FetchRequest):  # the daemon has number 3 in place of 2
                return without_2(wire.FetchRequest(from_seq=request.from_seq, limit=request.limit + 1))
            return known(daemon, request)

        daemon._control = control
        publish(daemon, 3, lost={2})
        assert [seq for seq, _ in receive_until(viewer, 3)] == [1, 3]
        assert viewer.n_lost == 1


def test_a_type_of_a_newer_daemon_costs_no_other_message(daemon, caplog):
    publish(daemon, 4)
    daemon.published[1] = [wire.MAGIC, b'{"type": "gossip", "seq": 2}']
    with subscribe(daemon, history=10) as viewer:
        assert [seq for seq, _ in receive_until(viewer, 4)] == [1, 3, 4]
    assert "gossip" in caplog.text


def test_a_receive_that_is_cancelled_while_a_hole_is_fetched_loses_nothing(daemon):
    async def follow():
        with subscribe(daemon) as viewer:
            while not isinstance(getattr(await viewer.receive_async(5), "message", None), wire.Heartbeat):
                pass
            await asyncio.to_thread(publish, daemon, 30, b"", set(range(2, 30)))
            found = []
            while len(found) < 30:
                try:
                    async with asyncio.timeout(0.002):
                        received = await viewer.receive_async(5)
                except TimeoutError:
                    continue
                if received and not isinstance(received.message, wire.Heartbeat):
                    found.append(received.message.seq)
            return found

    assert asyncio.run(follow()) == list(range(1, 31))
