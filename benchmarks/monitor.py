"""What `braind monitor` costs beside a scan: its start, CPU, delay at one decode per trial, memory over 10,000 decodes.

    python benchmarks/monitor.py                    # an hour: memory takes most of it
    python benchmarks/monitor.py --part start       # or pace, or memory: only these figures are measured again
    python benchmarks/monitor.py --quick            # to know that it works

A real monitor runs in a pseudo-terminal of 120 × 40 cells of 10 × 20 pixels; this process plays the daemon.
"""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from support.measuring import origin, seconds, summary, write_result
from support.names import RESULTS_PATH
from support.watched_monitor import COLUMNS, PICTURE_PX, ROWS, PlayedDaemon, label_of, monitor

EVERY_S = 1.3
"""Seconds from one decode to the next: a fast event-related design."""
STAGE_PAUSES_S = (0.0, 0.04, 0.35)
"""Seconds before the scores, Xz and Xzc of a decode, as of preset live-4 on a CPU."""
N_TIMED, N_WARM_UP = 200, 10
N_STARTS = 9
N_DECODES, CHECK_EVERY = 10_000, 1_000
MOST_PER_S = 15.0
"""The most decodes a second for the memory. The next one is published when the one before is drawn: without a queue."""
FIRST_WORDS = "connecting"
"""Words of the first screen without a daemon."""
MB = 2**20


def start(n_starts: int) -> dict[str, Any]:
    """Return how long a monitor takes from its start to its first screen, and `--once`, over bare Python."""
    wall_s: dict[str, list[float]] = {"bare Python": [], "first screen": [], "--once": []}
    cpu_s: dict[str, list[float]] = {"first screen": []}
    for _ in range(n_starts + 1):
        daemon = PlayedDaemon()
        wall_s["bare Python"].append(seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)))
        with monitor(daemon.ports, "--pictures", "half") as watched:
            wall_s["first screen"].append(watched.drawn.wait_for(FIRST_WORDS) - watched.started_s)
            cpu_s["first screen"].append(watched.cpu_s)
        daemon.close()
        daemon = PlayedDaemon()
        with monitor(daemon.ports, "--once") as watched:
            daemon.answer_status()
            wall_s["--once"].append(watched.drawn.wait_for("none yet") - watched.started_s)
        daemon.close()
    rows: dict[str, dict[str, float]] = {what: summary(values[1:]) for what, values in wall_s.items()}
    bare_ms = rows["bare Python"]["p50_ms"]
    for row in rows.values():
        row["over_bare_ms"] = round(row["p50_ms"] - bare_ms, 1)
    rows["first screen, processor time"] = summary(cpu_s["first screen"][1:])
    return {"rows": rows, "load_after": [round(load, 2) for load in os.getloadavg()]}


def pace(pictures: str, n_timed: int) -> dict[str, Any]:
    """Return the share of a core at one decode every `EVERY_S` seconds, and the delay from publishing to drawing."""
    daemon, delays_s = PlayedDaemon(), []
    began_s, spent_s = 0.0, 0.0
    with monitor(daemon.ports, "--pictures", pictures) as watched:
        daemon.wait_for_viewer()
        for index in range(N_WARM_UP + n_timed):
            due_s = time.monotonic() + EVERY_S
            if index == N_WARM_UP:
                began_s, spent_s = time.monotonic(), watched.cpu_s
            published_s = daemon.decode(index, STAGE_PAUSES_S)
            drawn_s = watched.drawn.wait_for(label_of(index))
            if index >= N_WARM_UP:
                delays_s.append(drawn_s - published_s)
            time.sleep(max(0.0, due_s - time.monotonic()))
        share = (watched.cpu_s - spent_s) / (time.monotonic() - began_s)
    daemon.close()
    return {
        "pictures": pictures, "cpu_percent": round(100 * share, 2), "published_to_drawn": summary(delays_s),
        "load_after": [round(load, 2) for load in os.getloadavg()],
    }  # fmt: skip


def memory(pictures: str, n_decodes: int, check_every: int) -> dict[str, Any]:
    """Return the monitor's memory after every `check_every` decodes, in MiB."""
    daemon, resident_mib = PlayedDaemon(), []
    began_s = time.monotonic()
    with monitor(daemon.ports, "--pictures", pictures) as watched:
        daemon.wait_for_viewer()
        for index in range(n_decodes):
            published_s = daemon.decode(index)
            watched.drawn.wait_for(label_of(index))
            time.sleep(max(0.0, published_s + 1 / MOST_PER_S - time.monotonic()))
            if (index + 1) % check_every == 0:
                resident_mib.append(round(watched.process.memory_info().rss / MB, 1))
                print(pictures, index + 1, resident_mib[-1], file=sys.stderr, flush=True)
    daemon.close()
    per_s = round(n_decodes / (time.monotonic() - began_s), 1)
    return {
        "pictures": pictures, "decodes": n_decodes, "per_s": per_s, "every": check_every, "resident_mib": resident_mib
    }  # fmt: skip


@click.command()
@click.option("--quick", is_flag=True, help="A few decodes each: the figures mean nothing.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS_PATH, help="Folder of the result.")
@click.option("--pictures", multiple=True, default=("half", "kitty", "sixel"), help="Ways to draw.")
@click.option(
    "--part", type=click.Choice(["start", "pace", "memory"]), multiple=True, help="Only this; the rest stays."
)
def main(quick: bool, out: Path, pictures: tuple[str, ...], part: tuple[str, ...]) -> None:
    """Measure the monitor with each way to draw PICTURES."""
    n_decodes, check_every = (60, 20) if quick else (N_DECODES, CHECK_EVERY)
    measured = {
        "start": lambda: start(2 if quick else N_STARTS),
        "pace": lambda: [pace(name, 3 if quick else N_TIMED) for name in pictures],
        "memory": lambda: [memory(name, n_decodes, check_every) for name in pictures],
    }
    for name in part or measured:
        where = {**origin(), "quick": quick}
        result = {"origin": where, "result": measured[name]()}
        print(name, json.dumps(result["result"], indent=1), flush=True)
        before: dict[str, Any] = {}
        with suppress(FileNotFoundError):
            before = json.loads((out / "monitor.json").read_text())
        setting = {"cells": [COLUMNS, ROWS], "picture_px": PICTURE_PX, "every_s": EVERY_S}
        print(write_result(out, "monitor", {**before, **setting}, {name: result}))


if __name__ == "__main__":
    main()
