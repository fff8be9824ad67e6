"""`make bench`: the speeds of docs/benchmarks.md, each beside its competitor, in the same run.

    python benchmarks/run.py                    # everything, 13 and a half minutes on two idle cores
    python benchmarks/run.py pictures replay    # some parts
    python benchmarks/run.py --quick            # everything, a few rounds each: to know that it works

Each part writes one JSON file; `benchmarks/tables.py` makes the tables and plots of docs/benchmarks.md of them.
"""

import subprocess
import sys
import time
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import feedback
import growth
import live
import overhead
import pictures
import presets_compared
import startup
from support.measuring import origin, write_result
from support.names import RESULTS_PATH
from support.serving import serving

from braind.config import candidates_path, load_config, nsd_path
from braind.offline.data_sets import ensure_tree
from braind.offline.fit.subject import ready_weights

SUBJECT = 1
ON_A_DAEMON = ("overhead", "feedback", "replay", "growth")
RIDGE = Path(__file__).with_name("ridge.py")
PARTS = ("startup", *ON_A_DAEMON, "pictures", "presets", "ridge")


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--quick", is_flag=True, help="A few rounds each: the figures mean nothing.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS_PATH, help="Folder of the results.")
def main(parts: tuple[str, ...], quick: bool, out: Path) -> None:
    """Measure the PARTS, all by default."""
    warnings.simplefilter("ignore")  # diffusers' about numpy, in every round
    config, where = load_config(), {**origin(), "quick": quick}
    chosen = [part for part in PARTS if part in parts or not parts]
    tree_path = nsd_path(config)

    def finish(part: str, began_s: float, result: dict[str, Any]) -> None:
        took_s = round(time.monotonic() - began_s, 1)
        path = write_result(out, part, where, {**result, "took_s": took_s})
        print(f"{part}: {took_s:.0f} s, {path}", flush=True)

    if set(chosen) - {"startup", "ridge"}:
        ensure_tree(config)
        ready_weights(config, SUBJECT)
    with ExitStack() as stack:
        daemon: Any = None
        for part in chosen:
            began_s = time.monotonic()
            if part == "ridge":
                _run_ridge(out, quick=quick)
                continue
            if part in ON_A_DAEMON and daemon is None:
                paths = ready_weights(config, SUBJECT), candidates_path(config, SUBJECT)
                daemon = stack.enter_context(serving(*paths, engine="torch" if quick else "auto"))
            if part not in ON_A_DAEMON:
                stack.close()  # the daemon's processes must not share the cores with what is timed now
            match part:
                case "startup":
                    result = startup.measure(quick=quick)
                case "overhead":
                    result = overhead.measure(daemon, quick=quick)
                case "feedback":
                    result = feedback.measure(daemon, candidates_path(config, SUBJECT), quick=quick)
                case "replay":
                    result = live.measure(daemon, tree_path, quick=quick)
                case "growth":
                    result = growth.measure(daemon, quick=quick)
                case "pictures":
                    result = pictures.measure(config, quick=quick)
                case _:
                    result = presets_compared.measure(config, quick=quick)
            finish(part, began_s, result)


def _run_ridge(out: Path, *, quick: bool) -> None:
    small = ["--scale", "0.02", "--parts", "braind,himalaya,scikit-learn"] if quick else []
    if subprocess.run([sys.executable, RIDGE, "--out", out / "ridge.json", *small]).returncode:
        raise SystemExit("the ridge part failed")


if __name__ == "__main__":
    main()
