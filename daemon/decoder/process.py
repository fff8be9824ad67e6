"""The decoder process, which owns torch and the GPU.

The front starts it as `python -m braind.daemon.decoder.process`. It reads lines on stdin and writes lines on stdout
(`link.py`).
"""

import gc
import logging
import math
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from ...errors import BraindError
from ...models.weights.weights import Weights
from .. import link
from ..journal.database import JournalError
from ..logs import Outage, Throttle, configure_logging
from ..preflight import no_pictures
from .decoder import Decoder
from .label_stages import LabelStages
from .liveness import SIGN_S

if TYPE_CHECKING:
    from .stages import Stages

STORAGE_RETRY_S = 1.0
SHOWN_BYTES = 80

logger = logging.getLogger("braind.daemon.decoder")


def main() -> None:
    """Run the decoder process until the front sends `Stop` or is gone."""
    # Ctrl-C reaches every process of the terminal, but the front decides when the decoder stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_logging()
    to_front = _line_output()
    setup = _setup(sys.stdin.buffer)
    lines: queue.SimpleQueue[link.ToDecoder] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, lines), daemon=True).start()

    def send(line: link.ToFront) -> None:
        to_front.write(link.encode(line))

    # Half a million objects of the libraries stay for ever. A collection among them is a fifth of a second without a
    # picture, and many collections would slow down the start.
    gc.disable()
    try:
        started_s = time.monotonic()
        stages = _stages(setup.decoder)
        loaded_s = time.monotonic()
        stages.warm_up()
        warm_up_s = time.monotonic() - loaded_s
        decoder = Decoder(setup, stages, send, warm_up_s=warm_up_s)
    except BraindError as error:
        send(link.Unfit(code=error.code, sentence=str(error)))
        _leave(1)
    gc.collect()
    gc.freeze()
    gc.enable()
    # From here on the front waits as long as the main loop says, and no longer as long as for loading.
    decoder.liveness.goes_on()
    send(
        link.Ready(
            engine=stages.provenance.engine,
            ldm=stages.provenance.ldm,
            preset=stages.provenance.preset,
            load_s=loaded_s - started_s,
            warm_up_s=warm_up_s,
        )
    )
    _work(decoder, lines)
    decoder.close()
    _leave(0)


def _stages(settings: link.DecoderSettings) -> "Stages | LabelStages":
    """Load the weights and what they need; raise BraindError if files do not fit each other."""
    weights = Weights.load(Path(settings.weights_path)).with_c_decoder(settings.pipeline.c_decoder)
    if weights.has_pictures:
        from .stages import Stages  # imports torch for seconds, and weights without pictures need no torch

        return Stages(settings, weights)
    unrefined = "; --refine has no picture to refine" if settings.refine else ""
    logger.info("no latent diffusion model is loaded: %s%s", no_pictures(weights), unrefined)
    return LabelStages(weights, settings.pipeline.seed)


def _work(decoder: Decoder, lines: "queue.SimpleQueue[link.ToDecoder]") -> None:
    """Read lines and decode volumes until `Stop`."""
    may_have_work, wait_s = True, None
    journals = Outage(logger, "decoding waits for a journal")
    while True:
        decoder.liveness.goes_on()
        try:
            while True:
                line = lines.get_nowait() if may_have_work else _wait(decoder, lines, wait_s)
                may_have_work = True
                if isinstance(line, link.Stop):
                    return
                if isinstance(line, link.Wake):
                    decoder.add_arrival(line)
                elif isinstance(line, link.EndOfRun):
                    decoder.add_end(line)
                elif isinstance(line, link.PauseDecoding):
                    decoder.paused = line.paused
                elif isinstance(line, link.SetPolicy):
                    decoder.policy = line.policy
        except queue.Empty:
            pass
        try:
            may_have_work, wait_s = decoder.step(), None
            journals.passed()
            if not may_have_work:
                decoder.refine(lambda: not lines.empty())
                waits_s = [one_s for one_s in (decoder.keep_warm(), decoder.until_due_s()) if one_s is not None]
                wait_s = min(waits_s, default=None)
        except JournalError as error:
            journals.failed(error)
            may_have_work, wait_s = False, STORAGE_RETRY_S


def _wait(decoder: Decoder, lines: "queue.SimpleQueue[link.ToDecoder]", wait_s: float | None) -> link.ToDecoder:
    """Return the front's next line; raise queue.Empty after `wait_s` seconds. Signs of life go out meanwhile."""
    until_s = math.inf if wait_s is None else time.monotonic() + wait_s
    while True:
        decoder.liveness.goes_on()
        left_s = until_s - time.monotonic()
        try:
            return lines.get(timeout=max(0.0, min(left_s, SIGN_S)))
        except queue.Empty:
            if left_s <= SIGN_S:
                raise


def _setup(from_front: BinaryIO) -> link.Setup:
    """Return the first line. Without it the process ends, and the front starts another."""
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
    # The front is gone. The next daemon starts its own decoder, and two decoders must not take the same volume.
    os._exit(1)


def _leave(exit_code: int) -> NoReturn:
    # A normal exit would wait for the thread that reads stdin, and for torch, which takes a second.
    sys.stderr.flush()
    os._exit(exit_code)


def _line_output() -> BinaryIO:
    """Return the process's stdout for lines to the front; redirect everything that libraries print to stderr."""
    to_front = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return to_front


if __name__ == "__main__":
    main()
