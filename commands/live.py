"""serve, use, replay, monitor and status: the commands for a running scan."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ..choices import Pictures, ThemeName
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
@click.option("--plain", is_flag=True, help="Print one line per decode, for pipes and logs; a pipe gets it by itself.")
@click.option("--once", is_flag=True, help="Print the daemon's state and the newest decode, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per decode; with --once, one object.")
@click.option("--session", help="Show a recorded session: its name, or its journal's file (.sqlite3). No daemon.")
@click.option("--pictures", type=click.Choice(get_args(Pictures)), help="How to draw pictures; auto asks the terminal.")
@click.option("--theme", type=click.Choice(get_args(ThemeName)), help="Colours; dark-room is the dimmer one.")
@click.option(
    "--web", "web_port", type=click.IntRange(0, 65535), is_flag=False, flag_value=8765, metavar="[PORT]",
    help="Serve the monitor to a browser on this machine, at port 8765 or PORT; prints the address.",
)  # fmt: skip
def monitor(
    config_path: Path | None,
    data: Path | None,
    key: Path | None,
    session: str | None,
    web_port: int | None,
    **given: Any,
) -> None:
    """Watch the decodes, or walk through a recorded session."""
    from ..client.endpoints import endpoints

    plain, once, as_json = (given.pop(name) for name in ("plain", "once", "as_json"))
    if web_port is not None and (plain or once or as_json):
        raise click.UsageError("--web shows screens in a browser: leave out --plain, --once and --json")
    if session is not None and (plain or once or as_json or web_port is not None):
        raise click.UsageError(
            "--session shows screens: leave out --plain, --once, --json and --web; "
            "braind sessions export writes a recorded session"
        )
    config = config_of(config_path, data, paths={"key": key}, monitor=given)
    where = endpoints(config)
    if session is not None:
        if not _has_terminal():
            raise click.UsageError(
                "--session shows screens, and this is no terminal; braind sessions export writes a recorded session"
            )
        from ..offline.sessions.listing import find_journal
        from ..offline.sessions.recordings import recordings
        from ..tui.recorded import run_recorded

        raise SystemExit(run_recorded(where, recordings(config), find_journal(config, session), config.monitor))
    if web_port is not None:
        from ..tui.web.server import serve_monitor

        program = f"{__package__}.browser_tab"
        serve_monitor(program, where, config.monitor, web_port, config_path=config_path, data=data)
        return
    if once:
        from ..tui.programs.snapshot import snapshot

        words = snapshot(where, as_json=as_json)
        # JSON is UTF-8 whatever the console's encoding.
        click.echo(words.encode() if as_json else words)
        return
    if plain or as_json or not _has_terminal():
        from ..tui.programs.plain import write_lines

        raise SystemExit(write_lines(where, as_json=as_json))
    from ..offline.sessions.recordings import recordings
    from ..tui.app import run_monitor

    raise SystemExit(run_monitor(where, config.monitor, recordings(config)))


def _has_terminal() -> bool:
    """Tell whether screens can be shown: Textual reads keys at stdin and draws on stderr."""
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


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
