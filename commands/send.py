"""send: sends volumes from a NIfTI file, or from the folder that the scanner writes to."""

from pathlib import Path
from typing import Any

import click

from ..errors import ExitCode
from .options import (
    FOLDER,
    READABLE,
    SECONDS,
    SESSION_NAME,
    FiniteRange,
    config_of,
    config_options,
    key_option,
    pair_options,
)


def _echo(context: click.Context, option: click.Parameter, text: str | None) -> Any:
    if text is None:
        return None
    from ..client.sending.series_choice import parse_echo

    try:
        return parse_echo(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is neither an echo's number, as 2, nor its time, as 28.5ms") from error


@click.command()
@config_options
@click.argument("nifti", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--watch", type=FOLDER, help="Send the new files of a folder: NIfTI, PAR/REC, or DICOM.")
@click.option("--tr", "tr_s", type=SECONDS, help="TR, in seconds; it overrules the files' headers.")
@click.option("--to", "address", help="HOST[:PORT] of the daemon's ingest socket.")
@key_option
@click.option("--session", type=SESSION_NAME, help="Name of the session; today's date by default.")
@click.option("--run", help="Name of the run; the same name resumes an interrupted run.")
@click.option("--kind", type=click.Choice(["bold", "beta"]), default="bold", show_default=True)
@click.option("--events", type=READABLE, help="BIDS events.tsv with the trials' onsets.")
@click.option(
    "--trigger-at", "trigger_at_s", type=FiniteRange(), help="Time of the first volume, on the clock of --events."
)
@click.option("--labels", help="Column of --events that names each trial's class; trial_type by default.")
@click.option("--stimuli", type=FOLDER, help="Folder of the pictures in --events' stim_file; viewers show them.")
@click.option(
    "--flat-out", is_flag=True, help="Send a file's volumes as fast as they are acknowledged, not one per TR."
)
@click.option("--existing", is_flag=True, help="With --watch: also send files that are already there.")
@click.option("--series", help="With --watch: the series to send, by UID or by file name before the number.")
@click.option("--series-description", help="With --watch: send only series whose description contains this.")
@click.option("--echo", callback=_echo, help="With --watch: the echo to send, by number (2) or time (28.5ms).")
@click.option("--each-series", is_flag=True, help="With --watch: a new series is a new run, RUN-2, RUN-3, …")
@click.option(
    "--first-number", type=click.IntRange(0), default=1, show_default=True, help="Number of a series' first volume."
)
@click.option(
    "--volumes", "max_volumes", type=click.IntRange(1), help="With --watch: end the run after this many volumes."
)
@click.option(
    "--quiet", "quiet_s", type=FiniteRange(0), help="With --watch: end after this many seconds without files."
)
@pair_options
@click.option("--simulated", is_flag=True, help="No brain was measured.")
def send(
    config_path: Path | None,
    data: Path | None,
    nifti: Path | None,
    watch: Path | None,
    address: str | None,
    key: Path | None,
    session: str | None,
    run: str | None,
    **options: Any,
) -> None:
    """Send a NIfTI file, a PAR/REC pair, or the new files of a folder, to the daemon."""
    import time

    from ..client.endpoints import ingest_address
    from ..client.names import wrong_name
    from ..client.scanner import ScannerClient
    from ..client.sending.doubts import doubts
    from ..client.sending.folder_watch import FolderWatch
    from ..client.sending.run_feed import RunPlan
    from ..client.sending.send import TRIAL_TYPE, FolderSender, candidate, read_onsets, send_file, stale
    from ..client.sending.series_choice import Wanted
    from ..client.stderr import say

    if (nifti is None) == (watch is None):
        raise click.UsageError("give either a NIfTI file or --watch FOLDER")
    if options["events"] is None and (options["trigger_at_s"] is not None or options["stimuli"] or options["labels"]):
        raise click.UsageError("--trigger-at, --stimuli and --labels are of --events: give that too")
    if nifti and run is None and (problem := wrong_name("run", nifti.name.split(".")[0])):
        raise click.UsageError(f"{problem}. The run has the name of its file: give it another with --run")
    config = config_of(config_path, data, paths={"key": key})
    plan = RunPlan(
        session=session or time.strftime("%Y-%m-%d"),
        run=run or (nifti.name.split(".")[0] if nifti else time.strftime("%H%M%S")),
        kind=options["kind"],
        tr_s=options["tr_s"],
        producer="braind send",
        simulated=options["simulated"],
        right=options["right"] and candidate(options["right"]),
        foil=options["foil"] and candidate(options["foil"]),
    )
    onsets = []
    if options["events"]:
        labels = options["labels"] or config.dataset.labels or TRIAL_TYPE
        onsets = read_onsets(options["events"], options["trigger_at_s"] or 0.0, options["stimuli"], labels)
    with ScannerClient(*ingest_address(config, address)) as client:
        for sentence in doubts(client.grid(), plan, onsets):
            say(sentence)
        if nifti:
            n_acked = send_file(nifti, client, plan, say, onsets, is_paced=not options["flat_out"])
            n_refused = 0
        else:
            assert watch is not None
            wanted = Wanted(options["series"], options["series_description"], options["echo"])
            folder = FolderWatch(
                watch,
                existing=options["existing"],
                first_number=options["first_number"],
                by_acquisition=wanted.echo is not None,
            )
            for sentence in stale(folder):
                say(sentence)
            sender = FolderSender(folder, client, plan, say, onsets, wanted=wanted, each_series=options["each_series"])
            sender.run(max_volumes=options["max_volumes"], quiet_s=options["quiet_s"])
            n_acked, n_refused = sender.n_acked, sender.n_refused
    click.echo(f"session {plan.session}, run {plan.run}: {n_acked} volumes acked, {n_refused} not sent")
    if not n_acked:
        say("nothing was sent; if files lie in the folder already, --existing sends them")
    if n_refused or not n_acked:
        raise SystemExit(ExitCode.FAILED)
