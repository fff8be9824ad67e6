"""Names of a session's files in a BIDS derivative.

Anybody can write a journal: no text of a journal becomes a file's name unchecked.
"""

from dataclasses import dataclass
from pathlib import Path

from ...client.wire import Decode
from ...daemon.journal.records import RunRecord
from ..bids_tables import label

TASK = "decoding"


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
