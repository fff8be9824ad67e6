"""One picture as large as the terminal allows, with the words that say which it is."""

from collections.abc import Callable
from typing import get_args

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen

from ..printable import printable
from .captions import PictureName, captions, missing_words
from .fitted import longest_that_fits, run_within
from .keys import Keys
from .live.picture_view import PictureView
from .names import name_forms
from .recent import DecodedVolume
from .text_view import TextView

FOLLOW_EVERY_S = 0.25
ORDER: tuple[PictureName, ...] = get_args(PictureName)


class Zoom(Screen[None]):
    """Follows the monitor: a held volume stays, else the newest replaces it. The words are always the picture's own."""

    BINDINGS = [
        Binding("z,escape,q", "dismiss", "Back", key_display="z", id="zoom.back", tooltip="Show all pictures again"),
        Binding("tab,right,space", "turn(1)", "Next picture", key_display="tab", id="zoom.next"),
        Binding("shift+tab,left", "turn(-1)", "Previous", show=False, id="zoom.previous"),
        Binding("1", "choose('seen')", "Seen", id="zoom.seen"),
        Binding("2", "choose('xz')", "Xz", id="zoom.xz"),
        Binding("3", "choose('xzc')", "Xzc", id="zoom.xzc"),
    ]

    def __init__(
        self, volume_on_show: Callable[[], DecodedVolume | None], name: PictureName = "xzc", *, is_of_live: bool = False
    ) -> None:
        super().__init__()
        self.is_of_live = is_of_live
        self._volume_on_show = volume_on_show
        self.picture_name: PictureName = name

    def compose(self) -> ComposeResult:
        yield PictureView(id="zoomed")
        yield TextView(id="zoom-words", classes="caption")
        yield Keys(most_rows=1)

    def on_mount(self) -> None:
        """Follow the monitor."""
        self.set_interval(FOLLOW_EVERY_S, self.show)
        self.show()

    def show(self) -> None:
        """Show the picture of the volume that the monitor shows."""
        volume, words = self._volume_on_show(), self.query_one("#zoom-words", TextView)
        if volume is None or not volume.has_pictures:
            self.query_one(PictureView).show(None, "no picture")
            words.show("")
            return
        picture = getattr(volume, self.picture_name)
        self.query_one(PictureView).show(picture, missing_words(self.picture_name, volume))
        what = f"volume {volume.index}" if volume.event is None else f"trial {volume.event} · volume {volume.index}"
        what = f"{captions(self.picture_name, volume)[0]} · {what}"
        run = run_within(volume.session, volume.run)
        forms = [f"{what} · {volume.run} · {volume.session}", f"{what} · {run} · {volume.session}"]
        forms += [f"{what} · {name}" for name in name_forms(run)]
        words.show(longest_that_fits((*(printable(form) for form in forms), what), self.size.width - 2))

    def action_turn(self, step: int) -> None:
        """Zoom another picture."""
        self.picture_name = ORDER[(ORDER.index(self.picture_name) + step) % len(ORDER)]
        self.show()

    def action_choose(self, name: PictureName) -> None:
        """Zoom the picture of this name."""
        self.picture_name = name
        self.show()
