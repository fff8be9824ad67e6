"""What is read back from a journal."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ...arrays import Array
from ...client.wire import Candidate, Event, Hello, Volume

# waiting: acked, not decoded yet · decoded · skipped: policy `latest` passed it over · used: a BOLD volume at which no
# trial's estimate became ready · late: a BOLD volume that came after a volume of higher index was used · failed:
# decoding raised an error · recorded: the daemon had no weights.
VolumeState = Literal["waiting", "decoded", "skipped", "used", "late", "failed", "recorded"]

# In pending of an onset's number: for a decode of a beta volume, and for a message about a run's end.
NO_EVENT = -1
END_OF_RUN = -2


class Pair(NamedTuple):
    """Two candidates that a trial is compared with, as the sender names them."""

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
    """A run: its `Hello`, the weights that its volumes are kept under, and its length.

    `n_volumes` is None until `EndRun` announced it.
    """

    hello: Hello
    weights: str
    n_volumes: int | None

    @property
    def name(self) -> str:
        """Return the run's name."""
        return self.hello.run


@dataclass(frozen=True)
class Pending:
    """A volume's pending in the journal. `arrival` orders volumes by when they were committed.

    `is_end`: the pending stands for the end of the run, and the volume is the run's last.
    """

    arrival: int
    session: str
    run: str
    index: int
    is_end: bool = False


class JournaledVolume(NamedTuple):
    """A journaled volume: `voxels` (n_voxels,) float32, % signal change for betas, raw for BOLD; `seen` is a PNG."""

    header: Volume
    voxels: Array
    seen: bytes | None


class JournaledEvent(NamedTuple):
    """A journaled onset. The estimator takes it before the first volume whose arrival exceeds `after_arrival`."""

    header: Event
    seen: bytes | None
    after_arrival: int


class Published(NamedTuple):
    """One message for the viewers, as bytes: its number, its JSON header, and its payload frame or None."""

    seq: int
    header: bytes
    payload: bytes | None
