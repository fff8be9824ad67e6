"""What front and decoder say to each other: one JSON object a line, over the decoder's stdin and stdout.

Only hints travel here. What must not be lost is in the journal; either side may die between any two lines.
"""

from typing import Literal

import msgspec

from ..models.presets import Preset


class Line(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """One line."""


# ── front → decoder ─────────────────────────────────────────────────────────────────────────────────────────────────


class Setup(Line, frozen=True, kw_only=True, tag="setup"):
    """First of all: what to load and how to decode. `next_seq` is the number of the next message for the viewers."""

    weights_path: str
    candidates_path: str
    ldm_path: str | None
    lora_path: str | None
    tiny_decoder_path: str | None
    journals_path: str
    sessions: tuple[str, ...]
    next_seq: int
    policy: str
    preset: Preset
    refine: Preset | None
    engine: Literal["auto", "torch", "onnx"]
    engines_path: str
    provider: str
    may_fall_back: bool
    gpu_dtype: Literal["bfloat16", "float16", "float32"]
    keep_warm_ms: int
    mode: Literal["z", "c", "zc"]
    seed: int
    threads: int
    paused: bool


class Wake(Line, frozen=True, kw_only=True, tag="wake"):
    """A volume was committed. `arrived_s` is the monotonic clock's time, which both processes share."""

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
    """Take no further volume, or go on."""

    paused: bool


class Stop(Line, frozen=True, kw_only=True, tag="stop"):
    """Finish the volume at hand and exit."""


# ── decoder → front ─────────────────────────────────────────────────────────────────────────────────────────────────


class Ready(Line, frozen=True, kw_only=True, tag="ready"):
    """Loaded and warmed up."""

    engine: str
    ldm: str
    preset: str
    load_s: float
    warm_up_s: float


class Taking(Line, frozen=True, kw_only=True, tag="taking"):
    """This volume is being decoded: if the decoder dies now, it is the one to blame."""

    session: str
    run: str
    index: int


class Committed(Line, frozen=True, kw_only=True, tag="committed"):
    """Messages for the viewers, up to `seq`, are in the session's journal."""

    session: str
    seq: int


class Settled(Line, frozen=True, kw_only=True, tag="settled"):
    """A volume needs no decode of its own: a BOLD volume at which no trial's estimate became ready, or a late one."""

    session: str
    run: str
    index: int
    state: str


class Unfit(Line, frozen=True, kw_only=True, tag="unfit"):
    """What was asked for cannot be loaded or does not fit together."""

    code: str
    sentence: str


ToDecoder = Setup | Wake | EndOfRun | PauseDecoding | Stop
ToFront = Ready | Taking | Committed | Settled | Unfit

_encoder = msgspec.json.Encoder()
_to_decoder: msgspec.json.Decoder[ToDecoder] = msgspec.json.Decoder(ToDecoder)
_to_front: msgspec.json.Decoder[ToFront] = msgspec.json.Decoder(ToFront)


def encode(line: Line) -> bytes:
    """Return a line, with its newline."""
    return _encoder.encode(line) + b"\n"


def decode_for_decoder(line: bytes) -> ToDecoder:
    """Read a line that the front wrote."""
    return _to_decoder.decode(line)


def decode_for_front(line: bytes) -> ToFront:
    """Read a line that the decoder wrote."""
    return _to_front.decode(line)
