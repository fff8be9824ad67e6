"""The tables and sidecars of BIDS folders, and their labels. No text becomes a cell or a file's name unchecked."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

LONGEST_LABEL = 64


def label(text: str) -> str:
    """Return a text as a BIDS label, which has only letters and digits."""
    return "".join(letter for letter in text if letter.isascii() and letter.isalnum())[:LONGEST_LABEL] or "unnamed"


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a sidecar."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table of tab-separated values. A value that is not known is n/a."""
    lines = ["\t".join(columns), *("\t".join(map(_cell, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cell(value: Any) -> str:
    """Return a table's cell. Tabs and line ends of a sender's text would make other cells."""
    return "n/a" if value is None or value == "" else " ".join(str(value).split())
