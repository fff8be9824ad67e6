"""Lines of a screen that are text at once, and segments only where something cuts or reads them.

Rich's objects for the colours of each cell take ten times as long as the cell's text. A picture has thousands of cells,
and nearly all of its lines go to the terminal whole.
"""

from abc import abstractmethod
from collections.abc import Sequence

from rich.console import Console
from rich.segment import Segment
from textual.strip import Strip


class LateStrip(Strip):
    """A strip that makes its segments when they are first asked for."""

    def __init__(self, columns: int) -> None:
        super().__init__((), columns)
        del self._segments

    @abstractmethod
    def segments(self) -> list[Segment]:
        """Return the segments of this line."""

    def __getattr__(self, name: str) -> list[Segment]:
        if name != "_segments":
            raise AttributeError(name, name=name, obj=self)
        self._segments = segments = self.segments()
        return segments


class SideBySide(LateStrip):
    """Strips one beside the other."""

    def __init__(self, *parts: Strip) -> None:
        super().__init__(sum(part.cell_length for part in parts))
        self._parts: Sequence[Strip] = parts

    def segments(self) -> list[Segment]:
        """Return the segments of all parts."""
        return [segment for part in self._parts for segment in part]

    def render(self, console: Console) -> str:
        """Return the text of all parts with its colours."""
        return "".join(part.render(console) for part in self._parts)
