"""The names of a candidate set's pictures: finds the picture of an nsd_id or a label."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Self

from .candidates import Array, CandidatesError, read_tensors


class CandidateNames:
    """The names of a set's pictures, without their features.

    Parameters
    ----------
    nsd_id : array of shape (n,), int64
    labels : sequence of n str
    """

    def __init__(self, nsd_id: Array, labels: Sequence[str]) -> None:
        self._n = len(labels)
        self._positions: dict[int | str, list[int]] = {}
        for position, names in enumerate(zip(nsd_id.tolist(), labels, strict=True)):
            for name in names:
                self._positions.setdefault(name, []).append(position)

    def __len__(self) -> int:
        return self._n

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a candidate set's names. Raises CandidatesError as `Candidates.load` does."""
        tensors, labels = read_tensors(path, ("nsd_id",))
        return cls(tensors["nsd_id"], labels)

    def position(self, name: int | str) -> int:
        """Return a picture's position in the set.

        Raises
        ------
        CandidatesError
            `code` candidate: no picture or several pictures have the name.
        """
        found = self._positions.get(name, [])
        if len(found) == 1:
            return found[0]
        if found:
            raise CandidatesError(
                f"{len(found)} candidates are called {name!r}; name the one that is meant by its nsd_id",
                code="candidate",
            )
        labels = [label for label in self._positions if isinstance(label, str)]
        nearest = get_close_matches(name, labels, 1) if isinstance(name, str) else []
        raise CandidatesError(
            f"{name!r:.80} is no label or nsd_id of the weights' {self._n} candidates"
            + (f"; is {nearest[0]!r} meant?" if nearest else "; name one of those pictures"),
            code="candidate",
        )
