"""What keys cost: a volume in → its ack, by two daemons in turn; one of them requires keys. Volumes of NSD's size.

python benchmarks/keys.py [N_ROUNDS]
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from support.measuring import N_WARM_UPS, seconds, summary
from support.serving import NSD_SHAPE, NSD_VOXELS, Serving, ask, open_paused, serving, write_random_weights

from braind.client import wire

N_ROUNDS = 60
IDLE_S = 0.05


def measure(n_rounds: int) -> list[dict[str, Any]]:
    """Return, for each dtype of the volumes, the acks' times with and without keys, ms."""
    with tempfile.TemporaryDirectory(prefix="braind-bench-") as folder:
        paths = write_random_weights(Path(folder), NSD_SHAPE, NSD_VOXELS)
        with serving(*paths, engine="auto") as without, serving(*paths, engine="auto", keys="required") as required:
            daemons = {"off": without, "required": required}
            return [_compare(daemons, dtype, n_rounds) for dtype in ("int16", "float32")]


def _compare(daemons: dict[str, Serving], dtype: str, n_rounds: int) -> dict[str, Any]:
    times = _acks(daemons, dtype, n_rounds)
    figures = {name: summary(taken_s) for name, taken_s in times.items()}
    return {
        "bytes": int(np.prod(NSD_SHAPE)) * np.dtype(dtype).itemsize,
        **figures,
        "p50_ratio": round(figures["required"]["p50_ms"] / figures["off"]["p50_ms"], 3),
        "p50_of_differences_ms": round(1e3 * float(np.median(np.subtract(times["required"], times["off"]))), 3),
    }


def _acks(daemons: dict[str, Serving], dtype: str, n_rounds: int) -> dict[str, list[float]]:
    """Pause decoding, and send each daemon a volume in turn; return seconds to the ack."""
    context = zmq.Context()
    sockets = {name: open_paused(context, daemon, dtype) for name, daemon in daemons.items()}
    times: dict[str, list[float]] = {name: [] for name in daemons}
    for index in range(n_rounds + N_WARM_UPS):
        names = list(daemons) if index % 2 else list(reversed(daemons))
        for name in names:
            frames = daemons[name].frames(dtype, index, daemons[name].values(index).astype(dtype))
            time.sleep(IDLE_S)
            taken_s = seconds(lambda: ask(sockets[name], frames, wire.Ack))  # noqa: B023 (called at once)
            if index >= N_WARM_UPS:
                times[name].append(taken_s)
    context.destroy(linger=0)
    return times


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else N_ROUNDS), indent=1))
