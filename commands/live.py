"""serve, use, replay, monitor and status: the commands for a running scan."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ExitCode
from .options import (
    READABLE,
    FiniteRange,
    config_of,
    config_options,
    json_option,
    key_option,
    nsd_option,
    serve_options,
    serve_settings,
)

if TYPE_CHECKING:
    from ..choices import Kind
    from ..client.replays.replay import ReplaySummary


@click.command()
@serve_options
def serve(
    config_path: Path | None,
    data: Path | None,
    subject: str,
    kind: "Kind",
    mask_paths: tuple[Path, ...],
    **options: Any,
) -> None:
    """Run the daemon: take volumes, publish decodes."""
    from ..daemon.in_use import Start
    from ..daemon.serve import serve as run

    is_named = bool(options["weights_path"] or options["candidates_path"])
    config, decoder, number = serve_settings(config_path, data, subject, kind, options)
    raise SystemExit(run(config, Start(number, kind, decoder, mask_paths, is_named)))


@click.command()
@config_options
@key_option
@click.argument("weights", type=READABLE)
@click.option("--candidates", type=READABLE, help="Candidate pictures; by default, the file beside the weights.")
@click.option(
    "--wait",
    "wait_s",
    type=FiniteRange(0),
    default=120.0,
    show_default=True,
    help="Seconds to wait until earlier runs are decoded and the decoder is warmed up.",
)
def use(
    config_path: Path | None,
    data: Path | None,
    key: Path | None,
    weights: Path,
    candidates: Path | None,
    wait_s: float,
) -> None:
    """Decode with other weights from the next run on, without a restart of the daemon.

    Weights that decode classes and no pictures need no candidates.
    """
    from ..client.endpoints import endpoints
    from ..client.use import use_weights
    from ..config import candidates_beside

    candidates = candidates or candidates_beside(weights)
    where = endpoints(config_of(config_path, data, paths={"key": key}))
    status = use_weights(where, weights.resolve(), candidates.resolve(), wait_s)
    click.echo(f"weights {status.weights} in use")


@click.command()
@config_options
@key_option
@click.option("--subject", default=1, show_default=True, help="Subject number.")
@nsd_option
@click.option("--session", type=click.IntRange(1), help="NSD session; all sessions by default.")
@click.option("--kind", type=click.Choice(["beta", "bold"]), default="beta", show_default=True)
@click.option(
    "--repeats",
    type=click.Choice(["single", "running", "mean"]),
    default="single",
    show_default=True,
    help="Each repeat of a picture, the mean of the repeats so far, or one mean of all repeats.",
)
@click.option(
    "--calibration", is_flag=True, help="Send all trials, not only held-out trials; each trial names its picture."
)
@click.option("--foils", "with_foils", is_flag=True, help="Name each trial's picture and a foil, for feedback.")
@click.option("--speed", type=FiniteRange(0, min_open=True), default=1.0, help="Speed relative to NSD's pace.")
@click.option("--flat-out", is_flag=True, help="Send as fast as volumes are acknowledged.")
@click.option("--max-volumes", type=click.IntRange(1), help="Send only this many volumes.")
@click.option("--session-id", help="Name of this replay; the same name resumes an interrupted replay.")
@click.option("--fresh", is_flag=True, help="Start anew instead of resuming an interrupted replay.")
@json_option
def replay(
    config_path: Path | None,
    data: Path | None,
    key: Path | None,
    subject: int,
    nsd: Path | None,
    kind: Any,
    repeats: Any,
    calibration: bool,
    with_foils: bool,
    session: int | None,
    session_id: str | None,
    fresh: bool,
    as_json: bool,
    **pace: Any,
) -> None:
    """Send a subject's held-out test trials to the daemon, as a scanner would."""
    from ..client.replays.command import replay_subject
    from ..client.replays.plan import ReplayPlan
    from ..offline.data_sets import ensure_tree

    config = config_of(config_path, data, paths={"nsd": nsd, "key": key})
    plan = ReplayPlan(
        subject,
        kind=kind,
        repeats="calibration" if calibration else repeats,
        session=session,
        with_foils=with_foils,
        max_volumes=pace["max_volumes"],
    )
    summary = replay_subject(
        config,
        ensure_tree(config),
        plan,
        speed=None if pace["flat_out"] else pace["speed"],
        session_id=session_id,
        fresh=fresh,
    )
    _print_summary(summary, as_json)
    if summary.n_refused or summary.n_outstanding:
        raise SystemExit(ExitCode.FAILED)


def _print_summary(summary: "ReplaySummary", as_json: bool) -> None:
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(summary)))
        return
    for sentence in summary.refusals.values():
        click.echo(f"braind: refused: {sentence}", err=True)
    click.echo(summary.text())


@click.command()
@config_options
@key_option
@click.option("--plain", is_flag=True, help="Print one line per decode, for pipes and logs.")
def monitor(config_path: Path | None, data: Path | None, key: Path | None, plain: bool) -> None:
    """Watch the decodes."""
    from ..client.endpoints import endpoints
    from ..tui.app import run_monitor

    raise SystemExit(run_monitor(endpoints(config_of(config_path, data, paths={"key": key})), plain))


@click.command()
@config_options
@key_option
@json_option
def status(config_path: Path | None, data: Path | None, key: Path | None, as_json: bool) -> None:
    """Print the daemon's state; `ready` means that the decoder is warmed up."""
    import msgspec

    from ..client.control import ControlClient
    from ..client.endpoints import endpoints

    where = endpoints(config_of(config_path, data, paths={"key": key}))
    with ControlClient(*where.address("control")) as control:
        answer = msgspec.to_builtins(control.status())
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(answer)))
        return
    for field, value in answer.items():
        if field != "type":
            # The number of volumes is null if the journal cannot be read.
            nothing = "unknown" if field.startswith("n_") else "-"
            click.echo(f"{field:19} {nothing if value in (None, '') else value}")
