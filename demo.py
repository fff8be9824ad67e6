"""`braind demo`: simulates, fits, serves, replays and watches, with the processes of a real session."""

import io
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import numpy as np

from .arrays import Array
from .client.endpoints import Endpoints
from .client.replays.plan import ReplayPlan
from .client.replays.replay import replay
from .client.scanner import ScannerClient
from .client.subscriber import DecodeSubscriber
from .client.wire import Decode
from .config import Config, MonitorConfig, candidates_path
from .daemon.child import child_daemon
from .errors import BraindError, ExitCode
from .offline.data_sets import ensure_tree
from .offline.fit.subject import ready_weights

if TYPE_CHECKING:
    from .client.datasets.nsd.tree import NsdTree
    from .client.replays.replay import ReplaySummary
    from .models.sheets import Column


SUBJECT = 1
N_VOLUMES = 24
PACE_S = 0.5  # interval of volumes without a terminal: shorter than any scanner's TR, longer than a decode
READY_WITHIN_S = 180.0
DECODED_WITHIN_S = 60.0


class DemoError(BraindError):
    """The demo could not go on."""

    code = "demo"


def run_demo(config: Config, headless: bool, out: Path) -> int:
    """Decode a simulated brain's volumes.

    With a terminal, the monitor opens on a live replay. Without a terminal, or with `headless`, the demo decodes 24
    volumes, prints a line for each volume, and writes a contact sheet to `out`. At the end it says what to do next.

    Raises
    ------
    DemoError
        If nothing is decoded for a minute.
    ChildDaemonError
        If the daemon does not start.
    """
    click.echo("preparing the simulated subject and its decoder weights (minutes the first time)", err=True)
    tree = ensure_tree(config)
    weights_path = ready_weights(config, SUBJECT)
    with tempfile.TemporaryDirectory(prefix="braind-demo-") as folder:
        live = msgspec.structs.replace(config, paths=msgspec.structs.replace(config.paths, data=folder))
        options = [
            "--subject",
            str(SUBJECT),
            "--weights",
            str(weights_path),
            "--candidates",
            str(candidates_path(config, SUBJECT)),
        ]
        with child_daemon(live, options, ready_within_s=READY_WITHIN_S) as where:
            is_watched = not headless and sys.stdout.isatty()
            status = _watch(where, tree, folder, config.monitor) if is_watched else _decode_some(where, tree, out)
    if status == ExitCode.OK:
        click.echo(next_steps(config), err=True)
    return status


def next_steps(config: Config) -> str:
    """Return the commands that a user of the demo may try next, with the data folder where it was set."""
    data = f" --data {shlex.quote(config.paths.data)}" if config.paths.data else ""
    steps = (
        (f"braind serve{data}", "the same daemon; in a second terminal:"),
        (f"braind replay --subject {SUBJECT}{data}", "sends the simulated subject's trials; in a third:"),
        (f"braind monitor{data}", "watches them"),
        (f"braind decode --subject {SUBJECT} --trials 0:8{data}", "pictures of recorded trials, with provenance"),
        (f"braind evaluate --subject {SUBJECT}{data}", "how well the simulated subject is decoded, with controls"),
        ("braind fit --nsd FOLDER", "weights of the Natural Scenes Dataset; --bids FOLDER: of your own study"),
        ("braind send --watch FOLDER", "volumes of your scanner, as files"),
    )
    width = max(len(command) for command, _ in steps) + 2
    lines = [f"  {command:{width}}{words}" for command, words in steps]
    return "\n".join(["That was a simulated brain. What to do next:", *lines, "README.md and docs/ say more."])


def _watch(where: Endpoints, tree: "NsdTree", folder: str, look: MonitorConfig) -> int:
    from .tui.app import run_monitor

    command = [sys.executable, "-m", "braind", "replay", "--subject", str(SUBJECT), "--data", folder,
               "--nsd", str(tree.root), "--speed", "2"]  # fmt: skip
    with (
        (Path(folder) / "replay.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as replaying,
    ):
        try:
            return run_monitor(where, look)
        finally:
            replaying.terminate()


def _decode_some(where: Endpoints, tree: "NsdTree", out: Path) -> int:
    summaries: list[ReplaySummary] = []
    sending = threading.Thread(target=lambda: summaries.append(_send(where, tree)), daemon=True)
    with DecodeSubscriber.at(where, from_seq=1) as subscriber:
        sending.start()
        columns = _collect(subscriber)
    sending.join()
    click.echo(summaries[0].text())
    _write_sheet(columns, out)
    click.echo(out)
    return 0


def _send(where: Endpoints, tree: "NsdTree") -> "ReplaySummary":
    with (
        ScannerClient(*where.address("ingest")) as client,
        DecodeSubscriber.at(where) as subscriber,
    ):
        plan = ReplayPlan(SUBJECT, max_volumes=N_VOLUMES, pace_s=PACE_S)
        return replay(tree, plan, client, subscriber, session_id="demo")


def _collect(subscriber: DecodeSubscriber) -> "list[Column]":
    """Print a line for every decoded volume; return each volume's seen picture, Xz and Xzc as a sheet's column."""
    pictures: dict[tuple[str, int], dict[str, Array]] = {}
    captions: dict[tuple[str, int], str] = {}
    n_done, deadline_s = 0, time.monotonic() + DECODED_WITHIN_S
    while n_done < N_VOLUMES:
        left_s = deadline_s - time.monotonic()
        # Heartbeats come also while nothing is decoded.
        received = subscriber.receive(timeout_s=left_s) if left_s > 0 else None
        if received is None:
            raise DemoError(f"nothing was decoded for {DECODED_WITHIN_S:.0f} s, after {n_done} of {N_VOLUMES} volumes")
        decode = received.message
        if not isinstance(decode, Decode):
            continue
        volume = pictures.setdefault((decode.run, decode.index), {})
        if received.png is not None:
            volume[decode.stage] = _picture(received.png)
        if decode.stage == "scores" and decode.retrieved:
            best = decode.retrieved[0]
            captions[decode.run, decode.index] = f"{best.label} ({best.score:.2f})"
        if decode.stage == "xzc":
            n_done, deadline_s = n_done + 1, time.monotonic() + DECODED_WITHIN_S
            caption = captions.get((decode.run, decode.index), "")
            latency_ms = 1000 * decode.timings_s.get("xzc", float("nan"))
            click.echo(f"{n_done:2d}  {decode.run}  volume {decode.index:3d}  {latency_ms:5.0f} ms  nearest: {caption}")
    return [
        _column(run, index, [volume["scores"], volume["xz"], volume["xzc"]])
        for (run, index), volume in pictures.items()
        if len(volume) == 3
    ]


def _column(run: str, index: int, pictures: list[Array]) -> "Column":
    from .models.scores.metrics import pixcorr
    from .models.scores.protocols import measured_pixels
    from .models.sheets import Column
    from .offline.typography import number

    seen, _, xzc = pictures
    score = pixcorr(measured_pixels(seen[None]), measured_pixels(xzc[None]))[0]
    return Column(pictures, f"{run}\nvolume {index}", f"PixCorr {number(score, '.2f')}")


def _picture(png: bytes) -> Array:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def _write_sheet(columns: "list[Column]", out: Path) -> None:
    from .models.sheets import contact_sheet

    title = f"braind demo: simulated subject {SUBJECT}, single trials, one volume each; below: PixCorr of seen and Xzc"
    contact_sheet(columns, ["seen", "Xz", "Xzc"], title, simulated=True).save(out)
