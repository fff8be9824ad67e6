"""Names, captions and rows of facts, made to fit a screen without a word that is cut in its middle."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells
from rich.style import Style
from rich.text import Text

from ..printable import printable

SEPARATORS = r"\s_\-./,;:+"
LAST_SEPARATOR = re.compile(rf"(.*[^{SEPARATORS}])[{SEPARATORS}]", re.DOTALL)
WORD_AND_SPACE = re.compile(r"\S+\s*")
UP_TO_SEPARATOR = re.compile(rf"[^{SEPARATORS}]*(?:[{SEPARATORS}]+|$)")
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
    while (shrinkable := [place for place, of_part in enumerate(forms) if of_part]) and _cells_of(forms) > n_cells:
        least = min(shrinkable, key=lambda place: parts[place].importance_of_next(len(forms[place])))
        del forms[least][0]
    # What was left out may have made room for longer forms of what stays.
    for place in sorted(shrinkable, key=lambda place: -parts[place].importance):
        left = n_cells - _cells_of(forms) + forms[place][0].cell_len
        forms[place] = [form for form in parts[place].forms if form.cell_len <= left] or forms[place]
    return Text(GAP).join([of_part[0] for of_part in forms if of_part])


def _cells_of(forms: Sequence[Sequence[Text]]) -> int:
    shown = [of_part[0].cell_len for of_part in forms if of_part]
    return sum(shown) + len(GAP) * max(0, len(shown) - 1)


def plain_row(*words: tuple[int, str | Sequence[str]], n_cells: int) -> Text:
    """Return words of these importances side by side in at most `n_cells` cells. No word is cut.

    Words may have several forms, the longest first. A shorter form is taken before anything else is left out.
    """
    return fitted_row([_plain_part(importance, one) for importance, one in words if one], n_cells)


def _plain_part(importance: int, words: str | Sequence[str]) -> Part:
    forms = (words,) if isinstance(words, str) else words
    return Part(importance, tuple(Text(printable(form)) for form in forms), shortening=0)


def title_row(name: str, forms: Sequence[str], n_cells: int) -> Text:
    """Return a screen's name beside the longest form that fits of what it must say. The name is left out first."""
    parts = [Part(90, (Text(name),)), Part(99, tuple(Text(printable(form)) for form in forms), shortening=80)]
    return fitted_row(parts, n_cells)


def with_hanging_indent(head: Text, sentence: str, n_cells: int, style: Style | str = "") -> Text:
    """Return a sentence behind its head in lines of at most `n_cells` cells, which all begin below the sentence."""
    lines = wrapped(sentence, max(n_cells - head.cell_len, LEAST_CELLS))
    return Text.assemble(head, (f"\n{' ' * head.cell_len}".join(lines), style))


def wrapped(text: str, n_cells: int) -> list[str]:
    """Return the printable text in lines of at most `n_cells` cells, at least one line.

    A line ends between two words. A word that is longer than a line is broken after a separator, or else anywhere.
    """
    lines = [""]
    for piece in _pieces(printable(text), n_cells):
        if lines[-1] and cell_len(lines[-1]) + cell_len(piece.rstrip()) > n_cells:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def _pieces(text: str, n_cells: int) -> Iterator[str]:
    """Yield the pieces of a text between which a line of `n_cells` cells may end."""
    for word in WORD_AND_SPACE.findall(text):
        for piece in [word] if cell_len(word.rstrip()) <= n_cells else UP_TO_SEPARATOR.findall(word):
            if cell_len(piece.rstrip()) <= n_cells:
                yield piece
            else:
                yield from piece


def longest_that_fits(forms: Sequence[str], n_cells: int) -> str:
    """Return the first form that fits, else the last form, shortened."""
    return next((form for form in forms if cell_len(form) <= n_cells), shortened(forms[-1], n_cells))
