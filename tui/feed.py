"""The daemon's stream for the monitor: decodes with their pictures, and notices of unreadable ones; and requests.

The functions block, because a socket must stay in one thread; the monitor runs them in workers.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from ..arrays import Array
from ..client.control import ControlClient
from ..client.endpoints import Endpoints
from ..client.pictures import MAX_PICTURE_PX, PictureError, read_picture
from ..client.subscriber import DecodeSubscriber
from ..client.wire import Decode, Gap, Heartbeat, Mark, Numbered, Skipped
from ..errors import BraindError

STOP_CHECK_S = 0.2
POLL_S = 1.0
PAGE = 32

Published = Decode | Skipped | Gap
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Stage:
    """A decode message with its picture, (height, width, 3) uint8, if it has one."""

    decode: Decode
    picture: Array | None
    is_unreadable: bool = False
    """Whether the decode has a picture that cannot be shown. What else the message says still holds."""


@dataclass(frozen=True)
class Notice:
    """A problem that people should see and that stops nothing: an unreadable message or picture, a gap."""

    sentence: str
    made_s: float | None = None
    """When it was made by the daemon's clock, if the daemon published it."""
    gap: Gap | None = None
    """The volumes that did not come, if the notice is about them."""


Heard = Stage | Skipped | Heartbeat | Notice


def follow(
    where: Endpoints, is_stopped: Callable[[], bool], n_history: int = 0, largest_px: int = MAX_PICTURE_PX
) -> Iterator[Heard]:
    """Yield the daemon's messages until `is_stopped`; the daemon may come, go and come again.

    The last `n_history` messages before the start are fetched and come first. Pictures are scaled down to a longer side
    of `largest_px`.

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
                case (Heartbeat() as heartbeat, _):
                    yield heartbeat
                case (message, png) if isinstance(message, Numbered):
                    yield from heard_of(message, png, largest_px)


def set_paused(where: Endpoints, paused: bool) -> None:
    """Pause decoding or go on.

    Raises
    ------
    BraindError
        No daemon answers, or the daemon refuses.
    """
    request(where, lambda control: control.pause(paused))


def request(where: Endpoints, ask: Callable[[ControlClient], Answer]) -> Answer:
    """Return the answer to one request.

    Raises
    ------
    BraindError
        No daemon answers, or the daemon refuses.
    """
    with ControlClient(*where.address("control")) as control:
        return ask(control)


def send_mark(where: Endpoints, mark: Mark) -> str:
    """Have the daemon keep a mark; return what the daemon answers.

    Raises
    ------
    BraindError
        No daemon answers, or the daemon refuses.
    """
    return request(where, lambda control: control.mark(mark))


def poll(
    where: Endpoints, ask: Callable[[ControlClient], Answer], is_stopped: Callable[[], bool]
) -> Iterator[Answer | BraindError]:
    """Yield the answer to a request again and again until `is_stopped`, or the error in place of an answer."""
    with ControlClient(*where.address("control")) as control:
        while not is_stopped():
            try:
                answer = ask(control)
            except BraindError as error:
                answer = error
            yield answer
            until_s = time.monotonic() + POLL_S
            while time.monotonic() < until_s and not is_stopped():
                time.sleep(STOP_CHECK_S / 2)


def fetch_stages(where: Endpoints, seqs: Iterable[int], largest_px: int = MAX_PICTURE_PX) -> list[Stage | Notice]:
    """Return decodes by their numbers, as `follow` yields them. A number that the daemon has no longer is left out.

    Raises
    ------
    BraindError
        No daemon answers, or the daemon refuses.
    """
    found: list[Stage | Notice] = []
    with ControlClient(*where.address("control")) as control:
        for seq in sorted(seqs):
            for message, payload in control.fetch(seq, 1):
                if isinstance(message, Decode) and message.seq == seq:
                    found += stage_of(message, payload[0] if payload else None, largest_px)
    return found


def fetch_session(where: Endpoints, session: str, before_seq: int, is_stopped: Callable[[], bool]) -> list[Published]:
    """Return a session's decodes, skipped volumes and gaps before a number, in order, without pictures.

    The daemon reads a small page at a time, so that it acks volumes meanwhile.

    Raises
    ------
    BraindError
        No daemon answers, or the daemon refuses.
    """
    found: list[Published] = []
    with ControlClient(*where.address("control")) as control:
        while before_seq > 1 and not is_stopped():
            first = max(1, before_seq - PAGE)
            answers = [message for message, _ in control.fetch(first, before_seq - first, pictures=False)]
            page = [one for one in answers if isinstance(one, Decode | Skipped | Gap) and first <= one.seq < before_seq]
            found[:0] = [one for one in page if one.session == session]
            if page and all(one.session != session for one in page):
                break
            before_seq = first
    return found


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


def heard_of(message: Numbered, png: bytes | None, largest_px: int) -> Sequence[Stage | Skipped | Notice]:
    """Return what the monitor takes of a numbered message; `png` is the message's payload."""
    match message:
        case Decode():
            return stage_of(message, png, largest_px)
        case Skipped():
            return [message]
        case Gap():
            return [Notice(message.sentence, message.made_s, message)]


def stage_of(decode: Decode, png: bytes | None, largest_px: int) -> list[Stage | Notice]:
    """Return a decode with its picture, or the reason why the picture cannot be shown and the decode without it."""
    has_picture = decode.seen if decode.stage == "scores" else True
    if not has_picture:
        return [Stage(decode, None)]
    try:
        if png is None:
            raise PictureError("the picture that the header announces is missing")
        return [Stage(decode, read_picture(png, largest_px))]
    except PictureError as error:
        where = f"run {decode.run}, volume {decode.index}, {decode.stage}"
        return [Notice(f"{where}: {error}", decode.made_s), Stage(decode, None, is_unreadable=True)]
