"""Workers: who works on a job's pieces, and what a worker does and says of itself."""

import os
import platform
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .. import __version__
from ..arrays import Array
from ..errors import BraindError

Arrays = dict[str, Array]
"""What a piece results in: arrays by name."""


class WorkersError(BraindError):
    """The workers cannot be had, or cannot work on the pieces."""

    code = "workers"


@dataclass(frozen=True)
class Workers:
    """Who works on a job's pieces, as the options `--workers` and `--ray` say.

    Parameters
    ----------
    n : int, optional
        Number of Ray's workers. Without a number and an address, this process works alone.
    address : str
        Address of a Ray cluster that is up, host:port, or `auto`. Without it Ray is started on this machine.
    """

    n: int | None = None
    address: str = ""

    @property
    def on_ray(self) -> bool:
        """Return whether Ray's workers do the work."""
        return self.n is not None or bool(self.address)


ONE_PROCESS = Workers()


class Worker:
    """Loads the tool, and works on pieces. Runs in a process of its own."""

    def __init__(self, load: Callable[[], Any], threads: int) -> None:
        self._load, self._threads, self._tools = load, threads, []

    def facts(self) -> dict[str, str]:
        """Load the tool; say where the worker is, and what its numbers depend on."""
        of_tool = facts_of(self._tool())
        return {**facts_here(), **of_tool, "process": str(os.getpid())}

    def work(self, function: Callable[[Any, Any], Arrays], piece: Any) -> Arrays:
        """Apply a function to the tool and a piece."""
        return function(self._tool(), piece)

    def _tool(self) -> Any:
        # Loaded here and not when the actor is made: an error then reaches the driver as it is.
        if not self._tools:
            import torch

            torch.set_num_threads(self._threads)
            try:
                self._tools.append(self._load())
            except (BraindError, OSError) as error:
                raise WorkersError(f"node {socket.gethostname()}: {error}") from error
            torch.set_num_threads(self._threads)
        return self._tools[0]


def facts_here() -> dict[str, str]:
    """Return this process's node, its device, and the versions that numbers depend on."""
    import numpy
    import torch

    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        device = f"CPU {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return {
        "node": socket.gethostname(),
        "device": device,
        "braind": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "threads": str(torch.get_num_threads()),
    }


def facts_of(tool: object) -> dict[str, str]:
    """Return what a tool says of itself, if it says anything: name → value, equal for all workers of a job."""
    return getattr(tool, "facts", dict)()


def check_alike(facts: Sequence[dict[str, str]], own: dict[str, str]) -> None:
    """Refuse workers that would compute other numbers than this process.

    Parameters
    ----------
    facts : sequence of dict
        Of each worker: its `node`, and versions and fingerprints.
    own : dict
        Versions and fingerprints of this process.

    Raises
    ------
    WorkersError
        Naming the node, and what differs.
    """
    for one in facts:
        other = {name: (one.get(name, "none"), value) for name, value in own.items() if one.get(name) != value}
        if other:
            words = ", ".join(f"{name} {theirs} (here {ours})" for name, (theirs, ours) in sorted(other.items()))
            raise WorkersError(
                f"node {one['node']} differs from this one: {words}; install the same there, or leave the node out"
            )


def check_one_kind(facts: Sequence[dict[str, str]], name: str) -> str:
    """Return the one value that all workers have of a fact.

    Raises
    ------
    WorkersError
        If they have several.
    """
    nodes: dict[str, list[str]] = {}
    for one in facts:
        nodes.setdefault(one[name], []).append(one["node"])
    if len(nodes) > 1:
        words = "; ".join(f"{value} on {', '.join(sorted(set(where)))}" for value, where in nodes.items())
        raise WorkersError(f"the workers' {name} differ: {words}; take nodes of one kind")
    return next(iter(nodes))
