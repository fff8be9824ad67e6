"""Names, captions and rows of facts, made to fit a screen without a word that is cut in its middle."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells
from rich.style import Style
from rich.text import Text

from ..printable import printable

SEPARATORS = r"\s_\-./,;:+"
LAST_SEPARATOR = re.compile(rf"(.*[^{SEPARATORS}])[{SEPARATORS}]", re.DOTALL)
GAP = "  "
LEAST_CELLS = 20


def shortened(text: str, n_cells: int) -> str:
    """Return the printable text in at most `n_cells` cells; "…" replaces the part that is cut.

    The text is cut between two words. Only a first word that does not fit is cut in its middle.
    """
    text = printable(text)
    if cell_len(text) <= n_cells:
        return text
    if n_cells < 2:
        return "…"[:n_cells]
    kept = chop_cells(text, n_cells - 1)[0]
    whole_words = LAST_SEPARATOR.match(kept + text[len(kept)])
    return (whole_words[1] if whole_words else kept.rstrip()) + "…"


def run_within(session: str, run: str) -> str:
    """Return a run's name without its session's name: `run-03` for `sub-01_ses-02_run-03`."""
    return run.removeprefix(session).lstrip("_-. ") or run


@dataclass(frozen=True)
class Part:
    """One fact of a row: its forms, the longest first, and its importance. A part without a form that fits is left out.

    The least important part becomes shorter first, and is left out at last. `shortening` is the importance of the words
    that a shorter form lacks, if it is less than the importance of the part.
    """

    importance: int
    forms: tuple[Text, ...]
    shortening: int | None = None

    def importance_of_next(self, n_forms: int) -> int:
        """Return the importance of the words that are lost if one of `n_forms` forms that are left is given up."""
        return self.importance if n_forms == 1 or self.shortening is None else self.shortening


def fitted_row(parts: Sequence[Part], n_cells: int) -> Text:
    """Return the parts side by side, in their order, in at most `n_cells` cells."""
    forms = [list(part.forms) for part in parts]
    while True:
        row = Text(GAP).join([of_part[0] for of_part in forms if of_part])
        shrinkable = [place for place, of_part in enumerate(forms) if of_part]
        if row.cell_len <= n_cells or not shrinkable:
            return row
        least = min(shrinkable, key=lambda place: parts[place].importance_of_next(len(forms[place])))
        del forms[least][0]


def plain_row(*words: tuple[int, str], n_cells: int) -> Text:
    """Return words of these importances side by side in at most `n_cells` cells. No word is cut."""
    return fitted_row([Part(importance, (Text(printable(one)),)) for importance, one in words if one], n_cells)


def title_row(name: str, forms: Sequence[str], n_cells: int) -> Text:
    """Return a screen's name beside the longest form that fits of what it must say. The name is left out first."""
    parts = [Part(90, (Text(name),)), Part(99, tuple(Text(printable(form)) for form in forms), shortening=80)]
    return fitted_row(parts, n_cells)


def with_hanging_indent(head: Text, sentence: str, n_cells: int, style: Style | str = "") -> Text:
    """Return a sentence behind its head in lines of at most `n_cells` cells, which all begin below the sentence."""
    left = max(n_cells - head.cell_len, LEAST_CELLS)
    lines = textwrap.wrap(printable(sentence), left) or [""]
    return Text.assemble(head, (f"\n{' ' * head.cell_len}".join(lines), style))


def longest_that_fits(forms: Sequence[str], n_cells: int) -> str:
    """Return the first form that fits, else the last form, shortened."""
    return next((form for form in forms if cell_len(form) <= n_cells), shortened(forms[-1], n_cells))
