"""Records of a journal, as they are read back."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from ...arrays import Array
from ...client.wire import Candidate, Event, Hello, Volume

# waiting: acked, not decoded yet. decoded. skipped: policy `latest` passed over the volume. used: a BOLD volume that
# completed no trial's estimate. late: a BOLD volume that came after its gap was published. failed: decoding
# raised an error. recorded: the daemon had no weights.
VolumeState = Literal["waiting", "decoded", "skipped", "used", "late", "failed", "recorded"]
VOLUME_STATES: tuple[VolumeState, ...] = get_args(VolumeState)

# These numbers stand where an onset has its number: for a decode of a beta volume, and for a message about a run's end.
NO_EVENT = -1
END_OF_RUN = -2


class Pair(NamedTuple):
    """Two candidates that a trial is compared with. The sender names them."""

    right: Candidate
    foil: Candidate

    @classmethod
    def named_by(cls, *headers: Hello | Volume | Event) -> "Pair | None":
        """Return the pair of the first header that names one."""
        for header in headers:
            if header.right is not None and header.foil is not None:
                return cls(header.right, header.foil)
        return None


class Shown(NamedTuple):
    """The names of the picture that was on screen: NSD's id and the picture's file, as far as the sender knows them."""

    nsd_id: int | None
    stimulus: str | None


class JournalFacts(NamedTuple):
    """A journal in short: the Unix time of its newest run in s (0: no run), whether volumes or runs wait to be decoded,
    and the lowest and highest number of its messages for the viewers (0: no message)."""

    opened_unix_s: float
    has_work: bool
    first_seq: int
    last_seq: int


class RunRecord(NamedTuple):
    """A run: its `Hello`, the fingerprint of its weights, and its length.

    `n_volumes` is None until `EndRun` announces it.
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
    """A journaled volume without its content. `arrival` numbers volumes in the order of their commits.

    `is_end`: this stands for the end of the run; the volume is the run's last.
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
    """One message for the viewers, as bytes: its number, its JSON header, and its payload frame (None: no payload).

    `is_whole`: the bytes match their checksum.
    """

    seq: int
    header: bytes
    payload: bytes | None
    is_whole: bool = True
