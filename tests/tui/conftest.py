"""A daemon's two sockets on loopback, with real wire messages on them, played by the test."""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq
from PIL import Image
from played_session import PlayedSession
from stopped_clock import StoppedClock, stop_clock

from braind.client import wire
from braind.client.endpoints import Endpoints

SESSION, RUN = "sub-01_ses-14", "sub-01_ses-14_run-03"
TIMEOUT_S = 20.0

PROVENANCE = wire.Provenance(
    subject=1,
    preset="live-4",
    mode="zc",
    seed=42,
    engine="torch-cpu",
    weights="weights",
    ldm="ldm",
    simulated=True,
    version="0.1.0",
)


def png_of(*rgb: int, px: int = 16) -> bytes:
    """Return a PNG of one colour."""
    return png_from(np.full((px, px, 3), rgb, np.uint8))


def png_from(picture: Any) -> bytes:
    """Return the PNG of a (height, width, 3) uint8 array."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


class PlayedDaemon:
    """The publishing XPUB and the answering ROUTER; what it publishes can be fetched again."""

    provenance = PROVENANCE

    def __init__(self, decodes_port: str = "*", control_port: str = "*") -> None:
        self.requests: list[Any] = []
        self.answers: dict[type, Any] = {}
        """Answers in place of the usual ones, by the type of the request."""
        self.published: dict[int, tuple[Any, tuple[bytes, ...]]] = {}
        self.last_seq = 0
        self._context = zmq.Context()
        self._decodes = self._context.socket(zmq.XPUB)
        self._control = self._context.socket(zmq.ROUTER)
        for socket, port in ((self._decodes, decodes_port), (self._control, control_port)):
            socket.setsockopt(zmq.LINGER, 0)
            socket.bind(f"tcp://127.0.0.1:{port}")
        self.decodes_endpoint = self._decodes.getsockopt_string(zmq.LAST_ENDPOINT)
        self.control_endpoint = self._control.getsockopt_string(zmq.LAST_ENDPOINT)
        self.endpoints = Endpoints(
            ingest=self.control_endpoint, decodes=self.decodes_endpoint, control=self.control_endpoint
        )
        self._stopped = threading.Event()
        self._answering = threading.Thread(target=self._answer)
        self._answering.start()

    def wait_for_viewer(self) -> None:
        """Return when a monitor has subscribed: what is published before, it cannot hear."""
        assert self._decodes.poll(int(1e3 * TIMEOUT_S)), "no viewer subscribed"
        self._decodes.recv()

    def decode(
        self, index: int, *stages: wire.Stage, colour: tuple[int, int, int] = (200, 40, 40), **fields: Any
    ) -> None:
        """Publish the stages of a decode (all three if none are named)."""
        seen, decoded = fields.pop("seen_png", None), fields.pop("decoded_png", None) or png_of(*colour)
        label = fields.pop("label", f"picture {index}")
        provenance = fields.pop("provenance", PROVENANCE)
        names = {"session": fields.pop("session", SESSION), "run": fields.pop("run", RUN)}
        timings_s = {"ack": 0.003, "scores": 0.009, "xz": 0.05, "xzc": 0.4 + index / 1000} | fields.pop("timings_s", {})
        for stage in stages or ("scores", "xz", "xzc"):
            message = wire.Decode(
                seq=self.last_seq + 1,
                **names,
                index=index,
                stage=stage,
                provenance=provenance,
                timings_s={step: s for step, s in timings_s.items() if step in ("ack", "scores", stage)},
                retrieved=tuple(wire.Retrieved(label=f"{label}.{n}", score=0.9 - n / 10) for n in range(5)),
                seen=stage == "scores" and seen is not None,
                **fields,
            )
            png = seen if stage == "scores" else decoded
            self.publish(message, *([png] if png is not None else []))

    def classify(
        self, index: int, probabilities: dict[str, float], sent: str | None = None, mode: str = "labels", **fields: Any
    ) -> None:
        """Publish the scores of a decode with classes, the most probable first."""
        ranked = sorted(probabilities.items(), key=lambda one: -one[1])
        message = wire.Decode(
            seq=self.last_seq + 1,
            session=SESSION,
            run=fields.pop("run", RUN),
            index=index,
            stage="scores",
            provenance=msgspec.structs.replace(PROVENANCE, mode=mode),
            timings_s={"ack": 0.003, "scores": 0.009},
            labels=tuple(wire.LabelProbability(label=name, probability=p) for name, p in ranked),
            label=sent,
            **fields,
        )
        self.publish(message)

    def skip(self, index: int, reason: str = "behind", *, run: str = RUN, **fields: Any) -> None:
        """Publish that a volume's picture was not made."""
        self.publish(
            wire.Skipped(seq=self.last_seq + 1, session=SESSION, run=run, index=index, reason=reason, **fields)
        )

    def miss(self, index: int, n_missing: int) -> None:
        """Publish that volumes did not come."""
        self.publish(wire.Gap(seq=self.last_seq + 1, session=SESSION, run=RUN, index=index, n_missing=n_missing))

    def heartbeat(self, state: str = "ready", **fields: Any) -> None:
        """Publish a heartbeat."""
        fields = {"session": SESSION, "run": RUN, "subject": 1, "simulated": True} | fields
        beat = wire.Heartbeat(last_seq=self.last_seq, state=state, **fields)
        self._decodes.send_multipart(wire.encode(beat))

    def publish(self, message: Any, *payload: bytes) -> None:
        """Publish a message and keep it for those who fetch."""
        self.last_seq = message.seq
        self.published[message.seq] = (message, payload)
        self._decodes.send_multipart(wire.encode(message, *payload))

    def publish_bytes(self, *frames: bytes) -> None:
        """Publish what need not be a message."""
        self._decodes.send_multipart(frames)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Publish heartbeats meanwhile, and let nobody else publish."""
        stopped = threading.Event()

        def beat() -> None:
            while not stopped.wait(0.05):
                self.heartbeat()

        thread = threading.Thread(target=beat)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def close(self) -> None:
        """Go away as a killed daemon does."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._answering.join()
        self._decodes.close()
        self._control.close()
        self._context.term()

    def _answer(self) -> None:
        while not self._stopped.is_set():
            if not self._control.poll(50):
                continue
            viewer, *frames = self._control.recv_multipart()
            request, _ = wire.decode(frames)
            self.requests.append(request)
            if isinstance(request, wire.FetchRequest):
                for seq in range(request.from_seq, request.from_seq + request.limit):
                    if seq in self.published:
                        message, payload = self.published[seq]
                        self._control.send_multipart([viewer, *wire.encode(message, *payload)])
            answer = self.answers.get(type(request)) or self._default_answer(request)
            self._control.send_multipart([viewer, *wire.encode(answer)])

    def _default_answer(self, request: Any) -> Any:
        if isinstance(request, wire.StatusRequest):
            return self._status()
        if isinstance(request, wire.SetupRequest | wire.RecordedRequest | wire.Change | wire.Mark):
            # As a daemon of an earlier version answers.
            return wire.Refused(code="malformed", sentence="JSON header: Invalid value 'setup_request' - at `$.type`")
        return wire.Done()

    def _status(self) -> wire.Status:
        return wire.Status(
            state="ready", pid=1, version="0", uptime_s=1.0, subject=1, weights="weights", ldm="ldm", engine="none",
            preset="live-4", policy="all", simulated=True, journal="", session=SESSION, run=RUN, n_acked=0, n_decoded=0,
            n_skipped=0, n_refused=0, n_waiting=0, decoder_restarts=0, last_seq=self.last_seq,
        )  # fmt: skip


@pytest.fixture
def start_daemon() -> Iterator[Callable[..., PlayedDaemon]]:
    """Start daemons that are gone when the test is over."""
    daemons: list[PlayedDaemon] = []

    def start(**ports: str) -> PlayedDaemon:
        daemons.append(PlayedDaemon(**ports))
        return daemons[-1]

    yield start
    for daemon in daemons:
        daemon.close()


@pytest.fixture
def daemon(start_daemon: Callable[..., PlayedDaemon]) -> PlayedDaemon:
    """One daemon on free ports."""
    return start_daemon()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    """The monitor's clock, which stands still."""
    return stop_clock(monkeypatch)


@pytest.fixture
def session(daemon: PlayedDaemon, clock: StoppedClock) -> PlayedSession:
    """A session of the daemon, at the stopped clock's time."""
    return PlayedSession(daemon, clock, png_of)


@pytest.fixture
def red_png() -> bytes:
    """A red picture."""
    return png_of(250, 0, 0)
