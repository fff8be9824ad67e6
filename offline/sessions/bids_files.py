"""Names of a session's files in a BIDS derivative, and the forms of its tables.

Anybody can write a journal: no text of a journal becomes a file's name or a table's cell unchecked.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...client.wire import Decode
from ...daemon.journal.records import RunRecord

TASK = "decoding"
LONGEST_LABEL = 64


@dataclass(frozen=True)
class RunFiles:
    """Names of a run's files. No name holds a text of the journal unchecked."""

    root: Path
    record: RunRecord
    number: int

    @property
    def folder(self) -> Path:
        """Return the session's folder."""
        return self.root / self._subject / self._session

    def path(self, ending: str) -> Path:
        """Return a file of the run in the folder `func`."""
        name = f"{self._subject}_{self._session}_task-{TASK}_run-{self.number:02d}_{ending}"
        return self.folder / "func" / name

    def picture(self, message: Decode, what: str) -> Path:
        """Return the file of a decode's picture."""
        event = "" if message.event is None else f"_event-{message.event:04d}"
        name = f"seq-{message.seq:06d}_index-{message.index:05d}{event}_{what}.png"
        return self.folder / "decodes" / f"run-{self.number:02d}" / name

    @property
    def _subject(self) -> str:
        return f"sub-{abs(self.record.hello.subject):02d}"

    @property
    def _session(self) -> str:
        return f"ses-{label(self.record.hello.session)}"


def label(text: str) -> str:
    """Return a text as a BIDS label, which has only letters and digits."""
    return "".join(letter for letter in text if letter.isascii() and letter.isalnum())[:LONGEST_LABEL] or "unnamed"


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a sidecar."""
    path.write_text(json.dumps(content, indent=2) + "\n")


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table of tab-separated values. A value that is not known is n/a."""
    lines = ["\t".join(columns), *("\t".join(map(_cell, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cell(value: Any) -> str:
    """Return a table's cell. Tabs and line ends of a sender's text would make other cells."""
    return "n/a" if value is None or value == "" else " ".join(str(value).split())
