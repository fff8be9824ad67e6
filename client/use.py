"""`braind use`: give a running daemon other weights between two runs."""

import time
from pathlib import Path

from . import wire
from .connection import RefusedByDaemon
from .control import ControlClient
from .endpoints import Endpoints
from .subscriber import DecodeSubscriber

ANSWER_S = 10.0
"""The daemon reads and checks both files before it answers."""


def use_weights(where: Endpoints, weights: Path, candidates: Path, wait_s: float) -> wire.Status:
    """Have the daemon use other weights; return its status when it is warmed up, or after `wait_s` seconds.

    While the daemon decodes earlier runs, the request is repeated at each heartbeat.

    Raises
    ------
    RefusedByDaemon
        A run is open; the weights, the candidates or the grid do not fit; or the daemon is busy after `wait_s`.
    NoDaemonError
    """
    deadline_s = time.monotonic() + wait_s
    with (
        ControlClient(*where.address("control"), timeout_s=ANSWER_S) as control,
        DecodeSubscriber.at(where) as subscriber,
    ):
        while True:
            try:
                control.use(weights, candidates)
                break
            except RefusedByDaemon as error:
                if not error.refused.retryable or time.monotonic() > deadline_s:
                    raise
            subscriber.receive(timeout_s=1.0)
        while (status := control.status()).state == "starting" and time.monotonic() < deadline_s:
            subscriber.receive(timeout_s=1.0)
    return status
