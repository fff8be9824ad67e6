"""Watch which sent volumes are decoded, and how soon, in a thread of its own."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from ..connection import NoDaemonError
from ..subscriber import DecodeSubscriber, Received
from ..wire import Decode, Skipped

POLL_S = 0.1
HEARTBEAT_WAIT_S = 5.0

Volume = tuple[str, int]
"""A run's name, and a volume's index in it."""


class DecodeWatch:
    """Matches the decodes of one session with the volumes sent; without a subscriber it watches nothing.

    Only volumes that `sent` announced count, each once. An earlier replay's volumes are in the earlier summary.
    """

    def __init__(self, subscriber: DecodeSubscriber | None, session: str) -> None:
        self._subscriber = subscriber
        self._session = session
        self._sent_s: dict[Volume, float] = {}
        self._decoded_s: dict[Volume, float] = {}
        self._skipped: set[Volume] = set()
        self._changed_s = time.monotonic()
        self._received = threading.Event()
        self._stopping = threading.Event()
        self._executor = ThreadPoolExecutor(1, "decodes")
        self._listening: Future[None] | None = None

    @property
    def n_decoded(self) -> int:
        """How many sent volumes have their last stage."""
        return len(self._decoded_s)

    @property
    def n_skipped(self) -> int:
        """How many sent volumes were skipped."""
        return len(self._skipped)

    def sent(self, run: str, index: int) -> None:
        """Note that a volume is sent now."""
        self._sent_s.setdefault((run, index), time.monotonic())
        self._changed_s = time.monotonic()

    def latencies_s(self) -> list[float]:
        """Return the seconds from sending to the last stage for each decoded volume."""
        return [decoded_s - self._sent_s[volume] for volume, decoded_s in self._decoded_s.items()]

    def wait_until_settled(self, n_acked: int | None, settle_s: float, report: Callable[[], None]) -> None:
        """Wait until `n_acked` volumes are decoded or skipped, or until none was for `settle_s` seconds.

        `n_acked` None means that the number of decodes is unknown (BOLD). `report` is called while waiting.
        """
        while self._subscriber is not None and time.monotonic() - self._changed_s < settle_s:
            if n_acked is not None and self.n_decoded + self.n_skipped >= n_acked:
                break
            if self._listening is not None and self._listening.done():
                break
            self._stopping.wait(POLL_S)
            report()
        report()

    def __enter__(self) -> Self:
        if self._subscriber is not None:
            self._listening = self._executor.submit(self._listen, self._subscriber)
            # The first message shows that the daemon publishes on this port.
            while not self._received.wait(POLL_S):
                if self._listening.done():
                    break
                if time.monotonic() - self._changed_s > HEARTBEAT_WAIT_S:
                    self._stop()
                    raise NoDaemonError(
                        "the daemon publishes nothing, not even heartbeats: is [serve] decodes_port the one it has?"
                    )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if error is None and self._listening is not None:
            self._listening.result()

    def _stop(self) -> None:
        self._stopping.set()
        self._executor.shutdown()

    def _listen(self, subscriber: DecodeSubscriber) -> None:
        while not self._stopping.is_set():
            received = subscriber.receive(POLL_S)
            if received is not None:
                self._received.set()
                self._take(received)

    def _take(self, received: Received) -> None:
        message = received.message
        if not isinstance(message, Decode | Skipped) or message.session != self._session:
            return
        volume = (message.run, message.index)
        if volume not in self._sent_s:
            return
        if isinstance(message, Skipped):
            self._skipped.add(volume)
        elif message.is_last:
            self._decoded_s.setdefault(volume, time.monotonic())
        self._changed_s = time.monotonic()
