"""`braind monitor --plain` and `--json`: one line per decode for pipes and logs; messages on stderr."""

import os
import select
import sys
import time
from collections.abc import Callable
from typing import TextIO

import click
import msgspec

from ...client.endpoints import Endpoints
from ...client.wire import Decode, Heartbeat, Skipped
from ...console import is_reader_gone
from ...printable import printable
from ..connection import LOST_AFTER_S, WAITING_AFTER_S, without_signal_words
from ..feed import Notice, Stage, follow
from .decode_fields import HEADER, DecodeFields, plain_line, rounded

STATES = {
    "starting": "the daemon is starting: it decodes when it is warmed up",
    "recording": "the daemon has no weights: it records volumes and decodes none",
    "paused": "decoding is paused",
    "ready": "the daemon is ready",
    "stopping": "the daemon is stopping",
    "stopped": "the daemon has stopped",
}


def write_lines(where: Endpoints, is_stopped: Callable[[], bool] = lambda: False, *, as_json: bool = False) -> int:
    """Write one line per decode until interrupted or stopped, or until the reader is gone; return the exit status.

    A line has the fields of `HEADER`: with tabs between them after a first line of names, or as a JSON object. A
    provisional decode has a line if it has classes.
    """
    decodes, remarks = DecodeFields(), _Remarks(where)

    def is_over() -> bool:
        remarks.on_time()
        return is_stopped() or not _is_read(sys.stdout)

    try:
        _write(sys.stderr, f"listening at {where.decodes}")
        if not as_json:
            _write(sys.stdout, "\t".join(HEADER))
        for heard in follow(where, is_over):
            remarks.on_message(heard.decode if isinstance(heard, Stage) else heard)
            fields = decodes.take(heard.decode) if isinstance(heard, Stage) else None
            if fields is not None:
                # JSON is UTF-8 whatever the console's encoding.
                click.echo(msgspec.json.encode(rounded(fields)) if as_json else plain_line(fields))
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if not is_reader_gone(error):
            raise
        # The reader has closed the pipe, so Python's flush at exit must go nowhere.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            if sys.platform == "win32" or not _is_read(stream):
                os.dup2(nowhere, stream.fileno())
    return 0


class _Remarks:
    """Sentences on stderr about the daemon, its runs and what this program waits for; each is said once."""

    def __init__(self, where: Endpoints) -> None:
        self._where = where
        self._heard_s = time.monotonic()
        """When the daemon was last heard; before it was heard at all, when this program began to listen."""
        self._was_heard = self._is_silent = self._is_stalled = False
        self._state = "ready"
        self._alarmed_run = "", ""

    def on_time(self) -> None:
        """Say once that no daemon is heard, or none any longer, and what would help."""
        longest_s = LOST_AFTER_S if self._was_heard else WAITING_AFTER_S
        if self._is_silent or time.monotonic() - self._heard_s < longest_s:
            return
        self._is_silent = True
        lost = "the daemon is not heard any more; " if self._was_heard else ""
        self._say(f"{lost}waiting for a daemon at {self._where.decodes}: start it with `braind serve`")

    def on_message(self, message: Decode | Skipped | Heartbeat | Notice) -> None:
        """Say what a message tells about the daemon or a run."""
        if not isinstance(message, Notice):
            self._note_heard()
        if isinstance(message, Decode | Heartbeat):
            self._say_without_signal(message)
        match message:
            case Skipped():
                outcome = "failed" if message.failed else "skipped"
                why = message.reason.removeprefix("failed: ")
                self._say(f"run {message.run}, volume {message.index}: {outcome}, {why}")
            case Heartbeat():
                self._say_state(message)
            case Notice():
                self._say(message.sentence)

    def _note_heard(self) -> None:
        if self._is_silent:
            self._say("the daemon is heard")
        self._heard_s, self._was_heard, self._is_silent = time.monotonic(), True, False

    def _say_state(self, heartbeat: Heartbeat) -> None:
        if heartbeat.state != self._state and heartbeat.state in STATES:
            self._say(STATES[heartbeat.state])
            self._state = heartbeat.state
        stalled_s = heartbeat.stalled_s if heartbeat.state != "paused" else None
        if stalled_s is not None and not self._is_stalled:
            self._say(f"run {heartbeat.run}: no volume for {stalled_s:.1f} s")
        self._is_stalled = stalled_s is not None

    def _say_without_signal(self, message: Decode | Heartbeat) -> None:
        if not message.n_without_signal or self._alarmed_run == (message.session, message.run):
            return
        self._alarmed_run = message.session, message.run
        is_decoded = isinstance(message, Decode) or message.state != "recording"
        words = without_signal_words(message.n_without_signal, is_decoded=is_decoded)
        self._say(f"run {message.run}: {words}")

    def _say(self, sentence: str) -> None:
        _write(sys.stderr, sentence)


def _is_read(stream: TextIO) -> bool:
    """Return whether somebody may still read a stream; False only for a pipe whose reader has gone."""
    if sys.platform == "win32":
        return True  # It has no `poll`, so that only the next line finds it out.
    try:
        poll = select.poll()  # noqa: TID251
        poll.register(stream.fileno(), 0)
    except (OSError, ValueError):  # a stream of this process alone, as a test's
        return True
    return not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _write(stream: TextIO, words: str) -> None:
    # A name from the wire may contain a terminal's control sequences.
    stream.write("\t".join(map(printable, words.split("\t"))) + "\n")
    stream.flush()
