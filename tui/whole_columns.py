"""A table that cuts no word at its right edge: the column there is shortened between two words, or left out."""

from collections.abc import Iterable

from rich.segment import Segment
from rich.text import Text
from textual.strip import Strip
from textual.widgets import DataTable

from .fitted import GAP, shortened

LEAST_CELLS = 12
"""A narrower rest of a column is left out: a number without its unit, or half a number, would mislead."""


class WholeColumnsTable(DataTable[Text]):
    """A table of words. The right arrow scrolls to the columns that the terminal has no room for."""

    def render_line(self, y: int) -> Strip:
        """Draw a line without a cut word."""
        strip, first = super().render_line(y), self._first_cut_cell()
        if first is None:
            return strip
        whole, rest = strip.crop(0, first), strip.crop(first)
        words = rest.text
        # The column's words go on where the terminal ends.
        is_over = not words.strip() or words.endswith(GAP)
        shown = words if is_over else shortened(f"{words}{words.strip()}", len(words))
        if len(words) < LEAST_CELLS:
            shown = ""
        return Strip.join([whole, Strip(_in_styles_of(rest, shown))])

    def _first_cut_cell(self) -> int | None:
        """Return where the column begins that the right edge cuts; None without one, or if it is the only column."""
        edge, left = self.scrollable_content_region.width, -int(self.scroll_offset.x)
        for column in self.ordered_columns:
            right = left + column.get_render_width(self)
            if left <= 0 < right and right > edge:
                return None
            if left < edge < right:
                return left
            left = right
        return None


def _in_styles_of(strip: Strip, words: str) -> Iterable[Segment]:
    at = 0
    for segment in strip:
        text = words[at : at + segment.cell_length].ljust(segment.cell_length)
        yield Segment(text, segment.style, segment.control)
        at += segment.cell_length
