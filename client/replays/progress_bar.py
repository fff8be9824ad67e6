"""A replay's progress on stderr: a bar on a terminal, elsewhere a line every ten seconds."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..progress_lines import progress_lines
from .replay import ReplayProgress


@contextmanager
def progress_bar() -> Iterator[Callable[[ReplayProgress], None]]:
    """Yield a function that shows a replay's counts, and what the replay waits for."""
    if not sys.stderr.isatty():
        with progress_lines("replaying") as say_next:
            yield lambda counts: say_next(_line(counts))
        return
    # Importing rich takes 70 ms, and only a replay at a terminal needs it.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[counts]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("volumes", total=None, counts="")
        yield lambda counts: bar.update(task, completed=_n_done(counts), total=counts.n_planned, counts=_words(counts))


def _n_done(counts: ReplayProgress) -> int:
    return counts.n_resumed + counts.n_sent


def _words(counts: ReplayProgress) -> str:
    words = f"decoded {counts.n_decoded}"
    words += f", skipped {counts.n_skipped}" if counts.n_skipped else ""
    words += f", refused {counts.n_refused}" if counts.n_refused else ""
    return words + (f"; waiting for {counts.waits_for}" if counts.waits_for else "")


def _line(counts: ReplayProgress) -> str:
    return f"{_n_done(counts)} of {counts.n_planned} volumes sent, {_words(counts)}"
