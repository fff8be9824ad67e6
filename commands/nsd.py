"""nsd: look at a Natural Scenes Dataset folder."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import FOLDER, json_option

if TYPE_CHECKING:
    from ..client.datasets.nsd.check import SubjectCheck


@click.group()
def nsd() -> None:
    """Look at a Natural Scenes Dataset folder."""


@nsd.command()
@click.argument("folder", type=FOLDER)
@click.option(
    "--subject", "subjects", multiple=True, type=click.IntRange(1, 8), help="Subject; all subjects by default."
)
@click.option("--betas", help="Version of the betas, such as betas_fithrf.")
@json_option
def check(folder: Path, subjects: tuple[int, ...], betas: str | None, as_json: bool) -> None:
    """List the files present, the files that each command lacks, and how to obtain them.

    braind neither ships nor fetches the dataset.
    """
    import msgspec

    from ..client.datasets.nsd.check import check_tree
    from ..client.datasets.nsd.tree import BETAS_VERSION, NsdTree

    tree = NsdTree(folder, betas_version=betas or BETAS_VERSION)
    checks = check_tree(tree, list(subjects) or tree.subjects() or [1])
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(checks)))
        return
    click.echo(f"{folder}: subjects {', '.join(map(str, tree.subjects())) or 'none'}{_simulated(tree.is_simulated())}")
    for one in checks:
        _print_subject(one, is_simulated=tree.is_simulated())


def _print_subject(one: "SubjectCheck", *, is_simulated: bool) -> None:
    click.echo(f"\nsubject {one.subject}")
    for part in one.parts:
        state, size = ("there", _bytes(part.n_bytes)) if part.there else ("MISSING", "")
        click.echo(f"  {state:8}{size:>10}  {part.name}: {part.there or part.path}")
    for command, lacking in one.lacking.items():
        click.echo(f"  {command:20}{'lacks ' + ', '.join(lacking) if lacking else 'ready'}")
    for part in one.parts:
        if is_simulated or (part.there and not part.missing_bytes):
            continue
        more = f", about {_bytes(part.missing_bytes)}" if part.missing_bytes else ""
        click.echo(f"  to get {'more ' if part.there else ''}{part.name}{more}:\n    {part.how}")
    if is_simulated and any(one.lacking.values()):
        click.echo("  what is missing of simulated data is made again: braind simulate --out FOLDER")


def _simulated(is_simulated: bool) -> str:
    return " (simulated: nobody was scanned)" if is_simulated else ""


def _bytes(n: int) -> str:
    return f"{n / 1e9:.1f} GB" if n >= 1e9 else f"{n / 1e6:.1f} MB"
