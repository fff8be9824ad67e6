"""Names that a sender or an operator chooses. They become file names and appear in logs and on screens."""

import re

from ..client.wire import LONGEST_LABEL

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def wrong_name(what: str, name: str) -> str | None:
    """Return what is wrong with a name; None if it may be used."""
    if NAME.fullmatch(name):
        return None
    return (
        f"{what} {name[:80]!r}: a name has 1 to 64 letters, digits, dots, dashes and underscores, and starts with a "
        "letter or digit"
    )


def wrong_label(label: str) -> str | None:
    """Return what is wrong with a class's name; None if it may be used. Any text is taken: a name becomes no file."""
    if 1 <= len(label) <= LONGEST_LABEL:
        return None
    return f"label {label[:80]!r} of {len(label)} characters: the name of a class has 1 to {LONGEST_LABEL}"
