"""What may be wrong with a run, known before its first volume."""

from collections.abc import Iterator, Sequence

from ...choices import Kind
from ..scanner import Onset
from ..wire import Grid
from .run_feed import RunPlan

VOLUMES_OF: dict[Kind, str] = {"beta": "one volume a trial", "bold": "one volume a TR"}


def doubts(grid: Grid, plan: RunPlan, onsets: Sequence[Onset]) -> Iterator[str]:
    """Yield a sentence if the daemon serves another kind, and if a BOLD run has no onsets."""
    if plan.kind != grid.kind:
        yield (
            f"run {plan.run} is of kind {plan.kind}, {VOLUMES_OF[plan.kind]}, and the daemon serves the kind "
            f"{grid.kind}, {VOLUMES_OF[grid.kind]}; if that is not meant, send with --kind {grid.kind}, or start the "
            f"daemon with --kind {plan.kind}"
        )
    if plan.kind == "bold" and not onsets:
        yield (
            f"run {plan.run} has no onsets: nothing of it will be decoded, unless another program sends onsets; "
            "`braind send --events FILE` sends a table's"
        )
