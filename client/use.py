"""`braind use`: give a running daemon other weights between two runs."""

import time
from pathlib import Path

from . import wire
from .connection import RefusedByDaemon
from .control import ControlClient
from .endpoints import Endpoints

ANSWER_S = 10.0
"""The daemon reads and checks both files before it answers."""
ASK_EVERY_S = 0.5


def use_weights(where: Endpoints, weights: Path, candidates: Path, wait_s: float) -> wire.Status:
    """Have the daemon use other weights; return its status when it is warmed up, or after `wait_s` seconds.

    While the daemon decodes earlier runs, the request is repeated. A key needs the role `control` alone.

    Raises
    ------
    RefusedByDaemon
        A run is open; the weights, the candidates or the grid do not fit; or the daemon is busy after `wait_s`.
    NoDaemonError
    """
    deadline_s = time.monotonic() + wait_s
    with ControlClient(*where.address("control"), timeout_s=ANSWER_S) as control:
        while True:
            try:
                control.use(weights, candidates)
                break
            except RefusedByDaemon as error:
                if not error.refused.retryable or time.monotonic() > deadline_s:
                    raise
            time.sleep(ASK_EVERY_S)
        while (status := control.status()).state == "starting" and time.monotonic() < deadline_s:
            time.sleep(ASK_EVERY_S)
    return status
