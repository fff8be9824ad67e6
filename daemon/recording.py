"""A session's journal, read and never written: by whoever fits on it, also while the daemon goes on with it."""

from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..client.wire import Event, Hello, Volume
from .database import Database, JournalError
from .journal import SCHEMA

Array = NDArray[Any]


class RecordedRun(NamedTuple):
    """A run as opened; `n_volumes` is None until somebody said that it ended."""

    name: str
    hello: Hello
    weights: str
    n_volumes: int | None


class Recording:
    """A recorded session.

    Raises
    ------
    JournalError
        If the file is missing, damaged or no journal.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise JournalError(f"{path}: no such session; the daemon keeps them in the data folder's journals")
        self.path = path
        self.session = path.stem
        self._database = Database(path, tables="", schema=SCHEMA, is_read_only=True)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def runs(self) -> list[RecordedRun]:
        """Return the runs in the order in which they were opened."""
        rows = self._database.rows("SELECT run, hello, weights, n_volumes FROM runs ORDER BY rowid")
        return [RecordedRun(run, msgspec.json.decode(hello, type=Hello), *rest) for run, hello, *rest in rows]

    def voxel_index(self, run: RecordedRun) -> Array:
        """Return which voxels are kept of a run: (n_voxels,) int64, rising, into the flattened volume."""
        has_masks = self._database.row("SELECT 1 FROM sqlite_schema WHERE name = 'masks'")
        row = has_masks and self._database.row("SELECT voxel_index FROM masks WHERE weights = ?", run.weights)
        if not row:
            raise JournalError(
                f"{self.path}: run {run.name} does not say which voxels it has: an older braind recorded it"
            )
        return np.frombuffer(row[0], "<i8")

    def events(self, run: RecordedRun) -> list[Event]:
        """Return a run's onsets in the order of time."""
        rows = self._database.rows("SELECT header FROM events WHERE run = ?", run.name)
        events = [msgspec.json.decode(header, type=Event) for (header,) in rows]
        return sorted(events, key=lambda event: event.onset_s)

    def volumes(self, run: RecordedRun) -> list[tuple[int, Volume]]:
        """Return a run's volumes in the order of their indices: their places in the journal, and their headers."""
        rows = self._database.rows("SELECT arrival, header FROM volumes WHERE run = ? ORDER BY volume_index", run.name)
        return [(arrival, msgspec.json.decode(header, type=Volume)) for arrival, header in rows]

    def voxels(self, arrival: int) -> Array:
        """Return a volume's voxels: (n_voxels,) float32, % signal change for betas, raw for BOLD."""
        return np.frombuffer(self._database.row("SELECT masked FROM voxels WHERE arrival = ?", arrival)[0], np.float32)
