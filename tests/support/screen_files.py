"""Screens as committed text files that a reviewer can read: the words, and below them a map of their styles.

A letter of the map stands for the style of the cell at the same place. The list below the map names each letter's
colours by their names in the theme. Equal rows of the map are written once. `WRITE_SCREENS=1` writes the files anew.
"""

import asyncio
import difflib
import os
from pathlib import Path

from rich.style import Style
from textual.widgets import Input

FOLDER = Path(__file__).parents[1] / "tui" / "screens"
PATIENCE_S = 10.0
GROUNDS = {"background": ".", "panel": ",", "surface": ";"}
"""Backgrounds of words, with the letters of their blank cells."""
INKS = {
    "foreground": "f", "text-muted": "m", "text-disabled": "d", "primary": "p", "secondary": "2", "accent": "a",
    "success": "s", "warning": "w", "error": "e",
}  # fmt: skip
"""Colours of words, with their letters; a capital is bold."""
OTHERS = "0123456789bcghijklnoqrtuvxyzBCDGHIJKLNOQRTUVXYZ"
ATTRIBUTES = ("bold", "italic", "underline", "reverse", "dim", "strike")


async def matches_file(pilot, name):
    """Wait until the screen is the one in the file of this name, else fail with the difference."""
    path = FOLDER / f"{name}.txt"
    for field in pilot.app.screen.query(Input):
        field.cursor_blink = False
    if os.environ.get("WRITE_SCREENS"):
        path.write_text(await _settled(pilot), encoding="utf-8")
        return
    assert path.exists(), f"there is no {path.name}: WRITE_SCREENS=1 writes it"
    expected, shown = path.read_text(encoding="utf-8"), ""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (shown := screen_text(pilot.app)) != expected:
                await pilot.pause(0.02)
    except TimeoutError:
        lines = difflib.unified_diff(expected.splitlines(), shown.splitlines(), path.name, "shown", lineterm="")
        raise AssertionError("another screen; WRITE_SCREENS=1 writes the file anew\n" + "\n".join(lines)) from None


async def _settled(pilot):
    """Return the screen when it has not changed for a while."""
    shown, n_same = "", 0
    async with asyncio.timeout(PATIENCE_S):
        while n_same < 7:
            await pilot.pause(0.1)
            before, shown = shown, screen_text(pilot.app)
            n_same = n_same + 1 if shown == before else 0
    return shown


def screen_text(app):
    """Return the words, the map of styles and the meaning of its letters."""
    strips, letters = app.screen._compositor.render_strips(), _Letters(app)
    rows = [
        "".join(letters.of(character, style) for text, style, _ in strip for character in text).rstrip(".")
        for strip in strips
    ]
    lines, first = [], 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or rows[end] != rows[first]:
            numbers = str(first + 1) if end - first == 1 else f"{first + 1}-{end}"
            lines.append(f"{numbers:>5} {rows[first]}".rstrip())
            first = end
    heading = f"{app.size.width} x {app.size.height}, {app.theme}"
    words = [strip.text.rstrip() for strip in strips]
    return "\n".join([heading, "", *words, "", *lines, "", *letters.meanings()]) + "\n"


class _Letters:
    def __init__(self, app):
        colours = app.theme_variables
        self._names = {}
        for name in (*GROUNDS, *INKS):
            self._names.setdefault(colours.get(name, "").lower(), name)
        self._of = {}

    def of(self, character, style):
        """Return the letter of a cell's style. A blank cell has only a background."""
        style = style or Style()
        attributes = [name for name in ATTRIBUTES if getattr(style, name)]
        ground, ink = self._name(style.bgcolor, "background"), self._name(style.color, "foreground")
        if character == " " and not {"underline", "reverse", "strike"} & set(attributes):
            return self._letter(f"on {ground}", GROUNDS.get(ground, ""))
        meaning = " ".join([*attributes, ink] if ground in GROUNDS else [*attributes, ink, "on", ground])
        is_bold, preferred = "bold" in attributes, INKS.get(ink, "")
        return self._letter(meaning, preferred.upper() if is_bold else preferred)

    def meanings(self):
        """Return a line for each letter."""
        return sorted(f"{letter} {meaning}" for meaning, letter in self._of.items())

    def _letter(self, meaning, preferred):
        if meaning not in self._of:
            taken = set(self._of.values())
            self._of[meaning] = next((one for one in (preferred, *OTHERS) if one and one not in taken), "*")
        return self._of[meaning]

    def _name(self, colour, otherwise):
        if colour is None or colour.is_default:
            return otherwise
        spelled = colour.triplet.hex if colour.triplet else colour.name
        return self._names.get(spelled.lower(), spelled)
