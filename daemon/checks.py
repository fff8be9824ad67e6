"""The front's checks of names, runs, indices and pictures. The weights check subject and grid."""

import math

from ..client.names import wrong_label, wrong_name
from ..client.wire import (
    LATEST_ONSET_S,
    LONGEST_DURATION_S,
    PROTOCOL_VERSION,
    VOLUME_DTYPES,
    ClockRequest,
    EndRun,
    Event,
    Hello,
    Volume,
)
from ..errors import BraindError
from ..models.weights.candidate_names import CandidateNames
from ..models.weights.weights import Weights
from .active_run import ActiveRun
from .journal.records import RunRecord
from .sockets import LARGEST_PICTURE_BYTES

HIGHEST_INDEX = 2**31 - 1
PNG_START = b"\x89PNG\r\n\x1a\n"


class Refusal(BraindError):
    """A well-formed message that is refused; `code` says why."""


def check_hello(hello: Hello, weights: Weights, candidates: CandidateNames) -> None:
    """Refuse a run that these weights cannot decode.

    Raises
    ------
    BraindError
        `code` protocol, name, subject, shape, affine, dtype, tr, index or candidate.
    """
    if hello.protocol != PROTOCOL_VERSION:
        raise Refusal(
            f"protocol {hello.protocol}, this daemon speaks {PROTOCOL_VERSION}; update the older of the two",
            code="protocol",
        )
    for what, name in (("session", hello.session), ("run", hello.run)):
        if problem := wrong_name(what, name):
            raise Refusal(problem, code="name")
    weights.check_subject(hello.subject)
    weights.check_volume(hello.shape, hello.affine)
    if hello.dtype not in VOLUME_DTYPES:
        raise Refusal(f"run {hello.run}: dtype {hello.dtype!r}; send one of {', '.join(VOLUME_DTYPES)}", code="dtype")
    if not (math.isfinite(hello.tr_s) and hello.tr_s > 0):
        raise Refusal(f"run {hello.run}: tr_s {hello.tr_s}; give the seconds from volume to volume", code="tr")
    if hello.kind == "bold":
        weights.check_tr(hello.tr_s)
    if hello.n_volumes is not None and not 0 < hello.n_volumes <= HIGHEST_INDEX:
        raise Refusal(f"run {hello.run}: n_volumes {hello.n_volumes}; give the number of volumes or null", code="index")
    check_pair(f"run {hello.run}", hello, candidates)


def check_pair(where: str, message: Hello | Volume | Event, names: CandidateNames) -> None:
    """Refuse a pair that lacks a candidate, names an unknown one or names one twice (`code` candidate)."""
    if message.right is None and message.foil is None:
        return
    if message.right is None or message.foil is None:
        raise Refusal(f"{where}: right {message.right}, foil {message.foil}; name both or neither", code="candidate")
    if not len(names):
        raise Refusal(
            f"{where}: right {message.right!r:.80}, foil {message.foil!r:.80}; this daemon has no candidate pictures, "
            "because its weights make no pictures: name neither",
            code="candidate",
        )
    try:
        positions = [names.position(name) for name in (message.right, message.foil)]
    except BraindError as error:
        raise Refusal(f"{where}: {error}", code=error.code) from error
    if positions[0] == positions[1]:
        raise Refusal(f"{where}: right and foil are the same picture, {message.right!r:.80}", code="candidate")


def check_label(where: str, message: Volume | Event) -> None:
    """Refuse a class's name that is empty or too long (`code` name)."""
    if message.label is not None and (problem := wrong_label(message.label)):
        raise Refusal(f"{where}: {problem}; null if the class is not known", code="name")


def check_same_run(hello: Hello, record: RunRecord) -> None:
    """Refuse a second `Hello` that contradicts the run's first `Hello` (`code` conflict)."""
    for field in ("subject", "kind", "tr_s", "simulated", "right", "foil"):
        before, now = getattr(record.hello, field), getattr(hello, field)
        if before != now:
            raise Refusal(
                f"run {hello.run} was opened with {field} {before}, now it says {now}; open it under another name",
                code="conflict",
            )


def check_weights(record: RunRecord, weights: Weights) -> None:
    """Refuse to keep one run's voxels under different weights (`code` weights)."""
    if record.weights != weights.fingerprint:
        raise Refusal(
            f"run {record.name} was recorded under weights {record.weights}, this daemon has {weights.fingerprint}; "
            "open a run under another name, or serve the weights it began with",
            code="weights",
        )


def check_idle(in_use: Weights, current_run: str, n_waiting: int) -> None:
    """Refuse other weights while a run is being sent (`code` run_open) or decodes are pending (`code` busy)."""
    if current_run:
        raise Refusal(
            f"run {current_run} is open: its volumes are kept under weights {in_use.fingerprint}; use others when it "
            "has ended",
            code="run_open",
        )
    if n_waiting:
        raise Refusal(
            f"{n_waiting} volumes or trials of earlier runs still wait to be decoded with weights "
            f"{in_use.fingerprint}; try again when they are done",
            code="busy",
        )


def check_same_grid(weights: Weights, in_use: Weights) -> None:
    """Refuse weights whose grid differs from the daemon's (`code` shape or affine)."""
    try:
        in_use.check_volume(weights.card.shape, weights.card.affine)
    except BraindError as error:
        raise Refusal(
            f"weights {weights.fingerprint} are of another grid than this daemon's, {weights.card.shape} against "
            f"{in_use.card.shape} voxels ({error}); start a daemon for them: braind serve --weights FILE",
            code=error.code,
        ) from error


def check_volume(volume: Volume, payload: list[bytes], run: ActiveRun) -> None:
    """Refuse a volume whose header does not fit its run.

    Raises
    ------
    BraindError
        `code` index, run_ended, shape, scale, seen, candidate or name.
    """
    where = f"run {volume.run}, volume {volume.index}"
    if not 0 <= volume.index <= HIGHEST_INDEX:
        raise Refusal(f"{where}: the index must be from 0 to {HIGHEST_INDEX}", code="index")
    if run.n_volumes is not None and volume.index >= run.n_volumes:
        raise Refusal(f"{where}: the run ended after {run.n_volumes} volumes; open another", code="run_ended")
    if run.hello.n_volumes is not None and volume.index >= run.hello.n_volumes:
        raise Refusal(f"{where}: its Hello announced {run.hello.n_volumes} volumes", code="index")
    if tuple(volume.shape) != run.weights.card.shape:
        try:
            run.weights.check_volume(volume.shape, run.weights.card.affine)
        except BraindError as error:
            raise Refusal(f"{where}: {error}", code=error.code) from error
    if not (math.isfinite(volume.scale) and volume.scale != 0):
        raise Refusal(
            f"{where}: scale {volume.scale}; give what turns stored numbers into % signal change", code="scale"
        )
    if volume.seen:
        check_picture(where, payload)
    check_pair(where, volume, run.candidates)
    check_label(where, volume)


def check_event(event: Event, payload: list[bytes], run: ActiveRun) -> None:
    """Refuse an onset that cannot be used (`code` kind, index, onset, length, seen, candidate or name)."""
    where = f"run {event.run}, event {event.event}"
    if run.hello.kind != "bold":
        raise Refusal(f"{where}: the run's volumes are betas, one a trial; only BOLD runs have onsets", code="kind")
    if not 0 <= event.event <= HIGHEST_INDEX:
        raise Refusal(f"{where}: the number must be from 0 to {HIGHEST_INDEX}", code="index")
    if not (abs(event.onset_s) <= LATEST_ONSET_S and 0 <= event.duration_s <= LONGEST_DURATION_S):
        raise Refusal(
            f"{where}: onset {event.onset_s:g} s for {event.duration_s:g} s; give seconds, a duration from 0 (an "
            f"impulse) to {LONGEST_DURATION_S:g} and an onset within {LATEST_ONSET_S:g} s of the run's first volume",
            code="onset",
        )
    if len(payload) != int(event.seen):
        raise Refusal(f"{where}: {len(payload)} payload frames, the header announces {int(event.seen)}", code="length")
    if event.seen:
        check_picture(where, payload)
    check_pair(where, event, run.candidates)
    check_label(where, event)


def check_picture(where: str, payload: list[bytes]) -> None:
    """Refuse a last payload frame that is no PNG or too large (`code` seen)."""
    picture = payload[-1] if payload else b""
    if len(picture) > LARGEST_PICTURE_BYTES or not picture.startswith(PNG_START):
        raise Refusal(
            f"{where}: the seen picture must be a PNG of at most {LARGEST_PICTURE_BYTES // 2**20} MiB", code="seen"
        )


def check_clock(request: ClockRequest) -> None:
    """Refuse a clock estimate without its uncertainty, or a negative uncertainty (`code` clock)."""
    if (request.offset_s is None) != (request.uncertainty_s is None):
        raise Refusal("clock_request: give offset_s and uncertainty_s, or neither", code="clock")
    if request.uncertainty_s is not None and request.uncertainty_s < 0:
        raise Refusal(f"clock_request: uncertainty_s {request.uncertainty_s}; give seconds, 0 or more", code="clock")


def check_end(message: EndRun, run: ActiveRun) -> None:
    """Refuse an end of run that contradicts the journal (`code` index or conflict)."""
    if not 0 <= message.n_volumes <= HIGHEST_INDEX:
        raise Refusal(f"run {message.run}: n_volumes {message.n_volumes}; give the number of volumes", code="index")
    if run.n_volumes is not None and run.n_volumes != message.n_volumes:
        raise Refusal(
            f"run {message.run} ended after {run.n_volumes} volumes already, now it says {message.n_volumes}",
            code="conflict",
        )
    if run.highest_index >= message.n_volumes:
        raise Refusal(
            f"run {message.run}: {message.n_volumes} volumes, but volume {run.highest_index} is acked; count from 0",
            code="conflict",
        )
