"""Whether a screen still takes what its workers found: it may have been left meanwhile."""

from typing import Any

from textual.screen import Screen


def is_open(screen: Screen[Any]) -> bool:
    """Return whether a screen has all its widgets. While it is left, it loses them before it is detached itself."""
    return screen.is_attached and screen in screen.app.screen_stack
