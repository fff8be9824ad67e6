"""Lines of text that are drawn only when they change, which saves traffic over SSH."""

from rich.text import Text
from textual.widgets import Static


class TextView(Static):
    """A `Static` that remembers its text. It takes no markup, because its text comes over the wire."""

    def __init__(self, words: str = "", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(words, id=id, classes=classes, markup=False)
        self._shown = Text(words)

    def show(self, text: Text | str) -> None:
        """Show the text."""
        text = Text(text) if isinstance(text, str) else text
        if text != self._shown:
            self._shown = text
            self.update(text)
