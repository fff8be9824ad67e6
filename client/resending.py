"""A connection that sends each message again, byte for byte, until the daemon answers it.

The daemon answers a message that it already has with a duplicate's ack. A lost ack, a lost connection and a restarted
daemon therefore need the same cure: open the run again through a fresh connection, and send everything unanswered.
"""

import math
import time
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import zmq

from ..errors import BraindError
from . import wire
from .address import Address
from .clock import ClockOffset, ClockWatch
from .connection import NoDaemonError, RefusedByDaemon, check_protocol, connect

Answered = Literal["volume", "event", "end_run"]
Key = tuple[Answered, int]
"""What a message is, and its number in the run."""
Answer = TypeVar("Answer", bound=wire.Message)

END_OF_RUN: Key = ("end_run", 0)
RUN_NOT_OPEN = "run"
"""The refusal code of a daemon that was restarted between two volumes."""
BACK_OFF_MAX_S = 8.0
RETRY_PAUSE_S = 0.1
N_CLOCK_REQUESTS = 8
"""Clock measurements when a run is opened; later there is one at a time, between volumes."""
CLOCK_EVERY_S = 5.0
CLOCK_PATIENCE_S = 0.5


class ScannerError(BraindError):
    """The client was used in the wrong order, or the daemon does not follow the protocol."""

    code = "scanner"


class ResendingConnection:
    """A connection to the daemon's ingest socket; it keeps each message until its answer comes.

    Not for use from several threads at once.

    Parameters
    ----------
    address : the daemon's ingest socket
    timeout_s : how long an answer may take before the message is sent again
    give_up_s : how long the daemon may be silent in a run before `NoDaemonError` is raised
    """

    def __init__(self, address: Address, timeout_s: float, give_up_s: float) -> None:
        self.address = address
        self.timeout_s, self.give_up_s = timeout_s, give_up_s
        self._context = zmq.Context()
        self._socket = connect(self._context, zmq.DEALER, address)
        self._has_met_daemon = False
        self._hello: wire.Hello | None = None
        self._unanswered: dict[Key, list[Any]] = {}  # sent frames, oldest first, until their answer comes
        self._answers: dict[Key, wire.Ack | wire.Refused] = {}
        # When the daemon last answered a message, or when the oldest unanswered message began to wait.
        self._answered_s = time.monotonic()
        self._must_reopen = False
        self._clock, self._asked_clock_s = ClockWatch(), -math.inf

    @property
    def n_unanswered(self) -> int:
        """How many messages have no answer yet."""
        return len(self._unanswered)

    @property
    def hello(self) -> wire.Hello:
        """The Hello of the open run. Raises ScannerError if no run is open."""
        if self._hello is None:
            raise ScannerError("no run is open: call open_run(Hello(...)) first")
        return self._hello

    @property
    def clock_offset(self) -> ClockOffset | None:
        """How far the daemon's clock is ahead of this machine's; None before the first measurement."""
        return self._clock.offset

    def ask(self, request: wire.Message, answer_type: type[Answer]) -> Answer:
        """Send a request that belongs to no run and return its answer.

        Raises
        ------
        RefusedByDaemon, NoDaemonError
        """
        self.wait_answered()
        self._transmit(wire.encode(request), self.timeout_s)
        deadline = time.monotonic() + 2 * self.timeout_s
        while self._socket.poll(_milliseconds_to(deadline)):
            answer = self._read()
            if isinstance(answer, answer_type):
                return answer
            if isinstance(answer, wire.Refused):
                raise RefusedByDaemon(answer)
        raise self._socket.silent(f"no answer to {type(request).__name__}")

    def open_run(self, hello: wire.Hello) -> wire.Welcome:
        """Open a run, or reopen an interrupted one, and measure the daemon's clock.

        Before the first Welcome the daemon may be silent for twice `timeout_s`; after it, for `give_up_s`.

        Raises
        ------
        RefusedByDaemon, NoDaemonError
        """
        self.wait_answered()
        self._answers.clear()
        self._hello = hello
        try:
            welcome = self._reopen(self.give_up_s if self._has_met_daemon else 2 * self.timeout_s, reconnect=False)
        except (RefusedByDaemon, NoDaemonError):
            self._hello = None
            raise
        self._has_met_daemon = True
        self._clock = ClockWatch()
        self._measure_clock(N_CLOCK_REQUESTS)
        return welcome

    def post(self, key: Key, frames: list[Any]) -> None:
        """Send a message; keep it until its answer comes."""
        if not self._unanswered:
            self._answered_s = time.monotonic()
        self._unanswered[key] = frames
        if not self._transmit(frames, self.timeout_s):
            self._must_reopen = True

    def settle(self, key: Key, frames: list[Any]) -> wire.Ack:
        """Send a message and wait for its ack. Raises RefusedByDaemon or NoDaemonError."""
        self.post(key, frames)
        self.wait(lambda: key not in self._unanswered)
        answer = self._answers.pop(key)
        if isinstance(answer, wire.Refused):
            raise RefusedByDaemon(answer)
        return answer

    def wait_answered(self) -> None:
        """Wait until every message has its answer."""
        self.wait(lambda: not self._unanswered)

    def wait(self, is_satisfied: Callable[[], bool]) -> None:
        """Read answers until satisfied. After `timeout_s` without one, reopen the run and send again.

        Raises
        ------
        NoDaemonError
            The daemon was silent for `give_up_s`.
        """
        while not is_satisfied():
            if not self._must_reopen and self._socket.poll(int(self.timeout_s * 1000)):
                self._receive()
            elif time.monotonic() - self._answered_s > self.give_up_s:
                raise self._silent()
            else:
                self._reopen(self.give_up_s)

    def take_answers(self) -> list[wire.Ack | wire.Refused]:
        """Return the answers that no call has returned yet."""
        answers = list(self._answers.values())
        self._answers.clear()
        return answers

    def close(self) -> None:
        """Close the socket; the connection cannot be used after."""
        self._socket.close()
        self._context.term()

    # ── sending and receiving ───────────────────────────────────────────────────────────────────────────────────────

    def _transmit(self, frames: list[Any], timeout_s: float) -> bool:
        """Hand a message to ZeroMQ, reading answers meanwhile; return False if ZeroMQ does not take it in time."""
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

    def _receive(self) -> None:
        answer = self._read()
        hello = self.hello
        if isinstance(answer, wire.Ack) and (answer.session, answer.run) == (hello.session, hello.run):
            self._answer(END_OF_RUN if answer.of == "end_run" else (answer.of, answer.index), answer)
        elif isinstance(answer, wire.Refused):
            may_pass = answer.retryable or answer.code == RUN_NOT_OPEN
            if may_pass and time.monotonic() - self._answered_s < self.give_up_s:
                time.sleep(RETRY_PAUSE_S)
                self._must_reopen = True
            else:
                self._answer(self._refused_key(answer), answer)

    def _read(self) -> Any:
        try:
            return wire.decode(self._socket.recv_multipart())[0]
        except wire.WireError as error:
            raise ScannerError(f"{self.address} does not speak braind's protocol: {error}") from error

    def _answer(self, key: Key | None, answer: wire.Ack | wire.Refused) -> None:
        if key in self._unanswered:
            del self._unanswered[key]
            self._answers[key] = answer
            self._answered_s = time.monotonic()

    def _refused_key(self, refused: wire.Refused) -> Key | None:
        for key in self._unanswered:
            if key[1] == refused.index and key != END_OF_RUN:
                return key
        # The refusal of an unreadable header, or of an EndRun, has no index. Answers keep the messages' order.
        return next(iter(self._unanswered), None) if refused.index is None or END_OF_RUN in self._unanswered else None

    # ── opening the run ─────────────────────────────────────────────────────────────────────────────────────────────

    def _reopen(self, give_up_s: float, *, reconnect: bool = True) -> wire.Welcome:
        """Open the run and send everything unanswered; try again, with growing patience, until it succeeds.

        Without `reconnect` the first try uses the connection that exists.
        """
        began_s = time.monotonic()
        patience_s, refused = self.timeout_s, None
        while True:
            if reconnect:
                self._socket.close()
                self._socket = connect(self._context, zmq.DEALER, self.address)
            reconnect = True
            self._must_reopen = False
            remaining_s = began_s + give_up_s - time.monotonic()
            answer = self._greet(min(patience_s, max(0.0, remaining_s)))
            if isinstance(answer, wire.Welcome):
                # A copy, because answers that come meanwhile remove messages.
                if all(self._transmit(frames, patience_s) for frames in list(self._unanswered.values())):
                    self._asked_clock_s = -math.inf  # the daemon forgets the client's clock with each Hello
                    return answer
            if isinstance(answer, wire.Refused):
                # The daemon is there and asks for time.
                refused, give_up_s = answer, max(give_up_s, self.give_up_s)
            elif remaining_s >= patience_s:
                refused = None  # the daemon had time to answer, and did not
            if time.monotonic() - began_s >= give_up_s:
                raise RefusedByDaemon(refused) if refused else self._silent()
            time.sleep(RETRY_PAUSE_S)
            patience_s = min(2 * patience_s, BACK_OFF_MAX_S)

    def _greet(self, timeout_s: float) -> wire.Welcome | wire.Refused | None:
        """Send the run's Hello; return the Welcome, a retryable refusal, or None if no answer comes in time."""
        hello = self.hello
        deadline = time.monotonic() + timeout_s
        if not self._transmit(wire.encode(hello), timeout_s):
            return None
        while self._socket.poll(_milliseconds_to(deadline)):
            answer = self._read()
            if isinstance(answer, wire.Welcome) and (answer.session, answer.run) == (hello.session, hello.run):
                check_protocol(answer.protocol, self.address)
                return answer
            if isinstance(answer, wire.Refused):
                if answer.retryable:
                    return answer
                raise RefusedByDaemon(answer)
        return None

    def _silent(self) -> BraindError:
        if self._unanswered:
            (of, index), *_ = self._unanswered
            return self._socket.silent(f"no answer to {of} {index} for {self.give_up_s:g} s")
        return self._socket.silent("no answer to Hello")

    # ── the daemon's clock ──────────────────────────────────────────────────────────────────────────────────────────

    def refresh_clock(self) -> None:
        """Measure the daemon's clock if the last measurement is older than `CLOCK_EVERY_S`."""
        if time.monotonic() - self._asked_clock_s > CLOCK_EVERY_S:
            self._measure_clock(1)

    def _measure_clock(self, n_times: int) -> None:
        """Measure the daemon's clock and report the best estimate to it. Does nothing while a message is unanswered."""
        for _ in range(n_times):
            self._asked_clock_s = time.monotonic()
            request = self._clock.request()
            if self._unanswered or not self._transmit(wire.encode(request), CLOCK_PATIENCE_S):
                return
            deadline = time.monotonic() + CLOCK_PATIENCE_S
            while self._socket.poll(_milliseconds_to(deadline)):
                came_s, answer = time.time(), self._read()
                if isinstance(answer, wire.Clock) and answer.sent_s == request.sent_s:
                    self._clock.take(answer, came_s)
                    break
            else:
                return


def _milliseconds_to(deadline: float) -> int:
    return max(0, int((deadline - time.monotonic()) * 1000))
