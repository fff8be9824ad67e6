"""The names of a candidate set's pictures: finds the picture of an nsd_id, a file or a label."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Self

from .candidates import Array, CandidatesError, file_names, read_tensors


class CandidateNames:
    """The names of a set's pictures, without their features.

    Parameters
    ----------
    nsd_id : array of shape (n,), int64
    labels : sequence of n str
    files : sequence of n str, or empty, or None
        As in `Candidates`. A number names a picture only if `files` is empty. Other numbers, and those of an earlier
        version's set, which may be of any data set, count the pictures and are not the sender's.
    """

    def __init__(self, nsd_id: Array, labels: Sequence[str], files: Sequence[str] | None = None) -> None:
        self._n, self._files = len(labels), files
        self._positions: dict[int | str, list[int]] = {}
        others = [[number] for number in nsd_id.tolist()] if files is not None else [[]] * len(labels)
        others = list(map(file_names, files)) if files else others
        for position, (label, names) in enumerate(zip(labels, others, strict=True)):
            for name in {label, *names}:
                self._positions.setdefault(name, []).append(position)

    def __len__(self) -> int:
        return self._n

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a candidate set's names. Raises CandidatesError as `Candidates.load` does."""
        tensors, labels, files = read_tensors(path, ("nsd_id",))
        return cls(tensors["nsd_id"], labels, files)

    def position(self, name: int | str) -> int:
        """Return a picture's position in the set.

        Raises
        ------
        CandidatesError
            `code` candidate: no picture or several pictures have the name.
        """
        if isinstance(name, int):
            self._check_number(name)
        by_what = "label" if self._files is None else "file" if self._files else "nsd_id"
        found = self._positions.get(name, [])
        if len(found) == 1:
            return found[0]
        if found:
            raise CandidatesError(
                f"{len(found)} candidates are called {name!r}; name the one that is meant by its {by_what}",
                code="candidate",
            )
        what = "label" if self._files is None else f"label or {by_what}"
        labels = [label for label in self._positions if isinstance(label, str)]
        nearest = get_close_matches(name, labels, 1) if isinstance(name, str) else []
        raise CandidatesError(
            f"{name!r:.80} is no {what} of the weights' {self._n} candidates"
            + (f"; is {nearest[0]!r} meant?" if nearest else "; name one of those pictures"),
            code="candidate",
        )

    def _check_number(self, number: int) -> None:
        if self._files is None:
            raise CandidatesError(
                f"{number} is a number, and an earlier version wrote these candidates without saying whether their "
                "numbers are NSD's: it could be another picture. Name the picture by its label, or make the set again "
                "with braind fit",
                code="candidate",
            )
        if self._files:
            raise CandidatesError(
                f"{number} is a number, and the numbers of these candidates are not the sender's: their pictures "
                f"are of another data set than NSD. Name the picture by its file, such as {self._files[0]!r:.80}, or "
                "its label",
                code="candidate",
            )
