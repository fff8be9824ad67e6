"""`braind monitor --plain`: one line per decode for pipes and logs; data on stdout, messages on stderr."""

import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

from ..client.endpoints import Endpoints
from ..client.wire import Decode, Heartbeat, Skipped
from ..printable import printable
from .connection import without_signal_words
from .feed import Notice, Stage, follow
from .recent import DecodedVolume, RecentDecodes

HEADER = (
    "run",
    "volume",
    "retrieved",
    "score",
    "latency_ms",
    "event",
    "since_onset_s",
    "is_final",
    "sent_class",
    "class",
    "probability",
    "classes",
)


def write_lines(where: Endpoints, is_stopped: Callable[[], bool] = lambda: False) -> int:
    """Write `HEADER`, then one tab-separated line per decode, until interrupted or stopped; return the exit status.

    A provisional decode has a line if it has classes.
    """
    recent, is_stalled, alarmed_run = RecentDecodes(), False, ("", "")
    try:
        _write(sys.stderr, f"listening at {where.decodes}")
        _write(sys.stdout, "\t".join(HEADER))
        for heard in follow(where, is_stopped):
            message = heard.decode if isinstance(heard, Stage) else heard
            if isinstance(message, Decode | Heartbeat) and message.n_without_signal:
                if alarmed_run != (message.session, message.run):
                    alarmed_run = message.session, message.run
                    is_decoded = isinstance(message, Decode) or message.state != "recording"
                    words = without_signal_words(message.n_without_signal, is_decoded=is_decoded)
                    _write(sys.stderr, f"run {message.run}: {words}")
            match heard:
                case Stage(decode, picture):
                    volume = recent.take_decode(decode, picture, time.monotonic())
                    if decode.stage == volume.final_stage or (decode.labels and not decode.is_final):
                        _write(sys.stdout, line(volume))
                case Skipped():
                    outcome = "failed" if heard.failed else "skipped"
                    why = heard.reason.removeprefix("failed: ")
                    _write(sys.stderr, f"run {heard.run}, volume {heard.index}: {outcome}, {why}")
                case Heartbeat():
                    stalled_s = heard.stalled_s if heard.state != "paused" else None
                    if stalled_s is not None and not is_stalled:
                        _write(sys.stderr, f"run {heard.run}: no volume for {stalled_s:.1f} s")
                    is_stalled = stalled_s is not None
                case Notice(sentence):
                    _write(sys.stderr, sentence)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of the lines has closed the pipe, so Python's flush at exit must go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def line(volume: DecodedVolume) -> str:
    """Return a finished decode's fields in the order of `HEADER`; a field without a value is empty."""
    best = volume.retrieved[0] if volume.retrieved else None
    likely = volume.labels[0] if volume.labels else None
    latency_s = volume.timings_s.get(volume.final_stage)
    fields = (
        volume.run,
        str(volume.index),
        best.label if best else "",
        f"{best.score:.3f}" if best else "",
        f"{1e3 * latency_s:.0f}" if latency_s is not None else "",
        str(volume.event) if volume.event is not None else "",
        f"{volume.since_onset_s:.3f}" if volume.since_onset_s is not None else "",
        str(int(volume.is_final)),
        volume.label or "",
        likely.label if likely else "",
        f"{likely.probability:.4f}" if likely else "",
        "; ".join(f"{one.label} {one.probability:.4f}" for one in volume.labels),
    )
    # A label may contain tabs.
    return "\t".join(map(printable, fields))


def _write(stream: TextIO, words: str) -> None:
    # A name from the wire may contain a terminal's control sequences.
    stream.write("\t".join(map(printable, words.split("\t"))) + "\n")
    stream.flush()
