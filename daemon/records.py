"""What is read back from a journal."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray

from ..client.wire import Candidate, Event, Hello, Volume

Array = NDArray[Any]

# waiting: acked, not yet decoded · decoded · skipped: policy `latest` passed it over · used: a BOLD volume at which no
# trial's estimate became ready · late: a BOLD volume that came after a later one was used · failed: it could not be
# decoded · recorded: there were no weights to decode it with.
State = Literal["waiting", "decoded", "skipped", "used", "late", "failed", "recorded"]

# In the place of an onset's number: a decode of a beta volume, and what is said of a run's end.
NO_EVENT = -1
END_OF_RUN = -2


class Pair(NamedTuple):
    """Two candidates that a trial is compared with, as their sender names them."""

    right: Candidate
    foil: Candidate

    @classmethod
    def named_by(cls, *headers: Hello | Volume | Event) -> "Pair | None":
        """Return the pair of the first header that names one."""
        for header in headers:
            if header.right is not None and header.foil is not None:
                return cls(header.right, header.foil)
        return None


class RunRecord(NamedTuple):
    """A run as opened: who sends it, which weights masked its volumes, and how many volumes `EndRun` announced."""

    hello: Hello
    weights: str
    n_volumes: int | None


@dataclass(frozen=True)
class Waiting:
    """A volume's place in the journal. `arrival` orders volumes by when they were committed.

    `is_end`: not the volume itself, but the end of its run, whose last volume it is.
    """

    arrival: int
    session: str
    run: str
    index: int
    is_end: bool = False


class JournaledVolume(NamedTuple):
    """A volume as journaled: `voxels` (n_voxels,) float32, % signal change for betas, raw for BOLD; `seen` is a PNG."""

    header: Volume
    voxels: Array
    seen: bytes | None


class JournaledEvent(NamedTuple):
    """A trial's onset; it is used before the first volume whose arrival is greater than `after_arrival`."""

    header: Event
    seen: bytes | None
    after_arrival: int


class Published(NamedTuple):
    """One message for the viewers, as bytes: its number, JSON header and payload frame, if it has one."""

    seq: int
    header: bytes
    payload: bytes | None
