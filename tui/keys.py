"""The rows of keys at the bottom. Where they are too narrow, the keys that are declared last are left out whole."""

from collections.abc import Iterable

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.events import Resize
from textual.geometry import Size
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

KEY_PADDING = 3
"""Cells around a key and its description."""
TWO_ROWS_FROM = 28
"""A terminal of at least so many rows has room for a second row of keys."""


class Keys(Footer):
    """A footer of one or two rows, whose keys are shown whole or not at all."""

    def __init__(self, most_rows: int = 2) -> None:
        super().__init__(show_command_palette=False)
        self._most_rows = most_rows
        self._composed_for = Size(0, 0)

    def compose(self) -> ComposeResult:
        self._composed_for = self.app.size
        keys = [widget for widget in super().compose() if isinstance(widget, FooterKey)]
        n_rows = self._most_rows if self.app.size.height >= TWO_ROWS_FROM else 1
        for row in rows_of(keys, self.app.size.width, n_rows):
            yield Horizontal(*row)

    async def on_resize(self, _: Resize) -> None:
        """Choose the keys anew for another size."""
        if self.app.size != self._composed_for:
            await self.recompose()


def rows_of(keys: Iterable[FooterKey], width: int, most_rows: int) -> list[list[FooterKey]]:
    """Return the keys that at most so many rows of `width` cells have room for, row by row."""
    rows: list[list[FooterKey]] = [[]]
    left = width
    for key in keys:
        n_cells = len(key.key_display) + len(key.description) + KEY_PADDING
        if n_cells > left:
            if len(rows) == most_rows:
                break
            rows.append([])
            left = width
        rows[-1].append(key)
        left -= n_cells
    return rows
