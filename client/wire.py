"""The wire protocol: every message that crosses a braind socket, defined once.

A message is ZeroMQ multipart: `[b"BRD1", JSON header, payload…]`. Headers are JSON objects with a `type`; payloads are
raw C-order little-endian array bytes or PNG files. Unknown header fields are ignored, unknown types are refused by
name. docs/protocol.md describes the same for writers of clients in other languages.
"""

from typing import Any, Literal
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import BraindError

Array = NDArray[Any]

MAGIC = b"BRD1"
PROTOCOL_VERSION = 1
MAX_HEADER_BYTES = 64 * 1024
VOLUME_DTYPES = ("int16", "uint16", "int32", "float32", "float64")

Kind = Literal["beta", "bold"]
Motion = tuple[float, float, float, float, float, float]
Stage = Literal["scores", "xz", "xzc", "refined"]
Candidate = int | str
"""A picture of the candidate set: its nsd_id, or its label."""


class WireError(BraindError):
    """A message that does not follow the protocol."""

    code = "malformed"


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """A header; payload frames travel beside it."""


# ── ingest: scanner client ⇄ front ──────────────────────────────────────────────────────────────────────────────────


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """Open a run, or come back to one.

    `shape` is (X, Y, Z) as NIfTI orders it; `affine` maps voxel indices to mm; `kind` says whether a volume is one
    single-trial response estimate (`beta`, % signal change) or one preprocessed volume per TR (`bold`). `right` and
    `foil` are the two candidates that each trial of the run is compared with, unless the volume or event names its own.
    """

    session: str
    run: str
    subject: int
    kind: Kind
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, float, float, float], ...]
    tr_s: float
    dtype: str
    space: str = "func1pt8mm"
    protocol: int = PROTOCOL_VERSION
    simulated: bool = False
    producer: str = ""
    n_volumes: int | None = None
    right: Candidate | None = None
    foil: Candidate | None = None


class GridRequest(Message, frozen=True, kw_only=True, tag="grid_request"):
    """Ask on which grid, and of whom, the daemon wants volumes; before `Hello`, to turn volumes onto it."""


class Grid(Message, frozen=True, kw_only=True, tag="grid"):
    """Answer to `GridRequest`: what the daemon's weights were fitted on."""

    subject: int
    kind: Kind
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, float, float, float], ...]
    weights: str


class ClockRequest(Message, frozen=True, kw_only=True, tag="clock_request"):
    """Ask for the daemon's time; `sent_s` is the sender's. Times are seconds since 1970.

    `offset_s` is how far the daemon's clock is ahead, by what the sender has found so far, and `uncertainty_s` by how
    much that may be wrong; the daemon shows both to people and does nothing else with them.
    """

    sent_s: float
    offset_s: float | None = None
    uncertainty_s: float | None = None


class Clock(Message, frozen=True, kw_only=True, tag="clock"):
    """Answer to `ClockRequest`: its `sent_s`, and when it was received and answered by the daemon's clock."""

    sent_s: float
    received_s: float
    answered_s: float


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """The run is open; send from `next_index` on (0, or where an interrupted run stopped)."""

    session: str
    run: str
    next_index: int
    weights: str
    simulated: bool
    protocol: int = PROTOCOL_VERSION


class Volume(Message, frozen=True, kw_only=True, tag="volume"):
    """One volume. Payload: its bytes (`shape`, C order, `dtype`, little-endian); then, if `seen`, a PNG of the picture.

    `scale` turns stored numbers into % signal change (NSD stores int16 × 300, so 1/300). `trial` and `nsd_id` name what
    was on screen, when the sender knows; the decoder never reads them. A calibration run names it so that a fit finds
    it: `stimulus` is a picture's file or id, `captions` what it shows. `motion` is what the sender's realignment
    found: translations along x, y, z in mm (RAS+), then rotations about them in rad; `roi_values` are means that the
    sender computed itself. `right` and `foil`: see `Decode`.
    """

    session: str
    run: str
    index: int
    shape: tuple[int, int, int]
    dtype: str
    crc32: int
    scale: float = 1.0
    seen: bool = False
    trial: int | None = None
    nsd_id: int | None = None
    stimulus: str | None = None
    captions: tuple[str, ...] = ()
    n_averaged: int = 1
    sent_s: float | None = None
    motion: Motion | None = None
    roi_values: tuple[float, ...] = ()
    right: Candidate | None = None
    foil: Candidate | None = None


class Event(Message, frozen=True, kw_only=True, tag="event"):
    """A trial's onset in a `bold` run, seconds after the first volume. Payload, if `seen`: a PNG of the picture.

    `stimulus` and `captions` are as a beta `Volume` has them; a trial that shows no picture says so: "n/a".
    """

    session: str
    run: str
    event: int
    onset_s: float
    duration_s: float = 3.0
    seen: bool = False
    trial: int | None = None
    nsd_id: int | None = None
    stimulus: str | None = None
    captions: tuple[str, ...] = ()
    right: Candidate | None = None
    foil: Candidate | None = None


class EndRun(Message, frozen=True, kw_only=True, tag="end_run"):
    """The run is over after `n_volumes` volumes."""

    session: str
    run: str
    n_volumes: int


class Ack(Message, frozen=True, kw_only=True, tag="ack"):
    """The volume (or event, or end of run) is durable: the sender may forget it."""

    session: str
    run: str
    index: int
    of: Literal["volume", "event", "end_run"] = "volume"
    duplicate: bool = False


class Refused(Message, frozen=True, kw_only=True, tag="refused"):
    """What was wrong, where, and what to do; `code` is stable. `retryable`: the same message may be sent again."""

    code: str
    sentence: str
    session: str = ""
    run: str = ""
    index: int | None = None
    retryable: bool = False


# ── decodes: front → viewers ────────────────────────────────────────────────────────────────────────────────────────


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """What made a decode: enough to make it again.

    `ldm` is a fingerprint of what z and c mean (autoencoder, text encoder), `denoiser` of what makes zc of them.
    """

    subject: int
    preset: str
    mode: str
    seed: int
    engine: str
    weights: str
    ldm: str
    denoiser: str = ""
    simulated: bool
    version: str


class Retrieved(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate picture, by its caption, and the correlation of its z and c with the decoded ones."""

    label: str
    score: float
    nsd_id: int | None = None


class Decode(Message, frozen=True, kw_only=True, tag="decode"):
    """One stage of one volume's decode, in the order scores, xz, xzc, and refined where that is asked for.

    Payload: for `scores`, a PNG of the seen picture if `seen`; for the others, a PNG of the picture.
    `timings_s` holds seconds since the volume arrived at the front, by step (`ack`, `decoder`, `ridge`, `scores`, `xz`,
    `xzc`), as far as known at this stage.

    `feedback`, of `scores`, compares two candidates that the sender named: the cosine of the decoded c to the `right`
    one minus that to the `foil`, −2 to 2, above 0 when the right one fits better; c is standardised over the candidate
    set, as for `retrieved`.

    A trial of a BOLD run is decoded anew while it unfolds: `event` names it, `since_onset_s` says how long after its
    onset, `uncertainty` how much of the response is unknown yet (0–1); a later decode of an event supersedes earlier
    ones, and only the one that `is_final` has pictures. `spike`, `misaligned`: a volume since its onset was so.
    """

    seq: int
    session: str
    run: str
    index: int
    stage: Stage
    provenance: Provenance
    timings_s: dict[str, float]
    retrieved: tuple[Retrieved, ...] = ()
    feedback: float | None = None
    right: Candidate | None = None
    foil: Candidate | None = None
    seen: bool = False
    trial: int | None = None
    nsd_id: int | None = None
    n_averaged: int = 1
    event: int | None = None
    since_onset_s: float | None = None
    uncertainty: float | None = None
    is_final: bool = True
    spike: bool = False
    misaligned: bool = False


class Skipped(Message, frozen=True, kw_only=True, tag="skipped"):
    """A volume without a picture: passed over (policy `latest`), or `failed`: it cannot be decoded.

    Its voxels stay in the journal.
    """

    seq: int
    session: str
    run: str
    index: int
    reason: str
    failed: bool = False

    def __post_init__(self) -> None:
        # Journals of earlier versions have no `failed`: there the reason begins with the word.
        if self.reason.startswith("failed"):
            msgspec.structs.force_setattr(self, "failed", True)


class Calibration(Message, frozen=True, kw_only=True, tag="calibration"):
    """How well the trials recorded so far decode, cross-validated; who fitted them says it, the daemon passes it on.

    `two_way` is the share of other left-out pictures that fit the z and c of a left-out trial worse than its own does,
    0–1, by chance 0.5; `low` to `high` is its 95 % interval over pictures.
    """

    session: str
    n_trials: int
    n_pictures: int
    minutes: float
    two_way: float
    low: float
    high: float


class Heartbeat(Message, frozen=True, kw_only=True, tag="heartbeat"):
    """Once a second: where the daemon is. `last_seq` lets a viewer notice a lost tail.

    Clock and unknown numbers of volumes are as in `Status`.
    """

    last_seq: int
    state: str
    session: str = ""
    run: str = ""
    subject: int | None = None
    simulated: bool = False
    n_acked: int | None = None
    n_decoded: int | None = None
    n_skipped: int | None = None
    n_refused: int = 0
    calibration: Calibration | None = None
    clock_offset_s: float | None = None
    clock_uncertainty_s: float | None = None


# ── control: status, history, other weights, shutdown ───────────────────────────────────────────────────────────────


class StatusRequest(Message, frozen=True, kw_only=True, tag="status_request"):
    """Ask where the daemon is."""


class Status(Message, frozen=True, kw_only=True, tag="status"):
    """Answer to `StatusRequest`. `state` is recording, starting, ready, paused or stopping.

    recording: there are no weights yet, volumes are kept for a fit; ready: warmed up. `clock_offset_s` is how far the
    daemon's clock is ahead of the scanner client's, as that has measured it. A number of volumes is None while a
    journal cannot be read.
    """

    state: str
    pid: int
    version: str
    uptime_s: float
    subject: int | None
    weights: str
    ldm: str
    engine: str
    preset: str
    policy: str
    simulated: bool
    journal: str
    session: str
    run: str
    n_acked: int | None
    n_decoded: int | None
    n_skipped: int | None
    n_refused: int
    n_waiting: int | None
    decoder_restarts: int
    last_seq: int
    latency_p50_s: float | None = None
    latency_p99_s: float | None = None
    clock_offset_s: float | None = None
    clock_uncertainty_s: float | None = None


class FetchRequest(Message, frozen=True, kw_only=True, tag="fetch_request"):
    """Ask for published decodes again, from `from_seq` on, at most `limit`. Answered by those messages, then `Done`."""

    from_seq: int
    limit: int = 100


class Pause(Message, frozen=True, kw_only=True, tag="pause"):
    """Keep acking volumes, stop decoding (`paused` true), or go on (`paused` false)."""

    paused: bool


class Use(Message, frozen=True, kw_only=True, tag="use"):
    """Decode with other weights from the next run on; both are files on the daemon's machine."""

    weights: str
    candidates: str


class Shutdown(Message, frozen=True, kw_only=True, tag="shutdown"):
    """Stop: ack, commit and publish what is done, then exit."""


class Done(Message, frozen=True, kw_only=True, tag="done"):
    """The request was carried out."""

    note: str = ""


AnyMessage = (
    Hello | Welcome | GridRequest | Grid | ClockRequest | Clock | Volume | Event | EndRun | Ack | Refused
    | Decode | Skipped | Heartbeat
    | StatusRequest | Status | FetchRequest | Pause | Use | Calibration | Shutdown | Done
)  # fmt: skip

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(AnyMessage)


def encode(message: Message, *payload: bytes | memoryview) -> list[bytes | memoryview]:
    """Return the multipart frames of a message."""
    return [MAGIC, _encoder.encode(message), *payload]


def decode(frames: list[bytes]) -> tuple[Any, list[bytes]]:
    """Return the message and its payload frames.

    Raises
    ------
    WireError
        With what was wrong: too few frames, another protocol, a header that is no JSON object, an unknown type, a
        field missing or of the wrong type (named by its path).
    """
    if len(frames) < 2:
        raise WireError(f"a message has at least 2 frames, BRD1 and a JSON header; got {len(frames)}")
    magic, header, *payload = frames
    if magic != MAGIC:
        raise WireError(f"the first frame must be BRD1, got {magic[:8]!r}: is this another program's socket?")
    if len(header) > MAX_HEADER_BYTES:
        raise WireError(f"the JSON header has {len(header)} bytes; at most {MAX_HEADER_BYTES} are taken")
    try:
        return _decoder.decode(header), payload
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError(f"JSON header: {error}") from error


def volume_frames(voxels: Array, *, seen_png: bytes | None = None, **fields: Any) -> list[bytes | memoryview]:
    """Return the frames of a `Volume` message for an (X, Y, Z) array; `fields` are the header's other fields."""
    payload = np.ascontiguousarray(voxels, dtype=voxels.dtype.newbyteorder("<")).tobytes()
    header = Volume(
        shape=voxels.shape,
        dtype=voxels.dtype.name,
        crc32=crc32(payload),
        seen=seen_png is not None,
        **fields,
    )
    return encode(header, payload, *([seen_png] if seen_png is not None else []))


def volume_array(volume: Volume, payload: list[bytes]) -> Array:
    """Return the (X, Y, Z) array of a `Volume`, as sent (not scaled), after checking length and checksum.

    Raises
    ------
    WireError
        `code` dtype, length or crc.
    """
    where = f"run {volume.run}, volume {volume.index}"
    if volume.dtype not in VOLUME_DTYPES:
        raise WireError(f"{where}: dtype {volume.dtype!r}; send one of {', '.join(VOLUME_DTYPES)}", code="dtype")
    if any(n <= 0 for n in volume.shape):
        raise WireError(f"{where}: shape {volume.shape} has an axis without voxels", code="shape")
    dtype = np.dtype(volume.dtype).newbyteorder("<")
    n_bytes = int(np.prod(volume.shape, dtype=object)) * dtype.itemsize
    n_frames = 2 if volume.seen else 1
    if len(payload) != n_frames:
        raise WireError(f"{where}: {len(payload)} payload frames, the header announces {n_frames}", code="length")
    if len(payload[0]) != n_bytes:
        raise WireError(
            f"{where}: {len(payload[0])} bytes, but shape {volume.shape} of {volume.dtype} needs {n_bytes}",
            code="length",
        )
    if crc32(payload[0]) != volume.crc32:
        raise WireError(f"{where}: the bytes do not match the header's crc32; send the volume again", code="crc")
    return np.frombuffer(payload[0], dtype).reshape(volume.shape)
