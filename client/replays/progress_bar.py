"""A replay's progress bar on stderr, if stderr is a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .replay import ReplayProgress


@contextmanager
def progress_bar() -> Iterator[Callable[[ReplayProgress], None] | None]:
    """Yield a function that draws a replay's counts; None if stderr is not a terminal."""
    # Importing rich takes 70 ms, and only a replay at a terminal needs it.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("volumes", total=None, counts="")

        def draw(counts: ReplayProgress) -> None:
            words = f"decoded {counts.n_decoded}"
            words += f", skipped {counts.n_skipped}" if counts.n_skipped else ""
            words += f", refused {counts.n_refused}" if counts.n_refused else ""
            done = counts.n_resumed + counts.n_sent
            bar.update(task, completed=done, total=counts.n_planned, counts=words)

        yield draw
