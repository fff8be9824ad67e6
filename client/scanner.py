"""Send a scanner's volumes to the daemon and know that they are durable.

```python
with ScannerClient("tcp://127.0.0.1:5560") as client:
    run = client.open_run(session="2026-11-23", run="run-01", kind="bold", ...)
    run.send(voxels, onsets=[Onset(0, 3.2)])
    run.end()
```

Nothing acked is lost, and nothing needs an ack to arrive: what stays unanswered is sent again, byte for byte, through a
fresh connection, and the daemon answers what it already has with a duplicate's ack. So a lost ack, a lost connection
and a restarted daemon look alike from here, and cost only time.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Self

import zmq

from ..errors import BraindError
from . import wire
from .clock import ClockOffset, ClockWatch
from .connection import NoDaemonError, RefusedByDaemon, connect, no_daemon

Array = wire.Array
Answered = Literal["volume", "event", "end_run"]
Key = tuple[Answered, int]

END_OF_RUN: Key = ("end_run", 0)
RUN_NOT_OPEN = "run"  # what a daemon says that was restarted between two volumes
BACK_OFF_MAX_S = 8.0
RETRY_PAUSE_S = 0.1
N_CLOCK_REQUESTS = 8  # when a run is opened; then one now and then, between volumes
CLOCK_EVERY_S = 5.0
CLOCK_PATIENCE_S = 0.5


class ScannerError(BraindError):
    """A client used in the wrong order, or a daemon that does not do as the protocol says."""

    code = "scanner"


@dataclass(frozen=True)
class Onset:
    """A trial's onset in a BOLD run, in seconds after its first volume.

    `shown` has other fields of `wire.Event`, as far as they are known: `trial`, `nsd_id`, `stimulus`, `captions`,
    `right`, `foil`.
    """

    event: int
    onset_s: float
    duration_s: float = 3.0
    seen_png: bytes | None = None
    shown: dict[str, Any] | None = None


class ScannerClient:
    """A connection that opens runs and sends volumes; not for use from several threads at once.

    What is sent and has no answer is all it keeps: at most `window` volumes.

    Parameters
    ----------
    host : a name or address, or both with the port as `tcp://host:port`
    timeout_s : how long an answer may take before the message is sent again
    give_up_s : how long the daemon may be gone in a run before `NoDaemonError` is raised; at the first `open_run` it is
        twice `timeout_s`
    window : how many volumes `send_nowait` leaves unanswered
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 5560, *, timeout_s: float = 3, give_up_s: float = 60, window: int = 8
    ) -> None:
        self.host, self.port = _address(host, port)
        self.timeout_s, self.give_up_s, self.window = timeout_s, give_up_s, window
        self._context = zmq.Context()
        self._socket = connect(self._context, zmq.DEALER, self.host, self.port)
        self._has_met_daemon = False
        self._hello: wire.Hello | None = None
        self._unanswered: dict[Key, list[Any]] = {}  # sent frames, oldest first, until their answer comes
        self._answers: dict[Key, wire.Ack | wire.Refused] = {}
        # When the daemon last settled a message, or one began to wait with none before it.
        self._answered_s = time.monotonic()
        self._must_come_back = False
        self._clock, self._asked_clock_s = ClockWatch(), 0.0

    @property
    def clock_offset(self) -> ClockOffset | None:
        """How far the daemon's clock is ahead of this machine's, and how wrong that may be; None if not known."""
        return self._clock.offset

    # ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def grid(self) -> wire.Grid:
        """Ask on which grid the daemon wants volumes."""
        self._wait(lambda: not self._unanswered)
        self._transmit(wire.encode(wire.GridRequest()), self.timeout_s)
        deadline = time.monotonic() + 2 * self.timeout_s
        while self._socket.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            answer = self._read()
            if isinstance(answer, wire.Grid):
                return answer
            if isinstance(answer, wire.Refused):
                raise RefusedByDaemon(answer)
        raise no_daemon(self.host, self.port, "no answer to GridRequest")

    def open_run(self, hello: wire.Hello | None = None, **fields: Any) -> "OpenRun":
        """Open a run, or come back to one; send from its `next_index` on.

        `fields` are those of `wire.Hello`, in place of one.

        Raises
        ------
        RefusedByDaemon
            With the daemon's code and sentence: a subject, shape, affine or kind that its weights do not fit.
        NoDaemonError
        """
        hello = hello or wire.Hello(**fields)
        self._wait(lambda: not self._unanswered)
        self._answers.clear()
        self._hello = hello
        try:
            welcome = self._come_back(self.give_up_s if self._has_met_daemon else 2 * self.timeout_s, is_fresh=True)
        except (RefusedByDaemon, NoDaemonError):
            self._hello = None
            raise
        self._has_met_daemon = True
        self._clock = ClockWatch()
        self._ask_clock(N_CLOCK_REQUESTS)
        return OpenRun(self, hello, welcome)

    def end_run(self, n_volumes: int) -> wire.Ack:
        """Say that the run is over after `n_volumes` volumes."""
        hello = self._opened()
        message = wire.EndRun(session=hello.session, run=hello.run, n_volumes=n_volumes)
        return self._settle(END_OF_RUN, wire.encode(message))

    # ── volumes and events ──────────────────────────────────────────────────────────────────────────────────────────

    def send_volume(self, voxels: Array, index: int, *, seen_png: bytes | None = None, **fields: Any) -> wire.Ack:
        """Send one volume and wait until it is durable.

        Parameters
        ----------
        voxels : array of shape (X, Y, Z), as NIfTI orders axes, of the run's dtype
        index : its number in the run, from 0
        seen_png : the picture that was on screen, as a PNG file's bytes
        fields : `scale`, `trial`, `nsd_id`, `stimulus`, `n_averaged`, `right`, `foil` and others of `wire.Volume`

        Raises
        ------
        RefusedByDaemon
            The volume is wrong; the run stays open and the next one may be sent.
        NoDaemonError
            The daemon was gone for `give_up_s`.
        """
        ack = self._settle(("volume", index), self._volume_frames(voxels, index, seen_png, fields))
        self._tend_clock()
        return ack

    def send_nowait(
        self, voxels: Array, index: int, *, seen_png: bytes | None = None, **fields: Any
    ) -> list[wire.Ack | wire.Refused]:
        """Send one volume as `send_volume`, but wait only while `window` volumes have no answer.

        Returns
        -------
        The answers that came meanwhile, to this or earlier volumes; `wait_answers` returns the rest.
        """
        self._post(("volume", index), self._volume_frames(voxels, index, seen_png, fields))
        self._wait(lambda: len(self._unanswered) < self.window)
        return self._take_answers()

    def wait_answers(self) -> list[wire.Ack | wire.Refused]:
        """Wait until every volume sent has its answer; return those that no call has returned yet."""
        self._wait(lambda: not self._unanswered)
        self._tend_clock()
        return self._take_answers()

    def send_event(self, event: int, onset_s: float, *, seen_png: bytes | None = None, **fields: Any) -> wire.Ack:
        """Send the onset of a trial in a `bold` run, before the volumes that come after it.

        `onset_s` counts from the first volume; `fields` are `duration_s`, `trial`, `nsd_id`, `stimulus`, `captions`,
        `right`, `foil` of `wire.Event`.
        """
        hello = self._opened()
        message = wire.Event(
            session=hello.session, run=hello.run, event=event, onset_s=onset_s, seen=seen_png is not None, **fields
        )
        # An answer names an index only: volumes that wait could be taken for the event.
        self._wait(lambda: not self._unanswered)
        return self._settle(("event", event), wire.encode(message, *([seen_png] if seen_png is not None else [])))

    def close(self) -> None:
        """Close the connection; a run stays open on the daemon's side until `end_run` or another run."""
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── sending ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _opened(self) -> wire.Hello:
        if self._hello is None:
            raise ScannerError("no run is open: call open_run(Hello(...)) first")
        return self._hello

    def _volume_frames(self, voxels: Array, index: int, seen_png: bytes | None, fields: dict[str, Any]) -> list[Any]:
        hello = self._opened()
        if voxels.ndim != 3:
            raise ScannerError(f"run {hello.run}, volume {index}: an array of {voxels.ndim} axes; send X, Y, Z")
        return wire.volume_frames(
            voxels, seen_png=seen_png, session=hello.session, run=hello.run, index=index, sent_s=time.time(), **fields
        )

    def _settle(self, key: Key, frames: list[Any]) -> wire.Ack:
        self._post(key, frames)
        self._wait(lambda: key not in self._unanswered)
        answer = self._answers.pop(key)
        if isinstance(answer, wire.Refused):
            raise RefusedByDaemon(answer)
        return answer

    def _post(self, key: Key, frames: list[Any]) -> None:
        if not self._unanswered:
            self._answered_s = time.monotonic()
        self._unanswered[key] = frames
        if not self._transmit(frames, self.timeout_s):
            self._must_come_back = True

    def _transmit(self, frames: list[Any], timeout_s: float) -> bool:
        """Hand a message to the connection; False if it takes none in time. Reads answers meanwhile."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._socket.send_multipart(frames, zmq.NOBLOCK)
                return True
            except zmq.Again:
                remaining_s = deadline - time.monotonic()
                if remaining_s <= 0:
                    return False
                if self._socket.poll(int(remaining_s * 1000) + 1, zmq.POLLIN | zmq.POLLOUT) & zmq.POLLIN:
                    self._receive()

    # ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _wait(self, is_satisfied: Callable[[], bool]) -> None:
        """Read answers until satisfied; when none comes in time, come back and send again what has none."""
        while not is_satisfied():
            if not self._must_come_back and self._socket.poll(int(self.timeout_s * 1000)):
                self._receive()
            elif time.monotonic() - self._answered_s > self.give_up_s:
                raise self._silent()
            else:
                self._come_back(self.give_up_s)

    def _receive(self) -> None:
        answer = self._read()
        hello = self._opened()
        if isinstance(answer, wire.Ack) and (answer.session, answer.run) == (hello.session, hello.run):
            self._answer(END_OF_RUN if answer.of == "end_run" else (answer.of, answer.index), answer)
        elif isinstance(answer, wire.Refused):
            may_pass = answer.retryable or answer.code == RUN_NOT_OPEN
            if may_pass and time.monotonic() - self._answered_s < self.give_up_s:
                time.sleep(RETRY_PAUSE_S)
                self._must_come_back = True
            else:
                self._answer(self._refused_key(answer), answer)

    def _read(self) -> Any:
        try:
            return wire.decode(self._socket.recv_multipart())[0]
        except wire.WireError as error:
            raise ScannerError(f"{self.host}:{self.port} does not speak braind's protocol: {error}") from error

    def _answer(self, key: Key | None, answer: wire.Ack | wire.Refused) -> None:
        if key in self._unanswered:
            del self._unanswered[key]
            self._answers[key] = answer
            self._answered_s = time.monotonic()

    def _refused_key(self, refused: wire.Refused) -> Key | None:
        for key in self._unanswered:
            if key[1] == refused.index and key != END_OF_RUN:
                return key
        # A header that could not be read has no index, the end of a run neither; answers keep the messages' order.
        return next(iter(self._unanswered), None) if refused.index is None or END_OF_RUN in self._unanswered else None

    def _take_answers(self) -> list[wire.Ack | wire.Refused]:
        answers = list(self._answers.values())
        self._answers.clear()
        return answers

    # ── the daemon's clock ──────────────────────────────────────────────────────────────────────────────────────────

    def _tend_clock(self) -> None:
        if time.monotonic() - self._asked_clock_s > CLOCK_EVERY_S:
            self._ask_clock(1)

    def _ask_clock(self, n_times: int) -> None:
        """Measure the daemon's clock, and tell it what is known so far; only while no message waits for its answer."""
        for _ in range(n_times):
            self._asked_clock_s = time.monotonic()
            request = self._clock.request()
            if self._unanswered or not self._transmit(wire.encode(request), CLOCK_PATIENCE_S):
                return
            deadline = time.monotonic() + CLOCK_PATIENCE_S
            while self._socket.poll(max(0, int((deadline - time.monotonic()) * 1000))):
                came_s, answer = time.time(), self._read()
                if isinstance(answer, wire.Clock) and answer.sent_s == request.sent_s:
                    self._clock.take(answer, came_s)
                    break
            else:
                return

    # ── coming back ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _come_back(self, give_up_s: float, *, is_fresh: bool = False) -> wire.Welcome:
        """Open the run (again) and send again what has no answer, with ever longer pauses, until it succeeds.

        `is_fresh`: the connection is good as it is for the first try.
        """
        began_s = time.monotonic()
        patience_s = self.timeout_s
        while True:
            if not is_fresh:
                self._socket.close()
                self._socket = connect(self._context, zmq.DEALER, self.host, self.port)
            is_fresh = False
            self._must_come_back = False
            remaining_s = began_s + give_up_s - time.monotonic()
            answer = self._greet(min(patience_s, max(0.0, remaining_s)))
            if isinstance(answer, wire.Welcome):
                # A copy: answers that come meanwhile take messages out.
                if all(self._transmit(frames, patience_s) for frames in list(self._unanswered.values())):
                    return answer
            if isinstance(answer, wire.Refused):
                # It is there, and asks for time.
                give_up_s = max(give_up_s, self.give_up_s)
            if time.monotonic() - began_s >= give_up_s:
                raise RefusedByDaemon(answer) if isinstance(answer, wire.Refused) else self._silent()
            time.sleep(RETRY_PAUSE_S)
            patience_s = min(2 * patience_s, BACK_OFF_MAX_S)

    def _greet(self, timeout_s: float) -> wire.Welcome | wire.Refused | None:
        """Send the run's Hello; return the Welcome, a refusal that may pass, or None if no answer comes in time."""
        hello = self._opened()
        deadline = time.monotonic() + timeout_s
        if not self._transmit(wire.encode(hello), timeout_s):
            return None
        while self._socket.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            answer = self._read()
            if isinstance(answer, wire.Welcome) and (answer.session, answer.run) == (hello.session, hello.run):
                return answer
            if isinstance(answer, wire.Refused):
                if answer.retryable:
                    return answer
                raise RefusedByDaemon(answer)
        return None

    def _silent(self) -> NoDaemonError:
        if self._unanswered:
            (of, index), *_ = self._unanswered
            return no_daemon(self.host, self.port, f"no answer to {of} {index} for {self.give_up_s:g} s")
        return no_daemon(self.host, self.port, "no answer to Hello")


class OpenRun:
    """A run that is open: sends its volumes, and the onsets before them, and ends it.

    Parameters
    ----------
    welcome : the daemon's answer; a run that was interrupted goes on at `next_index`
    """

    def __init__(self, client: ScannerClient, hello: wire.Hello, welcome: wire.Welcome) -> None:
        self._client, self.hello, self.welcome = client, hello, welcome
        self.next_index = welcome.next_index

    def send(self, voxels: Array, *, index: int | None = None, onsets: Iterable[Onset] = (), **fields: Any) -> wire.Ack:
        """Send the onsets, then the volume; return when all are durable.

        Parameters
        ----------
        voxels : array of shape (X, Y, Z), of the run's dtype
        index : the volume's number in the run; the one after the last if None
        fields : as for `ScannerClient.send_volume`
        """
        for onset in onsets:
            self.send_onset(onset)
        index = self.next_index if index is None else index
        ack = self._client.send_volume(voxels, index, **fields)
        self.next_index = max(self.next_index, index + 1)
        return ack

    def send_onset(self, onset: Onset) -> wire.Ack:
        """Send an onset, before the volumes that follow it; return when it is durable."""
        return self._client.send_event(
            onset.event,
            onset.onset_s,
            duration_s=onset.duration_s,
            seen_png=onset.seen_png,
            **(onset.shown or {}),
        )

    def end(self, n_volumes: int | None = None) -> wire.Ack:
        """Say that the run is over; it has `next_index` volumes if not said otherwise."""
        return self._client.end_run(self.next_index if n_volumes is None else n_volumes)


def _address(host: str, port: int) -> tuple[str, int]:
    if not host.startswith("tcp://"):
        return host, port
    name, _, number = host.removeprefix("tcp://").rpartition(":")
    if not name or not number.isdigit():
        raise ScannerError(f"{host!r} is no address; give tcp://HOST:PORT, as the daemon's serve.json has it")
    return name.strip("[]"), int(number)
