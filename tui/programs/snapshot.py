"""`braind monitor --once`: the daemon's state and its newest decode, printed once, as text or JSON."""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from ...client.control import ControlClient
from ...client.endpoints import Endpoints
from ...client.wire import Decode, Status
from ...printable import printable
from ..connection import ordinal, without_signal_words
from .decode_fields import DecodeFields, rounded

AT_ONCE = 100
MOST_ASKED = 300
"""The newest decode is looked for among so many of the newest messages."""


def snapshot(where: Endpoints, *, as_json: bool = False) -> str:
    """Return the state of the daemon and its newest finished decode.

    Raises
    ------
    NoDaemonError
        No daemon answers.
    RefusedByDaemon
        The daemon refuses the key or wants one.
    """
    with ControlClient(*where.address("control")) as control:
        status = control.status()
        decode = _newest_decode(control, status.last_seq)
    if as_json:
        return msgspec.json.encode({"status": status, "decode": decode and rounded(decode)}).decode()
    lines = [*_status_lines(status), *_decode_lines(decode)]
    return "\n".join(f"{name:10}{printable(words)}" for name, words in lines)


def _newest_decode(control: ControlClient, last_seq: int) -> dict[str, Any] | None:
    for n_back in range(AT_ONCE, MOST_ASKED + 1, AT_ONCE):
        decodes, newest = DecodeFields(), None
        for first_seq in range(max(1, last_seq - n_back + 1), last_seq + 1, AT_ONCE):
            for message, _ in control.fetch(first_seq, AT_ONCE):
                newest = (decodes.take(message) if isinstance(message, Decode) else None) or newest
        if newest is not None or n_back >= last_seq:
            return newest
    return None


def _status_lines(status: Status) -> Iterator[tuple[str, str]]:
    made_with = [status.no_pictures] if status.no_pictures else [status.engine, status.preset]
    parts = [status.state, *made_with, f"weights {status.weights}", f"policy {status.policy}"]
    yield "daemon", ", ".join(part for part in parts if part)
    if status.decoder_restarts:
        yield "decoder", f"restarted {status.decoder_restarts} times"
    simulated = ", SIMULATED" if status.simulated else ""
    subject = "" if status.subject is None else f", subject {status.subject}"
    if status.run:
        yield "run", f"{status.run} of session {status.session}{subject}{simulated}"
    else:
        yield "run", f"none yet{subject}{simulated}"
    counts = ("acked", "decoded", "skipped", "refused", "waiting")
    numbers = {name: getattr(status, f"n_{name}") for name in counts}
    yield "volumes", ", ".join(f"{'unknown' if n is None else n} {name}" for name, n in numbers.items())
    if status.stalled_s is not None and status.state != "paused":
        yield "stalled", f"no volume for {status.stalled_s:.1f} s"
    if status.n_without_signal:
        yield "signal", without_signal_words(status.n_without_signal, is_decoded=status.state != "recording")
    if status.latency_p50_s is not None and status.latency_p99_s is not None:
        yield "latency", f"median {1e3 * status.latency_p50_s:.0f} ms, p99 {1e3 * status.latency_p99_s:.0f} ms"


def _decode_lines(decode: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    if decode is None:
        yield "decode", "none yet"
        return
    trial = "" if decode["trial"] is None else f", trial {decode['trial']}"
    event = "" if decode["event"] is None else f", event {decode['event']}"
    yield "decode", f"session {decode['session']}, run {decode['run']}, volume {decode['volume']}{trial}{event}"
    if decode["time"]:
        ago_s = max(0.0, time.time() - datetime.fromisoformat(decode["time"]).timestamp())
        yield "made", f"{decode['time']}, {ago_s:.0f} s ago"
    if decode["since_onset_s"] is not None:
        final = "final" if decode["is_final"] else "provisional"
        yield "onset", f"{decode['since_onset_s']:.1f} s before, {final}"
    if decode["retrieved"] is not None:
        yield "nearest", f"{decode['retrieved']} ({decode['score']:.3f})"
    if decode["rank"] is not None:
        yield "seen", f"{ordinal(decode['rank'])} of {decode['n_candidates']} candidates"
    if decode["feedback"] is not None:
        yield "feedback", f"{decode['feedback']:+.3f}"
    if decode["class"] is not None:
        sent = "" if decode["sent_class"] is None else f", sent {decode['sent_class']}"
        yield "class", f"{decode['class']} ({decode['probability']:.2f}){sent}"
    if decode["latency_ms"] is not None:
        yield "took", f"{decode['latency_ms']:.0f} ms"
