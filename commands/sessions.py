"""sessions: list, show, export, verify and prune recorded sessions."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ExitCode
from ..printable import printable
from .options import (
    NEW_PATH,
    READABLE,
    FiniteRange,
    config_of,
    config_options,
    decode_options,
    json_option,
    ldm_option,
    lora_option,
    model_paths,
    tiny_decoder_option,
)

if TYPE_CHECKING:
    from ..daemon.decoder.verify import RunVerification
    from ..offline.sessions.listing import MarkFacts, RunFacts

MANY_DIFFERENT = 10
PIPE_WIDTH = 10_000

session_argument = click.argument("session")


@click.group()
def sessions() -> None:
    """List, show, export, verify and prune recorded sessions.

    SESSION is the name of a session of the data folder, or a journal's file (.sqlite3).
    """


@sessions.command("list")
@config_options
@json_option
def list_(config_path: Path | None, data: Path | None, as_json: bool) -> None:
    """List the sessions of the data folder, the newest last."""
    from ..config import journals_path
    from ..offline.sessions.listing import list_sessions

    config = config_of(config_path, data)
    rows = list_sessions(config)
    if as_json:
        _print_json(rows)
        return
    if not rows:
        click.echo(f"{journals_path(config)} has no session")
        return
    _print_table(
        ("session", "date", "runs", "volumes", "size", "subject", "weights", "state"),
        [
            (row.session, "", "", "", _megabytes(row.n_bytes), "", "", f"unreadable: {row.problem}")
            if row.problem
            else (
                row.session,
                _local(row.opened_unix_s),
                str(len(row.runs)),
                _counts(row.volumes),
                _megabytes(row.n_bytes),
                "" if row.subject is None else f"{row.subject}{' (simulated)' if row.simulated else ''}",
                row.weights,
                row.state,
            )
            for row in rows
        ],
    )


@sessions.command()
@config_options
@session_argument
@json_option
def show(config_path: Path | None, data: Path | None, session: str, as_json: bool) -> None:
    """Show the runs of a session, and what operators noted."""
    from ..offline.sessions.listing import find_journal, read_runs

    runs = read_runs(find_journal(config_of(config_path, data), session))
    if as_json:
        _print_json(runs)
        return
    for run in runs:
        _print_run(run)
    if not runs:
        click.echo("no run was opened")


def _print_run(run: "RunFacts") -> None:
    simulated = ", SIMULATED" if run.simulated else ""
    length = "not ended" if run.n_volumes is None else f"{run.n_volumes} volumes announced"
    missing = ", ".join(map(str, run.missing)) + (", …" if run.n_missing > len(run.missing) else "")
    click.echo(printable(f"run {run.run}: subject {run.subject}, {run.kind}, TR {run.tr_s:g} s{simulated}"))
    for name, words in (
        ("weights", run.weights),
        ("length", length),
        ("volumes", _counts(run.volumes)),
        ("missing", f"{run.n_missing}: {missing}" if run.n_missing else "0"),
        ("onsets", str(run.n_events) if run.kind == "bold" else ""),
        ("decodes", _counts(run.decodes)),
        ("arrived", f"{_local(run.first_unix_s)} to {_local(run.last_unix_s)}" if run.volumes else ""),
        *(("skipped", f"{n}: {reason}") for reason, n in run.skipped.items()),
        *(("mark", _mark_words(mark)) for mark in run.marks),
    ):
        if words:
            click.echo(f"  {name:9}{printable(words)}")


def _mark_words(mark: "MarkFacts") -> str:
    made = "" if mark.made_unix_s is None else f"{datetime.fromtimestamp(mark.made_unix_s):%Y-%m-%d %H:%M:%S}, "
    by = f" (by {mark.by})" if mark.by else ""
    return f"{made}{_about(mark.index, mark.event)}: {mark.note}{by}"


def _about(index: int | None, event: int | None) -> str:
    if event is not None:
        return f"event {event}"
    return "before the first volume" if index is None else f"volume {index}"


@sessions.command()
@config_options
@session_argument
@click.option("-o", "--out", type=NEW_PATH, required=True, help="Folder to write; with --journal, the file.")
@click.option("--journal", is_flag=True, help="Write the journal alone, as one SQLite file without a -wal file.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
def export(
    config_path: Path | None, data: Path | None, session: str, out: Path, journal: bool, overwrite: bool
) -> None:
    """Write a session as a BIDS derivative: volumes, mask, onsets, decodes and provenance. Prints the path."""
    from ..offline.sessions.export import export_journal, export_session
    from ..offline.sessions.listing import find_journal

    path = find_journal(config_of(config_path, data), session)
    (export_journal if journal else export_session)(path, out, overwrite=overwrite)
    click.echo(out)


@sessions.command()
@config_options
@session_argument
@click.option(
    "--weights", "weights_paths", type=READABLE, multiple=True, help="Weights file that is not in the data folder."
)
@ldm_option
@lora_option
@tiny_decoder_option
@decode_options
@json_option
def verify(
    config_path: Path | None,
    data: Path | None,
    session: str,
    weights_paths: tuple[Path, ...],
    as_json: bool,
    **settings: Any,
) -> None:
    """Make z, c and pictures again from the journaled volumes and compare them with the journal, bit for bit.

    Weights, c decoder, preset, mode, seed, engine and threads are taken from each decode's provenance. The options
    matter for presets with changed settings and for other models. Exit status: 0 if all decodes are equal, 1 otherwise.
    """
    from ..config import data_path
    from ..daemon.decoder.remake import Remakers
    from ..daemon.decoder.verify import verify_session
    from ..daemon.journal.recording import Recording
    from ..offline.from_settings import pipeline_settings, presets_of
    from ..offline.sessions.listing import find_journal

    config = config_of(config_path, data, paths=model_paths(settings), decode=settings)
    in_folder = sorted((data_path(config) / "weights").glob("*.safetensors"))
    remakers = Remakers(pipeline_settings(config), presets_of(config), [*weights_paths, *in_folder])
    with Recording(find_journal(config, session)) as recording:
        verified = verify_session(recording, remakers)
    if as_json:
        _print_json(verified)
    else:
        for run in verified:
            _print_verification(run)
    if not all(run.is_equal for run in verified):
        raise SystemExit(ExitCode.FAILED)


def _print_verification(run: "RunVerification") -> None:
    n_unchecked = sum(run.unchecked.values())
    click.echo(
        printable(
            f"run {run.run}: {run.n_equal} equal, {len(run.different)} different, {n_unchecked} cannot be checked"
        )
    )
    for words in run.different[:MANY_DIFFERENT]:
        click.echo(f"  different: {printable(words)}")
    if len(run.different) > MANY_DIFFERENT:
        click.echo(f"  different: {len(run.different) - MANY_DIFFERENT} more; --json names them all")
    for reason, n in run.unchecked.items():
        click.echo(f"  cannot be checked: {n}: {printable(reason)}")


@sessions.command()
@config_options
@click.option(
    "--older-than",
    "days",
    type=FiniteRange(0),
    required=True,
    help="Days since the newest run of a session was opened.",
)
@click.option("--yes", is_flag=True, help="Delete. Without it nothing is deleted.")
@json_option
def prune(config_path: Path | None, data: Path | None, days: float, yes: bool, as_json: bool) -> None:
    """Name the old sessions and the space that they take; delete them with --yes.

    A session stays if volumes wait, if it cannot be read, if a running daemon has it open, or if it holds the newest
    message for viewers.
    """
    from ..offline.sessions.listing import SessionsError
    from ..offline.sessions.prune import delete_session, old_sessions

    config = config_of(config_path, data)
    found = old_sessions(config, days)
    problems: list[str] = []
    gone = [row for row in found if not row.kept]
    if yes:
        for row in list(gone):
            try:
                delete_session(config, row.session)
            except SessionsError as error:
                problems.append(str(error))
                gone.remove(row)
    if as_json:
        _print_json({"deleted": yes, "sessions": gone, "kept": [row for row in found if row.kept]})
    else:
        rows = [(row.session, _local(row.opened_unix_s), _megabytes(row.n_bytes), row.kept) for row in found]
        if rows:
            _print_table(("session", "date", "size", "stays because"), rows)
        verb = "deleted" if yes else "would be deleted with --yes"
        click.echo(
            f"{len(gone)} session{'s' * (len(gone) != 1)}, {_megabytes(sum(row.n_bytes for row in gone))}: {verb}"
        )
    for problem in problems:
        click.echo(f"braind: {problem}", err=True)
    if problems:
        raise SystemExit(ExitCode.FAILED)


def _print_json(content: Any) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(content)))


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in columns:
        # A name must stay whole, so that it can be copied.
        table.add_column(column, overflow="fold", no_wrap=column in ("session", "date", "weights"))
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:
        # A program reads the rows: each row stays on one line.
        console.width = PIPE_WIDTH
    console.print(table)


def _local(unix_s: float | None) -> str:
    return "" if unix_s is None else datetime.fromtimestamp(unix_s).strftime("%Y-%m-%d %H:%M")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {what}" for what, n in counts.items())


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"
