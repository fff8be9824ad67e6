"""What eight viewers that read nothing cost the others: the latency of a decode with and without them, in turn.

    python benchmarks/stalled_viewers.py

Five pairs of runs on one daemon; prints the p99 of each run, and the median of the pairs' ratios.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import zmq
from support.measuring import N_WARM_UPS, summary
from support.serving import Serving, serving, write_random_weights

from braind.client import wire
from braind.client.connection import connect

SHAPE, N_VOXELS = (24, 28, 22), 2000
N_VIEWERS, N_PAIRS, N_VOLUMES = 8, 5, 150
REST_S = 0.02
PATIENCE_MS = 60_000


@click.command()
@click.option("--volumes", default=N_VOLUMES, help="Volumes of a run.")
def main(volumes: int) -> None:
    """Measure and print a table."""
    ratios = []
    with tempfile.TemporaryDirectory(prefix="braind-bench-") as folder:
        with serving(*write_random_weights(Path(folder), SHAPE, N_VOXELS), engine="torch") as daemon:
            latencies(daemon, "warm-up", N_WARM_UPS)
            print("| pair | p99 without, ms | p99 with 8 stalled viewers, ms | ratio |\n| --- | --- | --- | --- |")
            for pair in range(N_PAIRS):
                # The order changes from pair to pair.
                p99_ms = {}
                for is_stalled in (pair % 2 == 0, pair % 2 == 1):
                    with stalled_viewers(daemon, N_VIEWERS if is_stalled else 0):
                        taken_s = latencies(daemon, f"pair-{pair}-{is_stalled}", volumes)
                    p99_ms[is_stalled] = summary(taken_s)["p99_ms"]
                ratios.append(p99_ms[True] / p99_ms[False])
                print(f"| {pair} | {p99_ms[False]:.1f} | {p99_ms[True]:.1f} | {ratios[-1]:.3f} |", flush=True)
    print(f"median ratio: {statistics.median(ratios):.3f}")


def latencies(daemon: Serving, run: str, n_volumes: int) -> list[float]:
    """Send volumes one after the other; return the seconds from each to its Xzc at a viewer that reads."""
    context = zmq.Context()
    taken_s = []
    with (
        connect(context, zmq.DEALER, daemon.endpoints.address("ingest")) as ingest,
        connect(context, zmq.SUB, daemon.endpoints.address("decodes")) as decodes,
    ):
        decodes.subscribe(b"")
        _receive(decodes)
        ingest.send_multipart(wire.encode(daemon.hello(run)))
        assert isinstance(_receive(ingest), wire.Welcome)
        for index in range(n_volumes):
            time.sleep(REST_S)
            frames = daemon.frames(run, index, daemon.values(index))
            began_s = time.perf_counter()
            ingest.send_multipart(frames)
            assert isinstance(_receive(ingest), wire.Ack)
            while getattr(message := _receive(decodes), "stage", "") != "xzc" or message.index != index:
                pass
            taken_s.append(time.perf_counter() - began_s)
    context.destroy(linger=0)
    return taken_s


@contextmanager
def stalled_viewers(daemon: Serving, n_viewers: int) -> Iterator[None]:
    """Viewers that subscribe and read nothing after their first message."""
    context = zmq.Context()
    for _ in range(n_viewers):
        viewer = context.socket(zmq.SUB)
        viewer.rcvhwm = 1
        viewer.connect(daemon.endpoints.decodes)
        viewer.subscribe(b"")
        assert viewer.poll(PATIENCE_MS)
    try:
        yield
    finally:
        context.destroy(linger=0)


def _receive(socket: zmq.Socket) -> Any:
    assert socket.poll(PATIENCE_MS), "no message"
    return wire.decode(socket.recv_multipart())[0]


if __name__ == "__main__":
    main()
