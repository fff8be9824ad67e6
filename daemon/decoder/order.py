"""The order of a BOLD run's volumes. Volumes that come out of order are sorted; a missing volume is waited for.

This file knows nothing of journals and of estimators.
"""

from collections.abc import Iterable
from typing import NamedTuple

from ..journal.records import Pending, VolumeState

WINDOW_VOLUMES = 8
"""A missing volume is waited for until so many later volumes are there."""
WINDOW_TRS = 2
"""A missing volume is waited for until so many TR have passed since a later volume arrived."""


class Hole(NamedTuple):
    """Missing volumes: the index of the first, and their number."""

    first: int
    n_missing: int


class Held(NamedTuple):
    """A volume that waits for its turn, and its arrival in monotonic time, s."""

    pending: Pending
    state: VolumeState
    arrived_s: float


class VolumeOrder:
    """Gives a BOLD run's volumes in the order of their indices.

    Parameters
    ----------
    tr_s : float
    passed : iterable of Hole
        Holes that were passed over before a crash. They are passed over again, whatever has come since.
    """

    def __init__(self, tr_s: float, passed: Iterable[Hole] = ()) -> None:
        self._window_s = WINDOW_TRS * tr_s
        self._passed = dict(passed)
        self._next_index = 0
        self._held: dict[int, Held] = {}

    def add(self, held: Held) -> bool:
        """Hold a volume until its turn; return False if its hole was passed over before it came."""
        self._skip_passed()
        if held.pending.index < self._next_index:
            return False
        self._held[held.pending.index] = held
        return True

    def take(self) -> Held | None:
        """Return the volume whose turn it is; None while it is missing."""
        self._skip_passed()
        held = self._held.pop(self._next_index, None)
        self._next_index += held is not None
        return held

    def hole(self) -> Hole | None:
        """Return the volumes that are missing before the first held volume; None if no volume is held."""
        return Hole(self._next_index, min(self._held) - self._next_index) if self._held else None

    def is_due(self, now_s: float) -> bool:
        """Return whether the hole is waited for no longer."""
        return len(self._held) >= WINDOW_VOLUMES or (self.due_s is not None and self.due_s <= now_s)

    @property
    def due_s(self) -> float | None:
        """The monotonic time until which the hole is waited for, s; None if no volume is held."""
        return min(held.arrived_s for held in self._held.values()) + self._window_s if self._held else None

    def rest(self, n_volumes: int) -> Hole | None:
        """Return the volumes that are missing at the end of a run of `n_volumes`."""
        self._skip_passed()
        return Hole(self._next_index, n_volumes - self._next_index) if self._next_index < n_volumes else None

    def pass_over(self, hole: Hole) -> None:
        """Wait no longer for a hole."""
        self._next_index = hole.first + hole.n_missing

    def _skip_passed(self) -> None:
        while self._next_index in self._passed:
            self._next_index += self._passed[self._next_index]
