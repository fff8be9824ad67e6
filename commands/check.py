"""check and doctor: what can be known before a scan, and what a report of a fault needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import READABLE, SECONDS, config_options, json_option, serve_options, serve_settings

if TYPE_CHECKING:
    from ..choices import Kind
    from ..daemon.checkup.report import Line


@click.command()
@serve_options
@click.option("--tr", "tr_s", type=SECONDS, help="Seconds from volume to volume.")
@click.option(
    "--volumes",
    "n_volumes",
    type=click.IntRange(1),
    default=4000,
    show_default=True,
    help="Volumes that the disk must take.",
)
@click.option("--volume", "volume_path", type=READABLE, help="NIfTI file of the scanner, to compare its grid and TR.")
@json_option
def check(
    config_path: Path | None,
    data: Path | None,
    subject: str,
    kind: "Kind",
    mask_paths: tuple[Path, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Check all that can be known before a scan, with the options that `braind serve` will get.

    A line for each check: ok, warn or fail, and what to do. Synthetic volumes are sent through a daemon of their own.
    A running daemon of the same data folder is not disturbed.

    \b
    Exit status, of the first line that failed:
      0  nothing failed
      1  the daemon does not answer, or did not decode or keep the synthetic volumes
      2  options, settings or files do not fit
      4  ports or keys
      5  disk
      6  too slow for the TR
    """
    import signal

    import msgspec

    from ..daemon.checkup.check import check as run
    from ..daemon.checkup.plan import CheckPlan

    scan = {name: options.pop(name) for name in ("tr_s", "n_volumes", "volume_path")}
    config, decoder, number = serve_settings(config_path, data, subject, kind, options)
    plan = CheckPlan(config=config, subject=number, kind=kind, decoder=decoder, mask_paths=mask_paths, **scan)
    # As Ctrl-C does, a signal to end must end the daemon of the trial run too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = run(plan, on_line=_ignore if as_json else _print)
    if as_json:
        answer = {"exit_status": report.exit_status, "checks": msgspec.to_builtins(report.lines)}
        click.echo(msgspec.json.format(msgspec.json.encode(answer)))
    raise SystemExit(report.exit_status)


def _print(line: "Line") -> None:
    click.echo(f"{line.level:5} {line.check:11} {line.sentence}")


def _ignore(line: "Line") -> None:
    """Print nothing: the whole report is printed at the end."""


@click.command()
@config_options
@json_option
def doctor(config_path: Path | None, data: Path | None, as_json: bool) -> None:
    """Print versions, paths, settings and the daemon's state, for a report of a fault.

    The output holds no keys and no names of sessions or runs; the home folder is written as ~.
    """
    import msgspec

    from ..daemon.checkup.doctor import examine

    sections = examine(config_path, {"paths": {"data": None if data is None else str(data)}})
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(sections)))
        return
    for section, facts in sections.items():
        click.echo(f"{section}:" if facts else f"{section}: none but the defaults")
        for name, fact in facts.items():
            words = ", ".join(f"{key}={value}" for key, value in fact.items()) if isinstance(fact, dict) else fact
            click.echo(f"  {name:18} {words}")
