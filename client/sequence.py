"""The sequence of published messages: each numbered message once, in order, with what a viewer lost fetched again."""

import logging
import time
from typing import NamedTuple

import numpy as np

from . import wire
from .connection import NoDaemonError, RefusedByDaemon
from .control import ControlClient

logger = logging.getLogger(__name__)

FETCH_LIMIT = 100
FETCH_PATIENCE_S = 20.0
"""A hole is fetched again for so long. A daemon that was killed is back within seconds."""
START_S = 1.0

Published = wire.Numbered | wire.Heartbeat


class Received(NamedTuple):
    """A published message and its picture, a PNG file's bytes.

    The picture of stage `scores` is the seen picture; the picture of any other stage is the decoded one.
    """

    message: Published
    png: bytes | None = None

    @property
    def picture(self) -> wire.Array | None:
        """The picture: (height, width, 3) uint8, sRGB; None without one. Raises PictureError if it is not a PNG."""
        from .pictures import read_picture

        return None if self.png is None else read_picture(self.png)

    @property
    def scores(self) -> wire.Array:
        """The best candidates' scores (correlations): (k,) float32, best first; empty unless the stage is `scores`."""
        retrieved = self.message.retrieved if isinstance(self.message, wire.Decode) else ()
        return np.array([one.score for one in retrieved], np.float32)

    @property
    def labels(self) -> list[str]:
        """The best candidates' labels, in the order of `scores`."""
        return [one.label for one in self.message.retrieved] if isinstance(self.message, wire.Decode) else []

    @property
    def probabilities(self) -> dict[str, float]:
        """Each class's probability by its name, the most probable first; empty without classes."""
        labels = self.message.labels if isinstance(self.message, wire.Decode) else ()
        return {one.label: one.probability for one in labels}


class PublishedSequence:
    """Merges the stream of published messages with fetched messages.

    Parameters
    ----------
    control : ControlClient
    from_seq : the first number wanted; None begins after the newest number
    history : how many earlier messages are wanted too, if `from_seq` is None
    """

    def __init__(self, control: ControlClient, from_seq: int | None, history: int) -> None:
        self._control, self._history = control, history
        self._heard_seq = 0
        """The highest number that the stream has named."""
        self._failing_since_s: float | None = None
        """When the daemon began not to answer fetches."""
        self.n_lost = 0
        self._last_seq = None if from_seq is None else from_seq - 1
        """The last number that was taken or lost; None before the first."""

    def start(self) -> None:
        """Begin after the daemon's newest number. Call this when the stream is subscribed to.

        If the daemon does not answer, the first message of the stream is the first.
        """
        if self._last_seq is None:
            newest = self._newest_seq(START_S)
            self._last_seq = None if newest is None else max(0, newest - self._history)

    def may_ask(self, message: Published) -> bool:
        """Return whether `take` may wait for the daemon's answer."""
        return _numbers(message)[0] != self._last_seq

    def take(self, received: Received) -> tuple[list[Received], bool]:
        """Return the messages that are missing before a message of the stream, then this message.

        The second value is False if the daemon does not answer. Then messages are still missing and the message itself
        is left out: take it again later.
        """
        before, newest = _numbers(received.message)
        if self._last_seq is None:
            self._last_seq = max(0, before - self._history)
        elif self._counts_anew(before):
            self._last_seq = self._heard_seq = 0
        fetched, is_complete = self._fetch_up_to(before)
        if not is_complete:
            return fetched, False
        self._heard_seq = max(self._heard_seq, newest)
        if isinstance(received.message, wire.Heartbeat):
            return [*fetched, received], True
        if newest <= self._last_seq:  # it was fetched already
            return fetched, True
        self._last_seq = newest
        return [*fetched, received], True

    def _counts_anew(self, before: int) -> bool:
        """Return whether another daemon counts, given the number before a message of the stream.

        In the stream, the numbers of one daemon only grow. But the start may run ahead of the stream: then a low number
        may belong to a message that was still on its way.
        """
        if before < self._heard_seq:
            return True
        if self._last_seq is None or before >= self._last_seq:
            return False
        newest = self._newest_seq(self._control.timeout_s)
        return newest is not None and newest < self._last_seq

    def _newest_seq(self, within_s: float) -> int | None:
        """Return the daemon's newest number; None if the daemon does not answer."""
        usual_s, self._control.timeout_s = self._control.timeout_s, within_s
        try:
            return self._control.status().last_seq
        except (NoDaemonError, RefusedByDaemon, wire.WireError) as error:
            if error.code == "protocol":
                raise
            return None
        finally:
            self._control.timeout_s = usual_s

    def _fetch_up_to(self, newest: int) -> tuple[list[Received], bool]:
        """Fetch the missing messages up to a number; return them, and whether the daemon answered."""
        assert self._last_seq is not None
        found: list[Received] = []
        while self._last_seq < newest:
            first = self._last_seq + 1
            try:
                answers = self._control.fetch(first, min(FETCH_LIMIT, newest - self._last_seq))
                self._failing_since_s = None
            except (NoDaemonError, RefusedByDaemon, wire.WireError) as error:
                logger.warning("decodes %d to %d cannot be fetched: %s", first, newest, error)
                if self._may_pass(error):
                    return found, False
                answers = []
            wanted = [one for one in answers if isinstance(one[0], wire.Numbered) and first <= one[0].seq <= newest]
            # Without any of the wanted messages, the whole hole is lost.
            last_seq = wanted[-1][0].seq if wanted else newest
            self.n_lost += last_seq - self._last_seq - len(wanted)
            self._last_seq = last_seq
            found += [Received(message, payload[0] if payload else None) for message, payload in wanted]
        return found, True

    def _may_pass(self, error: Exception) -> bool:
        """Return whether a fetch that failed may succeed soon."""
        if not (isinstance(error, NoDaemonError) or (isinstance(error, RefusedByDaemon) and error.refused.retryable)):
            return False
        now_s = time.monotonic()
        self._failing_since_s = now_s if self._failing_since_s is None else self._failing_since_s
        return now_s - self._failing_since_s < FETCH_PATIENCE_S


def _numbers(message: Published) -> tuple[int, int]:
    """Return the number before a message, and the newest number that the message names."""
    if isinstance(message, wire.Heartbeat):
        return message.last_seq, message.last_seq
    return message.seq - 1, message.seq
