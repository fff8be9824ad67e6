"""Names that a sender or an operator chooses. They appear in logs and on screens; most become file names."""

import re

from .wire import LONGEST_LABEL

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(10))}
"""Windows takes these names for devices, whatever ending follows. A session is copied between systems."""
LONGEST_NAME = 64
LONGEST_RUN_NAME = 200
"""The name of a run becomes no file. It often is a file's, and fMRIPrep's names have more than 64 characters."""


def wrong_name(what: str, name: str) -> str | None:
    """Return what is wrong with a name; None if it may be used."""
    longest = LONGEST_RUN_NAME if what == "run" else LONGEST_NAME
    if len(name) > longest or not NAME.fullmatch(name):
        return (
            f"{what} {name[:80]!r}: a name has 1 to {longest} letters, digits, dots, dashes and underscores, and "
            "starts with a letter or digit"
        )
    if what == "run":
        return None
    if name.split(".")[0].upper() in DEVICES:
        return f"{what} {name!r}: Windows can have no file of this name; give another, such as {what}-{name}"
    if name.endswith("."):
        return f"{what} {name!r}: Windows can have no file whose name ends with a dot; leave the dot out"
    return None


def wrong_label(label: str) -> str | None:
    """Return what is wrong with a class's name; None if it may be used. Any text is taken: a name becomes no file."""
    if 1 <= len(label) <= LONGEST_LABEL:
        return None
    return f"label {label[:80]!r} of {len(label)} characters: the name of a class has 1 to {LONGEST_LABEL}"
