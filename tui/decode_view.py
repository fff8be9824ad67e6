"""The current decode: the seen picture, Xz and Xzc side by side, or classes from weights that decode no pictures."""

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from .classes import Classes
from .picture_view import PictureView
from .recent import DecodedVolume
from .text_view import TextView

GAP_CELLS = 2
CAPTION_ROWS = 1


class DecodeView(Widget):
    """Three captioned pictures, or a table of classes in mode `labels`, or a hint while there is nothing to show."""

    def __init__(self) -> None:
        super().__init__(classes="-empty")

    def compose(self) -> ComposeResult:
        yield TextView(id="hint")
        yield Classes(id="class-table")
        with Horizontal(id="pictures"):
            for name, caption in (("seen", "seen"), ("xz", "Xz (z only)"), ("xzc", "Xzc")):
                with Vertical(id=f"{name}-column", classes="picture-column"):
                    yield TextView(caption, classes="caption")
                    yield PictureView(id=name)

    def show(self, volume: DecodedVolume | None, hint: str) -> None:
        """Show a volume's pictures that have come, or its classes in mode `labels`; without a volume, show `hint`."""
        self.set_class(volume is None, "-empty")
        self.set_class(volume is not None and not volume.has_pictures, "-classes")
        if volume is None:
            self.query_one("#hint", TextView).show(hint)
            return
        if not volume.has_pictures:
            self.query_one("#class-table", Classes).show(volume)
            return
        # 9. viewers draw it
        pending = volume.skipped or "decoding …"
        self.query_one("#seen", PictureView).show(volume.seen, "not sent")
        self.query_one("#xz", PictureView).show(volume.xz, "not in mode c" if volume.mode == "c" else pending)
        self.query_one("#xzc", PictureView).show(volume.xzc, "not in mode z" if volume.mode == "z" else pending)

    def on_resize(self) -> None:
        """Centre the captioned pictures, as large as the height and a third of the width allow."""
        rows = max(1, min(self.size.height - CAPTION_ROWS, (self.size.width // 3 - GAP_CELLS) // 2))
        for column in self.query(".picture-column"):
            column.styles.width = 2 * rows + GAP_CELLS
            column.styles.height = rows + CAPTION_ROWS
