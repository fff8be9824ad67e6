"""Names of sessions, runs and ROIs, shortened so that they stay told apart: names of one study differ at their ends."""

import re
from collections.abc import Callable, Iterator, Sequence

from rich.cells import cell_len, chop_cells

from ..printable import printable
from .fitted import SEPARATORS, shortened

Shorten = Callable[[str, int], str]
NAME_CELLS = (40, 24, 12)
"""A long name is shown in at most so many cells; in fewer where there is no room."""
WORD = re.compile(rf"[^{SEPARATORS}]+")


def short_name(name: str, n_cells: int) -> str:
    """Return the printable name in at most `n_cells` cells: its first and its last words, "…" for those between.

    The last word matters most, and is cut only if it alone does not fit.
    """
    name = printable(name)
    if cell_len(name) <= n_cells:
        return name
    fitting = [(first, last) for first, last in _ends(name) if cell_len(f"{first}…{last}") <= n_cells]
    if not fitting:
        return _end_of(name, n_cells)
    # Both ends tell names apart, so neither is left out for the other.
    return "…".join(max(fitting, key=lambda ends: (min(map(len, ends)), len(ends[1]), len(ends[0]))))


def name_forms(name: str) -> list[str]:
    """Return a name in forms from long to short; nothing for an empty name."""
    forms = [printable(name), *(short_name(name, n_cells) for n_cells in NAME_CELLS)]
    return [form for form in dict.fromkeys(forms) if form]


def forms_of(what: str, name: str) -> list[str]:
    """Return `what` and the name, in forms from long to short; nothing for an empty name."""
    return [f"{what} {form}" for form in name_forms(name)]


def told_apart(names: Sequence[str], n_cells: int, usual: Shorten = short_name) -> list[str]:
    """Return the names in at most `n_cells` cells each: cut as usual, or elsewhere if they are told apart only so."""
    ways = [[shorten(name, n_cells) for name in names] for shorten in (usual, short_name, shortened, _end_of)]
    return max(ways, key=lambda way: len(set(way)))


def _ends(name: str) -> Iterator[tuple[str, str]]:
    """Yield the first words, or none, and the last words, at least one, that leave out a word between them."""
    words = list(WORD.finditer(name))
    for n_last in range(1, len(words)):
        for n_first in range(len(words) - n_last):
            yield name[: words[n_first - 1].end()] if n_first else "", name[words[-n_last].start() :]


def _end_of(name: str, n_cells: int) -> str:
    name = printable(name)
    if cell_len(name) <= n_cells:
        return name
    if n_cells < 2:
        return "…"[:n_cells]
    return f"…{chop_cells(name[::-1], n_cells - 1)[0][::-1]}"
