"""A daemon's sockets without its decoder: it speaks the wire protocol, keeps what it acks, and can be made to fail."""

import queue
import threading
import time
from collections import defaultdict

import pytest
import zmq

from braind.client import wire

SHAPE = (4, 5, 6)
AFFINE = ((1.8, 0.0, 0.0, -4.0), (0.0, 1.8, 0.0, -5.0), (0.0, 0.0, 1.8, -6.0), (0.0, 0.0, 0.0, 1.0))
PROVENANCE = wire.Provenance(
    subject=1, preset="live-4", mode="zc", seed=42, engine="none", weights="w", ldm="l", simulated=True, version="0"
)


class ProtocolDaemon:
    """Answers in a thread; `volumes` maps (run, index) to the array, `events` (run, event) to its header."""

    provenance = PROVENANCE

    def __init__(self):
        self.volumes, self.events, self.headers, self.hellos = {}, {}, {}, {}
        self.pictures: dict[tuple[str, str, int], bytes] = {}
        self.order: list[tuple[str, int]] = []
        self.published: list[list[bytes]] = []
        self.ended: dict[str, int] = {}
        self.clock_ahead_s = 0.0
        self.clock_requests = []
        self.n_volume_messages = 0
        self.n_hellos = 0
        self.runs: set[tuple[str, str]] = set()
        self.lose_acks = 0
        self.lose_published: set[int] = set()
        self.refuse: dict[int, wire.Refused] = {}
        self.refuse_hello: wire.Refused | None = None
        self.publishes_decodes = True
        self.is_silent = False
        self.to_publish: queue.SimpleQueue[tuple] = queue.SimpleQueue()
        self.latest_skips: set[int] = set()
        self.state = "ready"
        self._ports = (0, 0, 0)
        self._stop = threading.Event()
        self.start()

    @property
    def ingest_port(self):
        return self._ports[0]

    @property
    def decodes_port(self):
        return self._ports[1]

    @property
    def control_port(self):
        return self._ports[2]

    def start(self):
        self._stop.clear()
        self._context = zmq.Context()
        sockets = [self._context.socket(kind) for kind in (zmq.ROUTER, zmq.XPUB, zmq.ROUTER)]
        ports = []
        for socket, port in zip(sockets, self._ports, strict=True):
            socket.linger = 0
            socket.bind(f"tcp://127.0.0.1:{port or '*'}")
            ports.append(int(socket.LAST_ENDPOINT.decode().rpartition(":")[2]))
        self._ports = tuple(ports)
        self._thread = threading.Thread(target=self._serve, args=sockets)
        self._thread.start()

    def stop(self):
        """Die: open runs are forgotten, what was acked is not."""
        self._stop.set()
        self._thread.join()
        self._context.term()
        self.runs.clear()

    def _serve(self, ingest, decodes, control):
        self._decodes = decodes
        poller = zmq.Poller()
        for socket in (ingest, decodes, control):
            poller.register(socket, zmq.POLLIN)
        while not self._stop.is_set():
            ready = dict(poller.poll(20))
            if decodes in ready:
                decodes.recv()
            if ingest in ready:
                sender, *frames = ingest.recv_multipart()
                answer = self._take(*wire.decode(frames))
                if answer is not None:
                    ingest.send_multipart([sender, *wire.encode(answer)])
            if control in ready:
                sender, *frames = control.recv_multipart()
                for answer in [] if self.is_silent else self._control(wire.decode(frames)[0]):
                    control.send_multipart([sender, *answer])
            while not self.to_publish.empty():
                self._send(*self.to_publish.get())
            decodes.send_multipart(wire.encode(wire.Heartbeat(last_seq=len(self.published), state=self.state)))
        for socket in (ingest, decodes, control):
            socket.close()

    def _take(self, message, payload):
        if isinstance(message, wire.GridRequest):
            return wire.Grid(subject=1, kind="bold", shape=SHAPE, affine=AFFINE, weights="w")
        if isinstance(message, wire.ClockRequest):
            now_s = time.time() + self.clock_ahead_s
            self.clock_requests.append(message)
            return wire.Clock(sent_s=message.sent_s, received_s=now_s, answered_s=now_s)
        place = {"session": message.session, "run": message.run}
        if isinstance(message, wire.Hello):
            self.n_hellos += 1
            if self.refuse_hello:
                return self.refuse_hello
            self.runs.add((message.session, message.run))
            self.hellos[message.session, message.run] = message
            indices = [index for session, run, index in self.volumes if (session, run) == tuple(place.values())]
            next_index = max(indices, default=-1) + 1
            return wire.Welcome(**place, next_index=next_index, weights="w", simulated=True)
        if (message.session, message.run) not in self.runs:
            return wire.Refused(code="run", sentence="not open; send Hello first", **place)
        if isinstance(message, wire.Volume):
            return self._take_volume(message, payload, place)
        if isinstance(message, wire.Event):
            key = (message.session, message.run, message.event)
            is_new = self.events.setdefault(key, message) is message
            self.order.append(("event", message.event))
            return wire.Ack(**place, index=message.event, of="event", duplicate=not is_new)
        self.order.append(("end_run", message.n_volumes))
        self.ended[message.run] = message.n_volumes
        return wire.Ack(**place, index=message.n_volumes, of="end_run")

    def _take_volume(self, message, payload, place):
        self.n_volume_messages += 1
        if message.index in self.refuse:
            refused = self.refuse[message.index]
            if refused.retryable:
                del self.refuse[message.index]
            return refused
        key = (message.session, message.run, message.index)
        duplicate = key in self.volumes
        if duplicate and self.headers[key].crc32 != message.crc32:
            return wire.Refused(code="conflict", sentence="other bytes were acked", index=message.index, **place)
        if not duplicate:
            self.volumes[key] = wire.volume_array(message, payload)
            self.headers[key] = message
            self.order.append(("volume", message.index))
            if message.seen:
                self.pictures[key] = payload[1]
            if self.publishes_decodes:
                self._publish(message)
        if self.lose_acks:
            self.lose_acks -= 1
            return None
        return wire.Ack(**place, index=message.index, duplicate=duplicate)

    def _publish(self, volume):
        place = {"session": volume.session, "run": volume.run, "index": volume.index}
        if volume.index in self.latest_skips:
            self._send(wire.Skipped(seq=len(self.published) + 1, reason="behind", **place))
            return
        for stage in ("scores", "xz", "xzc"):
            decode = wire.Decode(seq=len(self.published) + 1, stage=stage, provenance=PROVENANCE, timings_s={}, **place)
            self._send(decode, b"picture")

    def _send(self, message, *payload):
        frames = wire.encode(message, *payload)
        self.published.append(frames)
        if message.seq not in self.lose_published:
            self._decodes.send_multipart(frames)

    def _control(self, message):
        if isinstance(message, wire.FetchRequest):
            yield from self.published[message.from_seq - 1 :][: message.limit]
            yield wire.encode(wire.Done())
        elif isinstance(message, wire.StatusRequest):
            counts = defaultdict(int, n_acked=len(self.volumes), last_seq=len(self.published))
            yield wire.encode(
                wire.Status(
                    state=self.state, pid=1, version="0", uptime_s=1.0, subject=1, weights="w", ldm="l", engine="none",
                    preset="live-4", policy="all", simulated=True, journal="", session="", run="",
                    **{name: counts[name] for name in NUMBERS},
                )
            )  # fmt: skip
        elif isinstance(message, wire.Pause):
            self.state = "paused" if message.paused else "ready"
            yield wire.encode(wire.Done())
        else:
            yield wire.encode(wire.Refused(code="unexpected", sentence="no request"))


NUMBERS = (
    "n_acked", "n_decoded", "n_skipped", "n_refused", "n_waiting", "decoder_restarts", "last_seq",
)  # fmt: skip


@pytest.fixture
def daemon():
    daemon = ProtocolDaemon()
    yield daemon
    daemon.stop()


@pytest.fixture
def hello():
    return wire.Hello(
        session="s", run="run-01", subject=1, kind="beta", shape=SHAPE, affine=AFFINE, tr_s=4.0, dtype="int16"
    )
