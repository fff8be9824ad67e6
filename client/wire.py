"""The wire protocol: the definition of every message that crosses a braind socket.

A message is ZeroMQ multipart: `[b"BRD1", JSON header, payload…]`. A header is a JSON object with a `type`. A payload is
an array's bytes (C order, little-endian) or a PNG file. Unknown header fields are ignored; an unknown type is refused
by name. docs/protocol.md describes the protocol for clients in other languages. Names that end in `_s` are seconds.
"""

from typing import Any, Literal
from zlib import crc32

import msgspec
import numpy as np

from ..arrays import Array
from ..choices import Durability, Kind, Mode, Policy
from ..errors import BraindError

MAGIC = b"BRD1"
PROTOCOL_VERSION = 1
MAX_HEADER_BYTES = 1024 * 1024
"""A decode names every class of the weights, and there may be thousands."""
VOLUME_DTYPES = ("int16", "uint16", "int32", "float32", "float64")

Motion = tuple[float, float, float, float, float, float]
Stage = Literal["scores", "xz", "xzc", "refined"]
STAGES_OF_MODE: dict[str, tuple[Stage, ...]] = {
    "z": ("scores", "xz"),
    "c": ("scores", "xzc"),
    "zc": ("scores", "xz", "xzc"),
    "labels": ("scores",),
}
"""A volume's stages, in order. A refined picture may follow them."""
Candidate = int | str
"""A picture of the candidate set, by its nsd_id or its label; in a set of another data set by its file or its label."""


LONGEST_DURATION_S = 3600.0
"""The longest stimulus of an onset."""
LATEST_ONSET_S = 86400.0
"""Onsets lie within a day of the run's first volume."""
SILENT_S = 60.0
"""A run without a volume for this time counts as ended: it was broken off."""
LONGEST_LABEL = 256
"""The longest name of a class, in characters."""
LONGEST_NOTE = 500
"""The longest note of a mark, in characters."""
EARLIEST_MARK_S = 3600.0
"""A mark is sent within an hour."""


class WireError(BraindError):
    """The message does not follow the protocol; `code` is malformed, dtype, shape, length or crc."""

    code = "malformed"


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """A message's header; payload frames follow it."""


# ── ingest: scanner client ⇄ front ──────────────────────────────────────────────────────────────────────────────────


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """Open a run, or reopen an interrupted one.

    Parameters
    ----------
    session, run : names
    subject : the subject's number, from 1
    kind : `beta`, one single-trial response estimate per volume; or `bold`, one preprocessed volume per TR
    shape : (X, Y, Z), as NIfTI orders axes
    affine : the four rows of the map from voxel indices to mm (RAS+)
    tr_s : the time from volume to volume
    dtype : the dtype of the voxels, one of `VOLUME_DTYPES`
    space : the name of the space of the volumes
    protocol : the version of the protocol
    simulated : whether the data are simulated
    producer : the sending program, for people
    n_volumes : the run's length, if it is known
    right, foil : the two candidates that each trial of the run is compared with, unless the volume or event names its
        own
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
    """Ask for the grid and the subject of the daemon's weights, before `Hello`."""


class Grid(Message, frozen=True, kw_only=True, tag="grid"):
    """Answer to `GridRequest`: the subject, kind and grid on which the daemon's weights were fitted."""

    subject: int
    kind: Kind
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, float, float, float], ...]
    weights: str


class ClockRequest(Message, frozen=True, kw_only=True, tag="clock_request"):
    """Ask for the daemon's time; `sent_s` is the sender's time. Times are seconds since 1970.

    `offset_s` is the sender's estimate of how far the daemon's clock is ahead, and `uncertainty_s` the largest possible
    error of the estimate. The daemon shows both to people and does nothing else with them.
    """

    sent_s: float
    offset_s: float | None = None
    uncertainty_s: float | None = None


class Clock(Message, frozen=True, kw_only=True, tag="clock"):
    """Answer to `ClockRequest`: its `sent_s`, and the daemon's times of receipt and answer."""

    sent_s: float
    received_s: float
    answered_s: float


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """Answer to `Hello`: the run is open. Send from `next_index` on: 0, or the next volume of an interrupted run."""

    session: str
    run: str
    next_index: int
    weights: str
    simulated: bool
    protocol: int = PROTOCOL_VERSION


class Volume(Message, frozen=True, kw_only=True, tag="volume"):
    """One volume. Payload: the voxels (C order, little-endian); then, if `seen`, a PNG of the picture.

    Parameters
    ----------
    index : the volume's number in the run, from 0
    shape : (X, Y, Z), as NIfTI orders axes
    dtype : one of `VOLUME_DTYPES`
    crc32 : the checksum of the voxels' bytes
    scale : voxels times `scale` are % signal change; 1/300 for NSD's int16 betas
    trial, nsd_id : the trial and its picture, if the sender knows them; nothing that is decoded depends on them
    stimulus : in a calibration run, the picture's file name or id, which a fit looks up
    captions : in a calibration run, descriptions of the picture
    n_averaged : how many repeats a mean response contains
    sent_s : the sender's time, seconds since 1970
    motion : the sender's realignment: translations along x, y, z in mm (RAS+), then rotations about x, y, z in rad
    roi_values : ROI means that the sender computed
    right, foil : the two candidates of `Decode.feedback`
    label : the trial's class, if the sender knows it; viewers compare it with `Decode.labels`
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
    label: str | None = None


class Event(Message, frozen=True, kw_only=True, tag="event"):
    """A trial's onset in a `bold` run, seconds after the first volume. Payload, if `seen`: a PNG of the picture.

    `event` is the trial's number in the run, from 0. `Volume` describes the other fields. The `stimulus` of
    an event without a picture is "n/a".
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
    label: str | None = None


class EndRun(Message, frozen=True, kw_only=True, tag="end_run"):
    """End the run after `n_volumes` volumes."""

    session: str
    run: str
    n_volumes: int


class Ack(Message, frozen=True, kw_only=True, tag="ack"):
    """Answer to a volume, event or end of run: it is durable, and the sender may forget it.

    `duplicate`: the daemon had it already. `durability`: `full`, it is on the disk; `normal`, it outlives every
    crash of the daemon, but not a power cut.
    """

    session: str
    run: str
    index: int
    of: Literal["volume", "event", "end_run"] = "volume"
    duplicate: bool = False
    durability: Durability = "full"


class Refused(Message, frozen=True, kw_only=True, tag="refused"):
    """Answer to a wrong message: what was wrong, where, and the remedy.

    `code` is stable between versions. `retryable` says that the same message may be sent again.
    """

    code: str
    sentence: str
    session: str = ""
    run: str = ""
    index: int | None = None
    retryable: bool = False


# ── decodes: front → viewers ────────────────────────────────────────────────────────────────────────────────────────


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """The origin of a decode, enough to make it again.

    `ldm` is a fingerprint of the autoencoder and the text encoder, which define z and c. `denoiser` is a fingerprint of
    the denoiser, which makes zc from them. `mode` is z, c or zc; or labels, for weights that decode classes and no
    pictures: `preset` and `engine` are "none" then, and `ldm` is empty. `torch` is torch's version and `threads` its
    number of CPU threads: both can change a picture's last bits. `c_decoder` is linear or expected, and empty in mode
    labels. Journals of an earlier braind lack the three: their c was expected if the weights had a prior.
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
    torch: str = ""
    threads: int | None = None
    c_decoder: str = ""


class Retrieved(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate picture's caption, and the correlation of its z and c with the decoded z and c."""

    label: str
    score: float
    nsd_id: int | None = None


class SeenCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """The picture that the subject saw, among the candidates.

    Parameters
    ----------
    label, score, nsd_id : as in `Retrieved`
    rank : 1 plus the number of other candidates that fit the decode at least as well; 1 is the best
    """

    label: str
    score: float
    rank: int
    nsd_id: int | None = None


class LabelProbability(msgspec.Struct, frozen=True, kw_only=True):
    """A class of the weights, and the probability that the trial is of this class, 0 to 1."""

    label: str
    probability: float


class VolumeSignal(msgspec.Struct, frozen=True, kw_only=True):
    """The signal and the motion of one volume, for people who watch the quality of a run.

    Parameters
    ----------
    index : the volume's number in the run
    rois : for each ROI of the weights, the mean over its voxels: the raw signal of a BOLD volume, % signal change of a
        beta volume
    displacement_mm : the head's displacement since the volume before, by the sender's motion; None if the sender gave
        no motion
    is_spike, is_misaligned : whether a BOLD volume was a spike, or was misaligned with the training volumes
    """

    index: int
    rois: dict[str, float]
    displacement_mm: float | None = None
    is_spike: bool = False
    is_misaligned: bool = False


class Decode(Message, frozen=True, kw_only=True, tag="decode"):
    """One stage of one volume's decode. The stages come in the order scores, xz, xzc, refined (only if configured).

    Payload: a PNG. Stage `scores` has the seen picture, only if `seen`; any other stage has the decoded picture.

    A BOLD trial is decoded again with each volume from 4 s after its onset on. A later decode of an `event` supersedes
    an earlier one, and only the decode with `is_final` has pictures.

    Parameters
    ----------
    seq : the message's number, from 1, shared with `Skipped` and `Gap`
    timings_s : seconds since the volume arrived at the front, by step (`ack`, `decoder`, `ridge`, `scores`, `xz`,
        `xzc`, `refined`), for the steps that are done
    retrieved : the best candidates, best first; only in stage `scores`
    feedback : cosine of the decoded c to the `right` candidate minus cosine to the `foil`: −2 to 2, above 0 if the
        right candidate fits better; c is standardised over the candidate set, as for `retrieved`; only in `scores`
    event, since_onset_s : of a BOLD trial, its number and the time since its onset
    uncertainty : of a BOLD trial, the unknown share of the response, 0 to 1
    spike, misaligned : whether a volume since the trial's onset was a spike, or was misaligned
    latents : SHA-256 (64 hex digits) of z's bytes followed by c's, C order, little-endian float32; only in `scores`
    labels : every class of the weights, the most probable first; only in stage `scores`, if the weights have classes
    label : the trial's class by its sender, as `trial` and `nsd_id` are; the decoder never reads it
    n_without_signal : how many of the weights' voxels have no signal in this BOLD run; they count as the training mean
    made_s : when the message was made, by the daemon's clock, seconds since 1970; None from an earlier version
    n_candidates : how many candidates there are; None from an earlier version; only in stage `scores`
    seen_candidate : the picture that the sender names as seen, ranked among the candidates after the decode; None if it
        is not known, or is no candidate; only in stage `scores`
    signals : the run's volumes up to `index` whose signals no earlier decode carried, at most the newest 256; only in
        stage `scores`
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
    latents: str = ""
    labels: tuple[LabelProbability, ...] = ()
    label: str | None = None
    n_without_signal: int | None = None
    made_s: float | None = None
    signals: tuple[VolumeSignal, ...] = ()
    n_candidates: int | None = None
    seen_candidate: SeenCandidate | None = None

    @property
    def is_last(self) -> bool:
        """Return whether no later stage of this trial follows, except a refined picture."""
        return self.is_final and self.stage == last_stage(self.provenance.mode)


class Skipped(Message, frozen=True, kw_only=True, tag="skipped"):
    """A volume without a picture: `failed` says whether it cannot be decoded or was not decoded in time.

    A volume that was not decoded in time (policy `latest`) may be decoded later. A BOLD volume that came after its
    `Gap` was published is not used. The voxels stay in the journal.

    `events` are the trials of a BOLD run that get no picture, because the volume completed their estimates. It is empty
    if the volume completed no trial, and None for a beta volume and from an earlier version. `Decode` describes
    `made_s`.
    """

    seq: int
    session: str
    run: str
    index: int
    reason: str
    failed: bool = False
    events: tuple[int, ...] | None = None
    made_s: float | None = None

    def __post_init__(self) -> None:
        # Journals of earlier versions have no `failed`: there the reason begins with the word.
        if self.reason.startswith("failed"):
            msgspec.structs.force_setattr(self, "failed", True)


class Gap(Message, frozen=True, kw_only=True, tag="gap"):
    """Volumes of a run that did not come: `index` is the first, `n_missing` their number.

    In a BOLD run they are not waited for any longer, and are not used if they come now. In a beta run they were missing
    at the run's end, and are decoded if they come now. `Decode` describes `made_s`.
    """

    seq: int
    session: str
    run: str
    index: int
    n_missing: int
    made_s: float | None = None

    @property
    def sentence(self) -> str:
        """Say which volumes are missing."""
        last = self.index + self.n_missing - 1
        which = f"volume {self.index}" if self.n_missing == 1 else f"volumes {self.index}–{last}"
        return f"run {self.run}: {which} missing"


Numbered = Decode | Skipped | Gap
"""A message for the viewers that has a number `seq`."""


class Calibration(Message, frozen=True, kw_only=True, tag="calibration"):
    """The cross-validated score of the trials recorded so far; the fitting program sends it, the daemon passes it on.

    `two_way` is the two-way identification accuracy: the share of other left-out pictures whose z and c fit a left-out
    trial worse than its own picture's, 0 to 1, chance 0.5. `low` to `high` is its 95 % interval over pictures.
    """

    session: str
    n_trials: int
    n_pictures: int
    minutes: float
    two_way: float
    low: float
    high: float


class Mark(Message, frozen=True, kw_only=True, tag="mark"):
    """Something that an operator noticed: the daemon keeps it in the session's journal and tells the viewers.

    Parameters
    ----------
    note : 1 to `LONGEST_NOTE` characters
    session, run : empty in a request: the run that was opened last
    index, event : the volume or the trial that the mark is about. In a request without both, the daemon names the
        volume that came last before the mark.
    age_s : in a request, how long before the request the mark was set, seconds
    made_s : when the mark was set, by the daemon's clock, seconds since 1970; the daemon fills it in
    by : the name of the key of the client that set it; the daemon fills it in. Empty without keys
    """

    note: str
    session: str = ""
    run: str = ""
    index: int | None = None
    event: int | None = None
    age_s: float = 0.0
    made_s: float | None = None
    by: str = ""


class Heartbeat(Message, frozen=True, kw_only=True, tag="heartbeat"):
    """The daemon's state and counts, once a second. By `last_seq` a viewer notices that it lost the newest messages.

    Fields that `Status` has too have the same meaning. The other fields:

    Parameters
    ----------
    sent_s : when the heartbeat was sent, by the daemon's clock, seconds since 1970; None from an earlier version
    session_restarts : how often the decoder process has died during this session, since the daemon started
    is_decoder_down : whether the decoder process died, and its successor does not decode yet
    crashed_run, crashed_index : the volume over which the decoder process last died; empty and None if it had none
    marks : the newest marks since the daemon started, the newest last
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
    durability: Durability = "full"
    stalled_s: float | None = None
    n_without_signal: int | None = None
    no_pictures: str = ""
    n_waiting: int | None = None
    sent_s: float | None = None
    session_restarts: int = 0
    is_decoder_down: bool = False
    crashed_run: str = ""
    crashed_index: int | None = None
    marks: tuple[Mark, ...] = ()


# ── control: status, history, other weights, shutdown ───────────────────────────────────────────────────────────────


class StatusRequest(Message, frozen=True, kw_only=True, tag="status_request"):
    """Ask for the daemon's status."""


class Status(Message, frozen=True, kw_only=True, tag="status"):
    """Answer to `StatusRequest`. `state` is recording, starting, ready, paused, stopping or stopped.

    In state `recording` there are no weights, and volumes are kept for a fit. In state `ready` the decoder is warmed
    up. State `stopped` comes only in the last heartbeat of a daemon that stops in order. `clock_offset_s` is how far
    the daemon's clock is ahead of the scanner client's, as measured by the client. A number of volumes is None while a
    journal cannot be read. `stalled_s` is the time since the current run's last volume while volumes fail to come (for
    2 TR and 1 s), else None. `n_without_signal` is the number of the weights' voxels without signal in the first volume
    of the open BOLD run, None before it. `no_pictures` says why no picture is made; it is empty if pictures are made.
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
    durability: Durability = "full"
    stalled_s: float | None = None
    n_without_signal: int | None = None
    no_pictures: str = ""
    protocol: int = PROTOCOL_VERSION


class FetchRequest(Message, frozen=True, kw_only=True, tag="fetch_request"):
    """Ask for published messages again, from `from_seq` on, at most `limit`. Answered by those messages, then `Done`.

    With `pictures` false, the messages come without their payloads.
    """

    from_seq: int
    limit: int = 100
    pictures: bool = True


class Pause(Message, frozen=True, kw_only=True, tag="pause"):
    """Stop decoding while volumes are still acked (`paused` true), or go on (`paused` false)."""

    paused: bool


class Use(Message, frozen=True, kw_only=True, tag="use"):
    """Decode with other weights from the next run on; both paths are files on the daemon's machine."""

    weights: str
    candidates: str


class Change(Message, frozen=True, kw_only=True, tag="change"):
    """Decode in another way from the next volume on. A setting that is None stays as it is.

    `refine` is the preset of refined pictures; "" ends them. Another preset, mode or refinement loads the decoder anew;
    volumes are acked and wait meanwhile. The change holds until the daemon stops.
    """

    preset: str | None = None
    mode: Mode | None = None
    policy: Policy | None = None
    refine: str | None = None


class SetupRequest(Message, frozen=True, kw_only=True, tag="setup_request"):
    """Ask how the daemon is set up, and which clients are connected."""


class Connected(msgspec.Struct, frozen=True, kw_only=True):
    """A connection of a client to one of the daemon's sockets.

    Parameters
    ----------
    socket : the socket, which says what the client does: it sends volumes, it watches decodes, or it controls
    address : the client's network address; "" if it is not known
    key, roles : the name and the roles of its key; empty for a daemon that requires no keys
    silent_s : seconds since its last message
    clock_offset_s, clock_uncertainty_s : as in `Status`, of this client; None if it did not tell
    """

    socket: Literal["ingest", "decodes", "control"]
    address: str
    key: str
    roles: tuple[str, ...]
    silent_s: float
    clock_offset_s: float | None = None
    clock_uncertainty_s: float | None = None


class Setup(Message, frozen=True, kw_only=True, tag="setup"):
    """Answer to `SetupRequest`.

    Parameters
    ----------
    mode : z, c or zc; labels for weights that make no pictures; "" without weights
    refine : preset of refined pictures; "" without them
    presets : the names of the presets that a `Change` can name
    keys : off, or required
    libzmq : version of the daemon's ZeroMQ library
    connections : the connected clients, at most `MOST_CONNECTIONS`
    tr_s : TR of the run that was opened last; None before it
    journal_bytes, free_bytes : size of the session's journal, and the free space of its disk; None if not known
    ack_p50_s, ack_p99_s : time from a volume's arrival to its ack, over the last 1,000 volumes; None before the first
    clock_step_s : how far the daemon's clock was set since the daemon started
    is_synchronised : whether the machine says that its clock is synchronised; None if the machine does not say it
    """

    mode: str
    refine: str
    presets: tuple[str, ...]
    keys: str
    libzmq: str
    connections: tuple[Connected, ...]
    tr_s: float | None = None
    journal_bytes: int | None = None
    free_bytes: int | None = None
    ack_p50_s: float | None = None
    ack_p99_s: float | None = None
    clock_step_s: float | None = None
    is_synchronised: bool | None = None


class RecordedRequest(Message, frozen=True, kw_only=True, tag="recorded_request"):
    """Ask what was recorded in the session so far. With `picture`, the newest seen picture is the answer's payload."""

    picture: bool = False


class Recorded(Message, frozen=True, kw_only=True, tag="recorded"):
    """Answer to `RecordedRequest`, about the session that was opened last. Payload: a PNG, if it was asked for.

    Parameters
    ----------
    n_trials, n_pictures : trials that name a picture, and how many different pictures they name
    n_unnamed : trials that name no picture; a fit refuses their runs
    minutes : duration of the runs with trials
    index, event, stimulus, label : of the newest trial, in a BOLD run the newest whose onset has passed; None before it
    seen : whether the newest trial came with its picture
    calibrations : the session's calibrations that the daemon received since it started
    """

    session: str
    run: str
    n_trials: int
    n_pictures: int
    n_unnamed: int
    minutes: float
    index: int | None = None
    event: int | None = None
    stimulus: str | None = None
    label: str | None = None
    seen: bool = False
    calibrations: tuple[Calibration, ...] = ()


class Shutdown(Message, frozen=True, kw_only=True, tag="shutdown"):
    """Stop the daemon: it acks, commits and publishes finished work, then exits."""


class Done(Message, frozen=True, kw_only=True, tag="done"):
    """The request was carried out."""

    note: str = ""


AnyMessage = (
    Hello | Welcome | GridRequest | Grid | ClockRequest | Clock | Volume | Event | EndRun | Ack | Refused
    | Decode | Skipped | Gap | Heartbeat
    | StatusRequest | Status | FetchRequest | Pause | Use | Change | Mark | Calibration | Shutdown | Done
    | SetupRequest | Setup | RecordedRequest | Recorded
)  # fmt: skip


def _plain(value: Any) -> Any:
    """Return a numpy array, number or dtype as JSON can hold it. Raises WireError for anything else."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, type) and issubclass(value, np.generic):
        return np.dtype(value).name
    raise WireError(f"a header field holds {value!r:.80}, a {type(value).__name__}; give numbers, text or numpy arrays")


_encoder = msgspec.json.Encoder(enc_hook=_plain)
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(AnyMessage)


def encode(message: Message, *payload: bytes | memoryview) -> list[bytes | memoryview]:
    """Return the multipart frames of a message, whose fields may be numpy arrays, numbers and dtypes.

    Raises
    ------
    WireError
        A field holds something that JSON has no word for.
    """
    return [MAGIC, _encoder.encode(message), *payload]


def decode(frames: list[bytes]) -> tuple[Any, list[bytes]]:
    """Return the message and its payload frames.

    Raises
    ------
    WireError
        There are too few frames; the first frame is not `MAGIC`; the header is too long or not a JSON object; its type
        is unknown; or a field, named by its path, is missing or has the wrong type.
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
    except RecursionError as error:
        raise WireError("JSON header: it is nested too deeply") from error


def last_stage(mode: str) -> Stage:
    """Return a mode's last stage: mode z has no Xzc. An unknown mode is read as zc."""
    return STAGES_OF_MODE.get(mode, STAGES_OF_MODE["zc"])[-1]


def volume_frames(voxels: Array, *, seen_png: bytes | None = None, **fields: Any) -> list[bytes | memoryview]:
    """Return the frames of a `Volume` message.

    Parameters
    ----------
    voxels : array of shape (X, Y, Z), of a dtype of `VOLUME_DTYPES`, in any byte order and memory layout
    seen_png : the picture that was on screen, as a PNG file's bytes
    fields : the header's other fields
    """
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
    """Return the voxels of a `Volume` as sent, not scaled: (X, Y, Z), of the header's dtype, read-only.

    Raises
    ------
    WireError
        The payload contradicts the header; `code` is dtype, shape, length or crc.
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
