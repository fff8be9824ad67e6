"""A volume in → its ack, which promises that the volume is on disk; beside it the disk's own fsync of as many bytes.

python benchmarks/acks.py [N_VOLUMES]

Volumes of NSD's size, float32: one daemon keeps the decoder's voxels, another keeps the whole volumes too.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from support.measuring import N_WARM_UPS, seconds, summary
from support.serving import NSD_SHAPE, NSD_VOXELS, ask, open_paused, serving, write_random_weights

from braind.client import wire

N_VOLUMES = 200
IDLE_S = 0.05


def measure(n_volumes: int) -> list[dict[str, Any]]:
    """Return the times of acks and of the disk's fsync, ms, for voxels of the masks and for whole volumes."""
    n_bytes = {"masked voxels": 4 * NSD_VOXELS, "whole volume": 4 * int(np.prod(NSD_SHAPE))}
    with tempfile.TemporaryDirectory(prefix="braind-bench-") as folder:
        paths = write_random_weights(Path(folder), NSD_SHAPE, NSD_VOXELS)
        with (
            serving(*paths, engine="auto") as masked,
            serving(*paths, engine="auto", options=("--store-volumes",)) as whole,
        ):
            daemons = {"masked voxels": masked, "whole volume": whole}
            context = zmq.Context()
            sockets = {name: open_paused(context, daemon, "acks") for name, daemon in daemons.items()}
            times: dict[tuple[str, str], list[float]] = {}
            for index in range(n_volumes + N_WARM_UPS):
                for name, daemon in daemons.items():
                    frames = daemon.frames("acks", index, daemon.values(index).astype(np.float32))
                    content = os.urandom(n_bytes[name])
                    time.sleep(IDLE_S)
                    ack_s = seconds(lambda: ask(sockets[name], frames, wire.Ack))  # noqa: B023 (called at once)
                    disk_s = seconds(lambda: _write(Path(folder) / "bytes", content))  # noqa: B023
                    if index >= N_WARM_UPS:
                        times.setdefault((name, "ack"), []).append(ack_s)
                        times.setdefault((name, "fsync"), []).append(disk_s)
            context.destroy(linger=0)
    return [{"kept": name, "what": what, **summary(taken_s)} for (name, what), taken_s in times.items()]


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fdatasync(file.fileno())


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else N_VOLUMES), indent=1))
