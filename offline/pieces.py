"""The pieces of a long job, worked on by this process or by the workers of a Ray cluster.

A piece is the same whoever works on it: how a job is cut does not depend on the number of workers. So the results are
the same too, bit for bit, as long as a piece has as many threads (`offline/ray_cluster.py` sees to that).
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from ..models.ridge.checkpoint import Checkpoint
from .workers import Arrays, Workers, facts_here, facts_of

Report = Callable[[str, int, int], None]
"""Takes what is being done, the finished pieces and all pieces."""

RATE_OVER_S = 60.0
"""The rate is that of the last minute: pieces of an earlier attempt take no time."""

Tool = TypeVar("Tool")
Piece = TypeVar("Piece")


class Pool(Protocol):
    """Workers that have loaded a tool, such as a model."""

    words: str
    """Who works, for the progress; "" for this process alone."""

    def map(self, function: Callable[[Any, Piece], Arrays], pieces: Sequence[Piece]) -> Iterator[Arrays]:
        """Apply a function to the tool and each piece; yield the results in the order of the pieces."""
        ...

    def facts(self) -> list[dict[str, str]]:
        """Return what each worker's numbers depend on."""
        ...


class OwnPool(Generic[Tool]):
    """This process."""

    words = ""

    def __init__(self, tool: Tool) -> None:
        self.tool = tool

    def map(self, function: Callable[[Tool, Piece], Arrays], pieces: Sequence[Piece]) -> Iterator[Arrays]:
        """Apply a function to the tool and each piece, in turn."""
        return (function(self.tool, piece) for piece in pieces)

    def facts(self) -> list[dict[str, str]]:
        """Return what the numbers of this process depend on."""
        return [{**facts_here(), **facts_of(self.tool)}]


@contextmanager
def open_pool(workers: Workers, load: Callable[[], Tool], own: Callable[[], Tool] | None = None) -> Iterator[Pool]:
    """Let the workers load a tool once each; they are given back when the block ends.

    Parameters
    ----------
    load : callable that can be pickled
        Loads the tool in a worker, which may be on another machine with the same files.
    own : callable, optional
        Returns the tool in this process, where it is loaded already.

    Raises
    ------
    BraindError
        If a worker cannot load the tool, or the workers cannot be had.
    """
    if not workers.on_ray:
        yield OwnPool((own or load)())
        return
    from .ray_pool import open_ray_pool

    with open_ray_pool(workers, load) as pool:
        yield pool


def map_pieces(
    function: Callable[[Any, Piece], Arrays],
    pieces: Sequence[Piece],
    pool: Pool,
    *,
    checkpoint: Checkpoint | None = None,
    names: Sequence[str] = (),
    words: str = "",
    report: Report | None = None,
) -> Iterator[Arrays]:
    """Apply a function to each piece; yield the results in the order of the pieces.

    Parameters
    ----------
    function : callable that can be pickled
        Takes the pool's tool and a piece.
    checkpoint : Checkpoint, optional
        Keeps each result. The next attempt works only on the pieces whose results are not there.
    names : sequence of str
        The pieces' names in the checkpoint; their numbers by default.
    words, report : what is being done, and a function that is told how far it is
    """
    names = names or [f"{number:06d}" for number in range(len(pieces))]
    checkpoint = checkpoint or Checkpoint()
    missing = [number for number, name in enumerate(names) if not checkpoint.has(name)]
    results = pool.map(function, [pieces[number] for number in missing])
    awaited, report = set(missing), with_speed(report, pool.words) if report else None
    for number, name in enumerate(names):
        if number in awaited:
            result = next(results)
            if checkpoint.folder is not None:
                checkpoint.keep(name, result)
        else:
            result = checkpoint.kept(name)
        if report is not None:
            report(words, number + 1, len(names))
        yield result


def with_speed(report: Report, workers: str) -> Report:
    """Return a report that also says who works, how many pieces are done, how fast, and how long the rest will take.

    Parameters
    ----------
    workers : str
        A pool's `words`. Without words the report stays as it is: one process is as fast as the progress bar says.
    """
    if not workers:
        return report
    times: deque[tuple[float, int]] = deque()

    def told(words: str, n: int, n_pieces: int) -> None:
        times.append((time.monotonic(), n))
        while times[-1][0] - times[0][0] > RATE_OVER_S:
            times.popleft()
        (began_s, first), (now_s, _) = times[0], times[-1]
        words = f"{words}, {n} of {n_pieces} pieces, {workers}"
        if n > first and now_s > began_s:
            rate = (n - first) / (now_s - began_s)
            words += f", {rate:.2g} a second, {_time((n_pieces - n) / rate)} left"
        report(words, n, n_pieces)

    return told


def _time(seconds: float) -> str:
    """Return a time such as "40 s", "12 min" or "3.5 h"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
