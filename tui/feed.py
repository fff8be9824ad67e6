"""The daemon's stream for the monitor: decodes with their pictures, and notices of unreadable ones; and pausing.

The functions block, because a socket must stay in one thread; the monitor runs them in workers.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..arrays import Array
from ..client.control import ControlClient
from ..client.endpoints import Endpoints
from ..client.pictures import PictureError, read_picture
from ..client.subscriber import DecodeSubscriber
from ..client.wire import Decode, Gap, Heartbeat, Skipped
from .pictures import KEPT_PX

STOP_CHECK_S = 0.2


@dataclass(frozen=True)
class Stage:
    """A decode message with its picture, (height, width, 3) uint8, if it has one."""

    decode: Decode
    picture: Array | None


@dataclass(frozen=True)
class Notice:
    """A problem that people should see and that stops nothing: an unreadable message or picture, a gap."""

    sentence: str


Heard = Stage | Skipped | Heartbeat | Notice


def follow(where: Endpoints, is_stopped: Callable[[], bool], n_history: int = 0) -> Iterator[Heard]:
    """Yield the daemon's messages until `is_stopped`; the daemon may come, go and come again.

    The last `n_history` messages before the start are fetched and come first.

    Raises
    ------
    RefusedByDaemon
        The daemon refuses the key or wants one.
    """
    with (
        _warnings_of_subscriber() as sentences,
        DecodeSubscriber.at(where, history=n_history) as subscriber,
    ):
        while not is_stopped():
            received = subscriber.receive(timeout_s=STOP_CHECK_S)
            while sentences:
                yield Notice(sentences.popleft())
            match received:
                case (Decode() as decode, png):
                    yield _stage(decode, png)
                case (Skipped() | Heartbeat() as message, _):
                    yield message
                case (Gap() as gap, _):
                    yield Notice(gap.sentence)


def set_paused(where: Endpoints, paused: bool) -> None:
    """Pause decoding or go on.

    Raises
    ------
    BraindError
        No daemon answers, or the daemon refuses.
    """
    with ControlClient(*where.address("control")) as control:
        control.pause(paused)


@contextmanager
def _warnings_of_subscriber() -> Iterator[deque[str]]:
    """Collect the subscriber's log messages, which would otherwise be written across the screen."""
    sentences: deque[str] = deque()
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: sentences.append(record.getMessage())
    logger = logging.getLogger(DecodeSubscriber.__module__.rpartition(".")[0])  # of everything that the subscriber uses
    propagated = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield sentences
    finally:
        logger.propagate = propagated
        logger.removeHandler(handler)


def _stage(decode: Decode, png: bytes | None) -> Stage | Notice:
    has_picture = decode.seen if decode.stage == "scores" else True
    if not has_picture:
        return Stage(decode, None)
    where = f"run {decode.run}, volume {decode.index}, {decode.stage}"
    if png is None:
        return Notice(f"{where}: the picture that the header announces is missing")
    try:
        return Stage(decode, read_picture(png, KEPT_PX))
    except PictureError as error:
        return Notice(f"{where}: {error}")
