"""Progress of long tasks on stderr: a bar on a terminal, elsewhere a line every ten seconds."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..client.progress_lines import progress_lines

BEGAN_S = time.monotonic()
"""When the command began: its short tasks in a row give lines as one long task does."""


@contextmanager
def progress_bar(words: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show on stderr how far a task is; yields `report(words, done, total)`."""
    from rich.console import Console
    from rich.progress import Progress, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        with progress_lines(words, BEGAN_S) as say_next:
            yield lambda now, done, total: say_next(_line(words, now, done, total))
        return
    columns = (*Progress.get_default_columns()[:-1], TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(words, total=None)
        yield lambda now, done, total: bar.update(task, description=now, completed=done, total=total)


def _line(words: str, now: str, done: int, total: int) -> str:
    what = now if now.startswith(words) else f"{words}: {now}"
    return f"{what}, {100 * done / total:.0f} %" if total > 1 else what
