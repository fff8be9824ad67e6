"""Thousands of volumes through one daemon, as fast as it acks them: what it keeps in memory must not grow with them."""

import itertools
import time
from typing import Any

from serving import Serving

from braind.client.control import ControlClient
from braind.client.scanner import ScannerClient

CHECKPOINTS = (100, 300, 1_000, 2_000, 4_000, 6_000, 8_000, 10_000)
N_DIFFERENT = 16  # volumes that differ; drawing ten thousand would take longer than sending them
MB = 2**20


def measure(daemon: Serving, *, quick: bool) -> dict[str, Any]:
    """Send volumes in one run; at each checkpoint, sample both processes' memory and the counts."""
    checkpoints = (5, 10) if quick else CHECKPOINTS
    drawn = [daemon.values(number) for number in range(N_DIFFERENT)]
    rows = []
    with (
        ScannerClient(*daemon.endpoints.address("ingest")) as scanner,
        ControlClient(*daemon.endpoints.address("control"), timeout_s=20) as control,
    ):
        scanner.open_run(daemon.hello("growth"))
        before = control.status()  # counts are of the session
        for first, last in itertools.pairwise((0, *checkpoints)):
            began_s = time.perf_counter()
            for index in range(first, last):
                scanner.send_nowait(drawn[index % N_DIFFERENT], index, scale=1 / 300)
            scanner.wait_answers()
            acked_s = time.perf_counter() - began_s
            status = control.status()
            rows.append({
                "volumes": _grown(before.n_acked, status.n_acked), "acks_per_s": round((last - first) / acked_s, 1),
                "decoded": _grown(before.n_decoded, status.n_decoded),
                "skipped": _grown(before.n_skipped, status.n_skipped),
                "front_mb": round(daemon.front.memory_info().rss / MB, 1),
                "decoder_mb": round(daemon.decoder.memory_info().rss / MB, 1),
                "journal_mb": round(sum(path.stat().st_size for path in daemon.folder.rglob("bench.sqlite3*")) / MB, 1),
            })  # fmt: skip
        scanner.end_run(checkpoints[-1])
    return {"policy": before.policy, "preset": before.preset, "engine": before.engine, "rows": rows}


def _grown(before: int | None, now: int | None) -> int:
    assert before is not None, "the daemon cannot read its journal"
    assert now is not None, "the daemon cannot read its journal"
    return now - before
