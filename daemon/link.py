"""The lines between front and decoder: each is one JSON object, on the decoder's stdin or stdout.

The lines are only hints. Either process may die between two lines: the journal holds everything that must not be lost.
"""

from typing import TypeVar

import msgspec

from ..choices import Policy
from ..models.pipeline_settings import PipelineSettings
from ..models.presets import Preset


class Line(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """A line between the two processes."""


# ── front → decoder ─────────────────────────────────────────────────────────────────────────────────────────────────


class DecoderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The files and settings that a decoder loads: weights, candidates, and the pipeline that makes pictures."""

    weights_path: str
    candidates_path: str
    pipeline: PipelineSettings
    refine: Preset | None = None
    """The preset of refined pictures; None: no refined pictures."""


class Setup(Line, frozen=True, kw_only=True, tag="setup"):
    """The first line: how to load and decode. `next_seq` numbers the next message for the viewers."""

    decoder: DecoderSettings
    journals_path: str
    sessions: tuple[str, ...]
    next_seq: int
    policy: Policy
    keep_warm_ms: int
    paused: bool


class Wake(Line, frozen=True, kw_only=True, tag="wake"):
    """A volume was committed. `arrived_s` is monotonic time in s; both processes share this clock."""

    session: str
    run: str
    index: int
    arrived_s: float
    ack_s: float


class EndOfRun(Line, frozen=True, kw_only=True, tag="end_of_run"):
    """A run's end was committed."""

    session: str
    run: str


class PauseDecoding(Line, frozen=True, kw_only=True, tag="pause_decoding"):
    """Decode no further volume (`paused` true), or go on."""

    paused: bool


class SetPolicy(Line, frozen=True, kw_only=True, tag="set_policy"):
    """Choose among waiting volumes by this policy from now on."""

    policy: Policy


class Stop(Line, frozen=True, kw_only=True, tag="stop"):
    """Finish the current volume and exit."""


# ── decoder → front ─────────────────────────────────────────────────────────────────────────────────────────────────


class Ready(Line, frozen=True, kw_only=True, tag="ready"):
    """The decoder is loaded and warmed up."""

    engine: str
    ldm: str
    preset: str
    load_s: float
    warm_up_s: float


class Taking(Line, frozen=True, kw_only=True, tag="taking"):
    """The decoder starts this volume. If the decoder dies now, the crash is counted against this volume.

    `wire.Skipped` describes `events`.
    """

    session: str
    run: str
    index: int
    events: tuple[int, ...] | None = None


class Committed(Line, frozen=True, kw_only=True, tag="committed"):
    """Messages for the viewers, up to `seq`, are in the session's journal."""

    session: str
    seq: int


class Settled(Line, frozen=True, kw_only=True, tag="settled"):
    """A volume gets no decode of its own: a BOLD volume that completes no trial's estimate."""

    session: str
    run: str
    index: int
    state: str


class Alive(Line, frozen=True, kw_only=True, tag="alive"):
    """The decoder's main loop goes on. Until the next `Alive`, no silence is longer than `within_s` seconds."""

    within_s: float


class Unfit(Line, frozen=True, kw_only=True, tag="unfit"):
    """The decoder settings cannot be loaded, or their files do not belong together."""

    code: str
    sentence: str


ToDecoder = Setup | Wake | EndOfRun | PauseDecoding | SetPolicy | Stop
ToFront = Ready | Taking | Committed | Settled | Alive | Unfit

Read = TypeVar("Read")

_encoder = msgspec.json.Encoder()
_to_decoder: msgspec.json.Decoder[ToDecoder] = msgspec.json.Decoder(ToDecoder)
_to_front: msgspec.json.Decoder[ToFront] = msgspec.json.Decoder(ToFront)


def encode(line: Line) -> bytes:
    """Return a line's bytes, with the newline."""
    return _encoder.encode(line) + b"\n"


def decode_for_decoder(line: bytes) -> ToDecoder:
    """Read a line that the front wrote. Raises ValueError for any other line."""
    return _decode(_to_decoder, line)


def decode_for_front(line: bytes) -> ToFront:
    """Read a line that the decoder wrote. Raises ValueError for any other line."""
    return _decode(_to_front, line)


def _decode(decoder: msgspec.json.Decoder[Read], line: bytes) -> Read:
    try:
        return decoder.decode(line)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
