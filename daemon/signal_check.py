"""Counts voxels without signal in the first volume of a BOLD run, and logs the count."""

import logging

from ..arrays import Array
from ..client.wire import Hello
from ..models.weights.bold_prior import without_signal
from .journal.database import RecordError
from .journal.journal import Journal
from .journal.records import RunRecord

ALARMING_SHARE = 0.1
"""A mask or a registration of another head can leave so large a share of voxels outside the brain."""

logger = logging.getLogger(__name__)


class SignalCheck:
    """Holds the number of voxels without signal in the open BOLD run, among the voxels that the journal keeps.

    `n_without_signal` is None before the run's first volume, after its end, in a run of betas, and if the first volume
    cannot be read.
    """

    def __init__(self) -> None:
        self.n_without_signal: int | None = None
        self._run: tuple[str, str] | None = None

    def open(self, journal: Journal, record: RunRecord) -> None:
        """Follow a run that was opened, unless it has ended. Volumes of an earlier daemon are in the journal."""
        hello = record.hello
        is_followed = hello.kind == "bold" and record.n_volumes is None
        self._run = (hello.session, hello.run) if is_followed else None
        self.n_without_signal = None
        if self._run:
            try:
                voxels = journal.first_voxels(hello.run)
            except RecordError as error:
                logger.error("run %s: voxels without signal cannot be counted: %s", hello.run, error)
                return
            if voxels is not None:
                self.n_without_signal = int(without_signal(voxels).sum())

    def add_volume(self, hello: Hello, voxels: Array, *, is_decoded: bool) -> None:
        """Count the run's first volume, and log the count if a voxel has no signal.

        Parameters
        ----------
        voxels : array of shape (n_voxels,), float32
            Raw signal.
        is_decoded : False if the volumes are only recorded
        """
        if (hello.session, hello.run) != self._run or self.n_without_signal is not None:
            return
        n = self.n_without_signal = int(without_signal(voxels).sum())
        if not n:
            return
        words = f"{n:,} of {len(voxels):,} voxels have no signal in run {hello.run}"
        words += ": they count as their training mean" if is_decoded else ""
        if n < ALARMING_SHARE * len(voxels):
            logger.warning("%s", words)
        else:
            logger.error(
                "%s; that is %.0f %%: check the mask, the registration to the weights' grid, and the coil",
                words, 100 * n / len(voxels),
            )  # fmt: skip

    def end(self, session: str, run: str) -> None:
        """Note that a run has ended."""
        if self._run == (session, run):
            self._run = self.n_without_signal = None
