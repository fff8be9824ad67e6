"""serve, use, replay, monitor and status: the commands for a running scan."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ExitCode
from .options import (
    FILE,
    READABLE,
    config_of,
    config_options,
    decode_options,
    json_option,
    kind_option,
    ldm_option,
    lora_option,
    model_paths,
    nsd_option,
    subject_option,
    tiny_decoder_option,
)

if TYPE_CHECKING:
    from ..choices import Kind
    from ..client.replays.replay import ReplaySummary


@click.command()
@config_options
@subject_option
@kind_option
@ldm_option
@lora_option
@tiny_decoder_option
@click.option(
    "--weights", "weights_path", type=FILE, help="Weights file; by default, the file that `braind fit` wrote."
)
@click.option("--candidates", "candidates_path", type=FILE, help="Candidate pictures for retrieval.")
@click.option(
    "--mask",
    "mask_paths",
    type=READABLE,
    multiple=True,
    help="Without weights: record the voxels of this NIfTI mask; repeat the option for more masks.",
)
@click.option("--host", help="Address to bind.")
@click.option("--ingest-port", type=int, help="Port for volumes; 0 takes any free port.")
@click.option("--decodes-port", type=int, help="Port for viewers.")
@click.option("--control-port", type=int, help="Port for status, history and shutdown.")
@click.option(
    "--policy", type=click.Choice(["latest", "all"]), help="When decoding lags: newest volume first, or all in order."
)
@click.option("--store-volumes/--no-store-volumes", default=None, help="Keep whole volumes in the journal.")
@click.option("--metrics/--no-metrics", default=None, help="Serve /metrics and /healthz over HTTP, on 127.0.0.1.")
@click.option("--metrics-port", type=int, help="Port of /metrics and /healthz; 0 takes any free port.")
@click.option("--threads", type=int, help="CPU threads of the decoder.")
@click.option("--refine", help="Preset of a better picture of the newest volume, made while no volume waits.")
@decode_options
def serve(
    config_path: Path | None,
    data: Path | None,
    subject: int,
    kind: "Kind",
    weights_path: Path | None,
    candidates_path: Path | None,
    mask_paths: tuple[Path, ...],
    **settings: Any,
) -> None:
    """Run the daemon: take volumes, publish decodes."""
    from .. import config as paths
    from ..daemon.link import DecoderSettings
    from ..daemon.serve import serve as run
    from ..offline.from_settings import pipeline_settings, refining_preset_of

    serving = (
        "host", "ingest_port", "decodes_port", "control_port", "policy", "store_volumes", "metrics", "metrics_port",
    )  # fmt: skip
    serve_settings = {name: settings.pop(name) for name in serving}
    config = config_of(config_path, data, paths=model_paths(settings), decode=settings, serve=serve_settings)
    decoder = DecoderSettings(
        weights_path=str(weights_path or paths.weights_path(config, subject, kind)),
        candidates_path=str(candidates_path or paths.candidates_path(config, subject)),
        pipeline=pipeline_settings(config),
        refine=refining_preset_of(config),
    )
    raise SystemExit(run(config, subject=subject, decoder=decoder, mask_paths=mask_paths, kind=kind))


@click.command()
@config_options
@click.argument("weights", type=READABLE)
@click.option("--candidates", type=READABLE, help="Candidate pictures; by default, the file beside the weights.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0),
    default=120.0,
    show_default=True,
    help="Seconds to wait until earlier runs are decoded and the decoder is warmed up.",
)
def use(config_path: Path | None, data: Path | None, weights: Path, candidates: Path | None, wait_s: float) -> None:
    """Decode with other weights from the next run on, without a restart of the daemon."""
    from ..client.endpoints import endpoints
    from ..client.use import use_weights
    from ..config import candidates_beside

    candidates = candidates or candidates_beside(weights)
    status = use_weights(endpoints(config_of(config_path, data)), weights.resolve(), candidates.resolve(), wait_s)
    click.echo(f"weights {status.weights} in use")


@click.command()
@config_options
@subject_option
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
@click.option("--speed", type=click.FloatRange(0, min_open=True), default=1.0, help="Speed relative to NSD's pace.")
@click.option("--flat-out", is_flag=True, help="Send as fast as volumes are acknowledged.")
@click.option("--max-volumes", type=click.IntRange(1), help="Send only this many volumes.")
@click.option("--session-id", help="Name of this replay; the same name resumes an interrupted replay.")
@click.option("--fresh", is_flag=True, help="Start anew instead of resuming an interrupted replay.")
@json_option
def replay(
    config_path: Path | None,
    data: Path | None,
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

    config = config_of(config_path, data, paths={"nsd": nsd})
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
@click.option("--plain", is_flag=True, help="Print one line per decode, for pipes and logs.")
def monitor(config_path: Path | None, data: Path | None, plain: bool) -> None:
    """Watch the decodes."""
    from ..client.endpoints import endpoints
    from ..tui.app import run_monitor

    where = endpoints(config_of(config_path, data))
    raise SystemExit(run_monitor(where.decodes, where.control, plain))


@click.command()
@config_options
@json_option
def status(config_path: Path | None, data: Path | None, as_json: bool) -> None:
    """Print the daemon's state; `ready` means that the decoder is warmed up."""
    import msgspec

    from ..client.control import ControlClient
    from ..client.endpoints import endpoints

    with ControlClient(*endpoints(config_of(config_path, data)).address("control")) as control:
        answer = msgspec.to_builtins(control.status())
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(answer)))
        return
    for key, value in answer.items():
        if key != "type":
            # The number of volumes is null if the journal cannot be read.
            nothing = "unknown" if key.startswith("n_") else "-"
            click.echo(f"{key:18} {nothing if value in (None, '') else value}")
