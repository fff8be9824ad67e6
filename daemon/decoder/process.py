"""The decoder process, which owns torch and the GPU.

Started by the front as `python -m braind.daemon.decoder.process`; hears from it on stdin and answers on stdout
(`link.py`).
"""

import logging
import os
import queue
import signal
import sys
import threading
import time
from typing import BinaryIO, NoReturn

from ...errors import BraindError
from .. import link
from ..journal.database import JournalError
from ..logs import Outage, Throttle, configure_logging
from .decoder import Decoder

STORAGE_RETRY_S = 1.0
SHOWN_BYTES = 80

logger = logging.getLogger("braind.daemon.decoder")


def main() -> None:
    """Run the decoder process until the front says stop or is gone."""
    # Ctrl-C reaches every process of the terminal; when to stop is the front's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_logging()
    to_front = _only_for_the_front()
    setup = _setup(sys.stdin.buffer)
    lines: queue.SimpleQueue[link.ToDecoder] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, lines), daemon=True).start()

    def send(line: link.ToFront) -> None:
        to_front.write(link.encode(line))

    try:
        started_s = time.monotonic()
        from .stages import Stages  # torch, diffusers: seconds, so imported when the front is being listened to

        stages = Stages(setup.decoder)
        loaded_s = time.monotonic()
        stages.warm_up()
        decoder = Decoder(setup, stages, send)
    except BraindError as error:
        send(link.Unfit(code=error.code, sentence=str(error)))
        _leave(1)
    send(
        link.Ready(
            engine=stages.provenance.engine,
            ldm=stages.provenance.ldm,
            preset=stages.provenance.preset,
            load_s=loaded_s - started_s,
            warm_up_s=time.monotonic() - loaded_s,
        )
    )
    _work(decoder, lines)
    decoder.close()
    _leave(0)


def _work(decoder: Decoder, lines: "queue.SimpleQueue[link.ToDecoder]") -> None:
    may_have_work, wait_s = True, None
    journals = Outage(logger, "decoding waits for a journal")
    while True:
        try:
            while True:
                line = lines.get_nowait() if may_have_work else lines.get(timeout=wait_s)
                may_have_work = True
                if isinstance(line, link.Stop):
                    return
                if isinstance(line, link.Wake):
                    decoder.add_arrival(line)
                elif isinstance(line, link.PauseDecoding):
                    decoder.paused = line.paused
                # EndOfRun is only a reason to look into the journal.
        except queue.Empty:
            pass
        try:
            may_have_work, wait_s = decoder.step(), None
            journals.passed()
            if not may_have_work:
                decoder.refine(lambda: not lines.empty())
                wait_s = decoder.keep_warm()
        except JournalError as error:
            journals.failed(error)
            may_have_work, wait_s = False, STORAGE_RETRY_S


def _setup(from_front: BinaryIO) -> link.Setup:
    """Return the first line; without it there is nothing to do, and the front starts another process."""
    text = from_front.readline()
    try:
        setup = link.decode_for_decoder(text)
        if isinstance(setup, link.Setup):
            return setup
        logger.error("the front's first line is no setup but a %s", type(setup).__name__)
    except ValueError as error:
        if text:
            logger.error("the front's first line is no setup: %s", error)
    _leave(1)


def _listen(from_front: BinaryIO, lines: "queue.SimpleQueue[link.ToDecoder]") -> None:
    unreadable = Throttle(logger)
    for text in from_front:
        try:
            lines.put(link.decode_for_decoder(text))
        except ValueError as error:
            unreadable.warn(f"ignored a line of the front: {error}: {text[:SHOWN_BYTES]!r}")
    # The front is gone. Its successor starts a decoder of its own, and two must not take the same volume.
    os._exit(1)


def _leave(exit_code: int) -> NoReturn:
    # Python's own way out would wait for the thread that reads stdin, and torch's takes a second.
    sys.stderr.flush()
    os._exit(exit_code)


def _only_for_the_front() -> BinaryIO:
    """Return the process's stdout, and send to stderr what libraries print."""
    to_front = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return to_front


if __name__ == "__main__":
    main()
