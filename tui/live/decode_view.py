"""The current decode: the seen picture, Xz and Xzc side by side, or classes from weights that decode no pictures."""

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from ..captions import NAMES, captions, missing_words
from ..fitted import longest_that_fits
from ..recent import DecodedVolume
from ..text_view import TextView
from .classes import Classes
from .picture_view import PictureView

GAP_CELLS = 2
CAPTION_ROWS = 1


class DecodeView(Widget):
    """Three captioned pictures, or a table of classes in mode `labels`, or a hint while there is nothing to show."""

    def __init__(self) -> None:
        super().__init__(classes="-empty")
        self._volume: DecodedVolume | None = None
        self._picture_cells = 0

    def compose(self) -> ComposeResult:
        yield TextView(id="hint")
        yield Classes(id="class-table")
        with Horizontal(id="pictures"):
            for name in NAMES:
                with Vertical(id=f"{name}-column", classes="picture-column"):
                    yield TextView(NAMES[name], id=f"{name}-caption", classes="caption")
                    yield PictureView(id=name)

    def show(self, volume: DecodedVolume | None, hint: str) -> None:
        """Show a volume's pictures that have come, or its classes in mode `labels`; without a volume, show `hint`."""
        self._volume = volume
        self.set_class(volume is None, "-empty")
        self.set_class(volume is not None and not volume.has_pictures, "-classes")
        if volume is None:
            self.query_one("#hint", TextView).show(hint)
            return
        if not volume.has_pictures:
            self.query_one("#class-table", Classes).show(volume)
            return
        # 9. viewers draw it
        self._show_captions()
        for name in NAMES:
            self.query_one(f"#{name}", PictureView).show(getattr(volume, name), missing_words(name, volume))

    def on_resize(self) -> None:
        """Centre the captioned pictures, as large as the height and a third of the width allow."""
        rows = max(1, min(self.size.height - CAPTION_ROWS, (self.size.width // 3 - GAP_CELLS) // 2))
        for column in self.query(".picture-column"):
            column.styles.width = 2 * rows + GAP_CELLS
            column.styles.height = rows + CAPTION_ROWS
        self._picture_cells = 2 * rows
        self._show_captions()

    def _show_captions(self) -> None:
        for name in NAMES:
            words = longest_that_fits(captions(name, self._volume), self._picture_cells)
            self.query_one(f"#{name}-caption", TextView).show(words)
