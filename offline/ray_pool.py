"""Ray's workers for the pieces of a long job. Besides `ray_cluster.py` this is the only file that knows Ray.

Each worker is an actor: it loads the tool once, such as the model, and has a GPU of its own where there are any. A
worker that dies is replaced, and its pieces go to others. The driver, this process, gives out pieces and takes results;
it alone writes files.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from .ray_cluster import connect, first_words, shares
from .workers import Arrays, Worker, Workers, WorkersError, check_alike, facts_here

log = logging.getLogger(__name__)

MOST_DEATHS = 3
"""A piece whose worker died so often ends the job: it would kill all workers, one after the other."""
MOST_QUEUED = 16
"""Pieces that wait at one worker, so that it goes on while the driver does something else."""
AHEAD = 2 * MOST_QUEUED
"""Results a worker that wait for the driver; more would fill the object store."""

SILENT_S = 600.0
"""After so long without a result the log says so."""
START_SILENT_S = 60.0
"""After so long without a worker's start the log says so: others may have the cluster's cores or GPUs."""
SAME = "braind", "python", "torch", "numpy", "threads"
"""What must be the same on all nodes for the numbers to be the same."""

Tool = TypeVar("Tool")
Piece = TypeVar("Piece")


@contextmanager
def open_ray_pool(workers: Workers, load: Callable[[], Tool]) -> Iterator["RayPool[Tool]"]:
    """Let Ray's workers load a tool each; they are given back when the block ends.

    Raises
    ------
    WorkersError
        If there is no cluster, it has too few GPUs or cores, or its nodes differ.
    BraindError
        If a worker cannot load the tool.
    """
    import torch

    resources = connect(workers)
    n, options = shares(workers, torch.get_num_threads(), resources)
    pool = RayPool(load, n, options, torch.get_num_threads())
    try:
        pool.check()
        yield pool
    finally:
        pool.close()


@dataclass(eq=False)
class _Member:
    """A worker, and the pieces that it has, by result: (number, piece). It works on the first of them.

    `loading` is the result of its start, None once the worker has loaded the tool.
    """

    actor: Any
    loading: Any
    pieces: dict[Any, tuple[int, Any]] = field(default_factory=dict)

    @property
    def awaited(self) -> list[Any]:
        """Return the results that the worker owes."""
        return list(self.pieces) if self.loading is None else [self.loading]


@dataclass(eq=False)
class _Job:
    """The pieces of one `map`: those that wait, the results that are there, and how often a piece's worker died."""

    function: Callable[..., Arrays]
    waiting: deque[tuple[int, Any]]
    finished: dict[int, Callable[[], Arrays]] = field(default_factory=dict)
    deaths: Counter[int] = field(default_factory=Counter)


class RayPool(Generic[Tool]):
    """Workers on Ray that have loaded a tool."""

    def __init__(self, load: Callable[[], Tool], n: int, options: dict[str, Any], threads: int) -> None:
        import ray

        self._threads = threads
        # The tool's inputs may be large: every worker, and every one that replaces it, takes them from the store.
        with _store_full_in_words():
            self._load = ray.put(load)
        self._actor_class: Any = ray.remote(Worker).options(**options)
        self._facts: list[dict[str, str]] = []
        self._members = [self._new_member() for _ in range(n)]
        self._starts_left = n + MOST_DEATHS
        self.words = f"{n} worker{'s' if n > 1 else ''}"

    def facts(self) -> list[dict[str, str]]:
        """Return what each worker says of itself."""
        return self._facts

    def check(self) -> None:
        """Wait until all workers have loaded the tool; refuse workers that compute other numbers."""
        for member in self._members:
            self._began(member)
        devices = sorted({one["device"] for one in self._facts})
        if len(devices) > 1:
            log.warning("workers have %s: numbers may differ in the last digits", " and ".join(devices))

    def map(self, function: Callable[[Tool, Piece], Arrays], pieces: Sequence[Piece]) -> Iterator[Arrays]:
        """Apply a function to the tool and each piece; yield the results in the order of the pieces.

        Raises
        ------
        WorkersError
            If the same piece's worker died several times, or the object store is full.
        Exception
            What the function raised, as in one process.
        """
        job = _Job(function, deque(enumerate(pieces)))
        for member in self._members:
            member.pieces.clear()  # of a job that nobody reads any longer
        for number in range(len(pieces)):
            self._give(job, number)
            while number not in job.finished:
                self._take(job)
                self._give(job, number)
            yield job.finished.pop(number)()

    def _give(self, job: _Job, next_number: int) -> None:
        """Give waiting pieces to the workers that have the fewest."""
        ready = [member for member in self._members if member.loading is None]
        # Fewer towards the end, so that all workers end at about the same time.
        queued = max(2, min(MOST_QUEUED, len(job.waiting) // (2 * len(self._members))))
        while ready and job.waiting and job.waiting[0][0] < next_number + AHEAD * len(self._members):
            member = min(ready, key=lambda member: len(member.pieces))
            if len(member.pieces) >= queued:
                return
            number, piece = job.waiting.popleft()
            with _store_full_in_words():
                member.pieces[member.actor.work.remote(job.function, piece)] = number, piece

    def _take(self, job: _Job) -> None:
        """Wait for results, and take those that are there."""
        import ray

        refs = [ref for member in self._members for ref in member.awaited]
        some, _ = ray.wait(refs, num_returns=1, timeout=SILENT_S)
        if not some:
            log.warning("no worker has finished a piece for %.0f s; still waiting", SILENT_S)
            return
        arrived, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in arrived:
            member = next((member for member in self._members if ref in member.awaited), None)
            if member is None:
                continue  # of a worker that has just been replaced: its pieces wait again
            if member.loading is not None:
                self._began(member)
                continue
            try:
                result = partial(_same, _got(ref))
            except _Died as error:
                self._replace(member, job, error)
                continue
            except Exception as error:  # noqa: BLE001 (raised when its turn comes: an earlier piece may raise too)
                result = partial(_raised, error)
            job.finished[member.pieces.pop(ref)[0]] = result

    def _replace(self, member: _Member, job: _Job, error: "_Died") -> None:
        """Replace a worker that died; its pieces wait again, before all others."""
        lost = list(member.pieces.values())
        first = lost[0][0]  # It was being worked on, and may be what the worker died of.
        job.deaths[first] += 1
        if job.deaths[first] > MOST_DEATHS:
            raise WorkersError(
                f"{job.deaths[first]} workers died on the same piece ({error}): it may need more memory; take fewer "
                "workers, or nodes with more"
            ) from error
        log.warning("a worker died (%s) and is replaced; %d pieces are given out again", error, len(lost))
        job.waiting = deque(sorted([*lost, *job.waiting], key=lambda one: one[0]))
        _kill(member.actor)
        self._members[self._members.index(member)] = self._new_member()

    def _began(self, member: _Member) -> None:
        """Take what a worker says at its start; replace it if it died, refuse it if its numbers would differ."""
        import ray

        while not ray.wait([member.loading], timeout=START_SILENT_S)[0]:
            log.warning(
                "a worker has not started for %.0f s: it still loads, or other jobs have the cluster's cores or GPUs "
                "(ray status shows who has them); waiting",
                START_SILENT_S,
            )
        try:
            facts = _got(member.loading)
        except _Died as error:
            self._starts_left -= 1
            if not self._starts_left:
                raise WorkersError(
                    f"workers die while they start ({error}): look for memory, for room on the disk of Ray's folder "
                    "(/tmp/ray by default), and for braind on every node"
                ) from error
            self._members[self._members.index(member)] = replaced = self._new_member()
            self._began(replaced)
            return
        own = facts_here()
        check_alike([facts], {name: own[name] for name in SAME})
        self._facts.append(facts)
        member.loading = None

    def _new_member(self) -> _Member:
        actor = self._actor_class.remote(self._load, self._threads)
        return _Member(actor, actor.facts.remote())

    def close(self) -> None:
        """End the workers, so that others can have their GPUs."""
        for member in self._members:
            _kill(member.actor)


class _Died(Exception):  # noqa: N818
    """A worker, or its node, has died."""


def _same(value: Arrays) -> Arrays:
    return value


def _raised(error: Exception) -> Arrays:
    raise error


def _kill(actor: Any) -> None:
    import ray
    from ray.exceptions import RayError

    with suppress(RayError):
        ray.kill(actor)


def _got(ref: Any) -> Any:
    """Return a result; raise what the worker raised, as it was.

    Raises
    ------
    _Died
        If the worker died.
    """
    import ray
    from ray import exceptions as of_ray

    try:
        with _store_full_in_words():
            return ray.get(ref)
    except of_ray.RayTaskError as error:
        with _store_full_in_words():
            raise error.cause from error
    except (of_ray.RayActorError, of_ray.OutOfMemoryError, of_ray.ObjectLostError, of_ray.NodeDiedError) as error:
        raise _Died(first_words(error)) from error


@contextmanager
def _store_full_in_words() -> Iterator[None]:
    """Turn Ray's error of a full object store, in this process or a worker, into a sentence."""
    from ray.exceptions import ObjectStoreFullError, OutOfDiskError

    try:
        yield
    except (ObjectStoreFullError, OutOfDiskError) as error:
        raise WorkersError(
            "Ray's object store and the disk behind it are full: free the disk of Ray's folder (/tmp/ray by default), "
            "or start Ray with more --object-store-memory; finished pieces are kept, the same command goes on"
        ) from error
