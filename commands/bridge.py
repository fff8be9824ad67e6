"""bridge: takes volumes from scanner programs for Pyneal, MURFI or AFNI, and sends them to the daemon."""

from pathlib import Path
from typing import Any

import click

from .options import SECONDS, SESSION_NAME, FiniteRange, config_of, config_options, key_option, pair_options


@click.command()
@config_options
@click.argument("peer", type=click.Choice(["pyneal", "murfi", "afni"]))
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; these protocols have no authentication.",
)
@click.option("--port", type=click.IntRange(0, 65535), help="Pyneal 5555, MURFI 15000, AFNI's images 7960.")
@click.option("--control-port", type=click.IntRange(0, 65535), default=7961, show_default=True, help="AFNI's control.")
@click.option("--motion-port", type=click.IntRange(0, 65535), default=53214, show_default=True, help="AFNI's receiver.")
@click.option(
    "--motion-wait",
    type=FiniteRange(0),
    default=0.0,
    show_default=True,
    help="Seconds that a volume waits for its motion.",
)
@click.option("--to", "address", help="HOST[:PORT] of the daemon's ingest socket.")
@key_option
@click.option("--session", type=SESSION_NAME, help="Name of the session; today's date by default.")
@click.option("--run", help="Runs are RUN-1, RUN-2, …; RUN is the time of the start by default.")
@click.option("--kind", type=click.Choice(["bold", "beta"]), default="bold", show_default=True)
@click.option("--tr", "tr_s", type=SECONDS, help="TR, in seconds; it overrules the peer's.")
@pair_options
@click.option("--simulated", is_flag=True, help="No brain was measured.")
def bridge(
    config_path: Path | None,
    data: Path | None,
    peer: str,
    host: str,
    port: int | None,
    address: str | None,
    key: Path | None,
    **options: Any,
) -> None:
    """Receive volumes in place of PEER's analysis program, until Ctrl-C."""
    import asyncio
    import time

    from ..client.bridges.afni import IMAGE_PORT, serve_afni
    from ..client.bridges.murfi import PORT as MURFI_PORT
    from ..client.bridges.murfi import serve_murfi
    from ..client.bridges.pyneal import PORT as PYNEAL_PORT
    from ..client.bridges.pyneal import serve_pyneal
    from ..client.bridges.runs import BridgeRuns
    from ..client.endpoints import ingest_address
    from ..client.scanner import ScannerClient
    from ..client.sending.doubts import doubts
    from ..client.sending.run_feed import RunPlan
    from ..client.sending.send import candidate
    from ..client.stderr import say

    plan = RunPlan(
        session=options["session"] or time.strftime("%Y-%m-%d"),
        run=options["run"] or time.strftime("%H%M%S"),
        kind=options["kind"],
        tr_s=options["tr_s"],
        producer=f"braind bridge {peer}",
        simulated=options["simulated"],
        right=options["right"] and candidate(options["right"]),
        foil=options["foil"] and candidate(options["foil"]),
    )
    with ScannerClient(*ingest_address(config_of(config_path, data, paths={"key": key}), address)) as client:
        for sentence in doubts(client.grid(), plan, ()):
            say(sentence)
        runs = BridgeRuns(client, plan, say)
        if peer == "pyneal":
            asyncio.run(serve_pyneal(runs, host, PYNEAL_PORT if port is None else port))
        elif peer == "murfi":
            asyncio.run(serve_murfi(runs, host, MURFI_PORT if port is None else port))
        else:
            image_port = IMAGE_PORT if port is None else port
            ports = (options["control_port"], image_port, options["motion_port"])
            asyncio.run(serve_afni(runs, host, *ports, motion_wait_s=options["motion_wait"]))
