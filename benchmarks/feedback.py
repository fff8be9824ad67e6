"""What a stimulus program waits for: volume → first score with feedback, and → picture, from a client to a subscriber.

Betas, and BOLD with a picture every 4 s, where each volume tells more of two or three trials that overlap. A volume
counts from the call of `send`, on this side of the socket, and what is made of it when it has come here, to a thread
that only listens, as a stimulus program does.
"""

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from support.measuring import N_WARM_UPS, summary
from support.serving import Serving

from braind.client.scanner import Onset, OpenRun, ScannerClient
from braind.client.subscriber import DecodeSubscriber
from braind.client.wire import Decode
from braind.models.weights.candidates import read_tensors

N_ROUNDS = 200
IDLE_S = 0.05  # between rounds, for what the daemon still does after a picture
PATIENCE_S = 60.0
TR_S, TRIAL_S = 4 / 3, 4.0  # three volumes a trial
VOLUMES_A_TRIAL = 3
FIRST_FINAL = 9  # the first volume 11 s after the first onset
Heard = tuple[Decode, float]
"""A decode, and when it came."""
BARS_MS = {"feedback": 10, "score": 30, "picture": 1000}


def measure(daemon: Serving, candidates_path: Path, *, quick: bool) -> dict[str, Any]:
    """Send betas, then BOLD."""
    right, foil = read_tensors(candidates_path, ("nsd_id",))[0]["nsd_id"][:2].tolist()
    n_rounds = 3 if quick else N_ROUNDS
    with (
        ScannerClient(*daemon.endpoints.address("ingest")) as client,
        DecodeSubscriber.at(daemon.endpoints) as subscriber,
    ):
        subscriber.receive(PATIENCE_S)  # a heartbeat: from now on it hears everything
        with _listening(subscriber) as heard:
            hello = msgspec.structs.replace(daemon.hello("feedback"), right=right, foil=foil)
            rows = [_betas(daemon, client.open_run(hello), heard, n_rounds)]
            hello = msgspec.structs.replace(hello, run="feedback-bold", kind="bold", tr_s=TR_S, dtype="float32")
            rows += _bold(daemon, client.open_run(hello), heard, n_rounds)
        clock = client.clock_offset
    return {"rows": rows, "bars_ms": BARS_MS, "clock": clock and clock._asdict()}


@contextmanager
def _listening(subscriber: DecodeSubscriber) -> Iterator["queue.Queue[Heard]"]:
    heard: queue.Queue[Heard] = queue.Queue()
    is_over = threading.Event()

    def listen() -> None:
        while not is_over.is_set():
            received = subscriber.receive(0.1)
            if received is not None and isinstance(received.message, Decode):
                heard.put((received.message, time.perf_counter()))

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield heard
    finally:
        is_over.set()
        thread.join()


def _betas(daemon: Serving, run: OpenRun, heard: "queue.Queue[Heard]", n_rounds: int) -> dict[str, Any]:
    score_s, picture_s, inside_s = [], [], []
    for index in range(n_rounds + N_WARM_UPS):
        values = daemon.values(index)
        time.sleep(IDLE_S)
        began_s = time.perf_counter()
        run.send(values, scale=1 / 300)
        for decode, came_s in _decodes(heard, run, index):
            if index >= N_WARM_UPS and decode.stage == "scores":
                assert decode.feedback is not None
                score_s.append(came_s - began_s)
                inside_s.append(decode.timings_s["scores"])
            if decode.stage == "xzc":
                picture_s += [came_s - began_s] if index >= N_WARM_UPS else []
                break
    return _row("betas", score_s, picture_s, inside_s)


def _bold(daemon: Serving, run: OpenRun, heard: "queue.Queue[Heard]", n_rounds: int) -> Iterator[dict[str, Any]]:
    """Time scores of volumes within a trial's response, and score and picture of volumes that complete a trial."""
    provisional: tuple[list[float], ...] = ([], [], [])
    final: tuple[list[float], ...] = ([], [], [])
    generator = np.random.default_rng(0)
    shape = daemon.weights.card.shape
    for index in range(FIRST_FINAL + VOLUMES_A_TRIAL * (n_rounds + N_WARM_UPS)):
        values = (1000 + generator.normal(0, 10, shape)).astype(np.float32)
        trial, position = divmod(index, VOLUMES_A_TRIAL)
        onsets = [Onset(trial, trial * TRIAL_S)] if position == 0 else []
        for onset in onsets:
            run.send_onset(onset)
        time.sleep(IDLE_S)
        completes = index >= FIRST_FINAL and position == 0
        is_warm = index >= FIRST_FINAL + VOLUMES_A_TRIAL * N_WARM_UPS
        began_s = time.perf_counter()
        run.send(values)
        if index < VOLUMES_A_TRIAL:  # nothing is known of any trial yet
            continue
        score_s, picture_s, inside_s = final if completes else provisional
        for decode, came_s in _decodes(heard, run, index):
            if decode.stage == "scores" and decode.is_final == completes:
                assert decode.feedback is not None
                score_s += [came_s - began_s] if is_warm else []
                inside_s += [decode.timings_s["scores"]] if is_warm else []
                if not completes:
                    break
            if decode.stage == "xzc":
                picture_s += [came_s - began_s] if is_warm else []
                break
    yield _row("BOLD, a trial unfolds", *provisional)
    yield _row("BOLD, a trial's last volume", *final)


def _decodes(heard: "queue.Queue[Heard]", run: OpenRun, index: int) -> Iterator[Heard]:
    """Yield a volume's decodes, and when each came."""
    while True:
        decode, came_s = heard.get(timeout=PATIENCE_S)
        if (decode.run, decode.index) == (run.hello.run, index):
            yield decode, came_s


def _row(what: str, score_s: list[float], picture_s: list[float], inside_s: list[float]) -> dict[str, Any]:
    parts = {"score": score_s, "picture": picture_s, "arrival to score, in the daemon": inside_s}
    return {"what": what, **{name: summary(times_s) for name, times_s in parts.items() if times_s}}
