"""Every trial that was heard of, without pictures: so that ten thousand trials need little memory."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ...client.wire import Decode, Skipped
from ..recent import DecodedVolume, Place, RecentDecodes

N_KEPT = 20_000

Key = tuple[Place, int | None, int]
"""A trial: its run, its number in a BOLD run, and the index of its beta volume (0 in a BOLD run)."""


@dataclass(slots=True)
class TrialRecord:
    """The numbers of one trial; `recent.DecodedVolume` describes the fields of the same names."""

    key: Key
    session: str
    run: str
    index: int
    event: int | None
    trial: int | None = None
    made_s: float | None = None
    best: str = ""
    score: float | None = None
    feedback: float | None = None
    likely: str = ""
    probability: float | None = None
    sent_class: str = ""
    is_final: bool = True
    rank: int | None = None
    """The rank of the seen picture among the candidates."""
    two_way: float | None = None
    picture: int | None = None
    """The number of the seen picture among the candidates' numbers."""
    is_right: bool | None = None
    n_classes: int = 0
    latency_s: float | None = None
    outcome: str = ""
    seqs: dict[str, int] = field(default_factory=dict)
    """The number of the newest message of each stage: the daemon gives the message again."""
    version: int = 0
    """The table's count of changes when this trial last changed."""

    @property
    def number(self) -> int:
        """The trial's number in a BOLD run, else the volume's index."""
        return self.index if self.event is None else self.event


class Trials:
    """The newest `N_KEPT` trials, in the order in which they were first heard of."""

    def __init__(self) -> None:
        self._records: dict[Key, TrialRecord] = {}
        self.version = 0

    def take(self, volume: DecodedVolume, stage: str = "", seq: int = 0) -> None:
        """Take over what is known of a volume after a message; `stage` and `seq` are of a decode."""
        key = key_of(volume)
        record = self._records.get(key)
        if record is None:
            record = TrialRecord(key, volume.session, volume.run, volume.index, volume.event)
            self._records[key] = record
            if len(self._records) > N_KEPT:
                del self._records[next(iter(self._records))]
        self.version += 1
        record.version = self.version
        if stage:
            record.seqs[stage] = seq
        record.index, record.trial, record.made_s = volume.index, volume.trial, volume.made_s
        record.feedback, record.sent_class = volume.feedback, volume.label or ""
        if volume.retrieved:
            record.best, record.score = volume.retrieved[0].label, volume.retrieved[0].score
        record.is_final = volume.is_final
        seen = volume.seen_candidate
        if seen is not None and volume.n_candidates:
            record.rank, record.picture = seen.rank, seen.nsd_id
            record.two_way = two_way_of(seen.rank, volume.n_candidates)
        if volume.labels:
            record.likely, record.probability = volume.labels[0].label, volume.labels[0].probability
            record.is_right, record.n_classes = volume.is_right, len(volume.labels)
        record.latency_s = volume.timings_s.get(volume.final_stage)
        record.outcome = outcome_of(volume)

    def add_older(self, messages: Iterable[Decode | Skipped], count: int) -> None:
        """Add the trials of messages that were published before all others, in their order.

        `count` says how often a daemon has counted anew since the monitor started.
        """
        decodes, older = RecentDecodes(count), Trials()
        for message in messages:
            if isinstance(message, Decode):
                older.take(decodes.take_decode(message, None, 0.0), message.stage, message.seq)
            else:
                for volume in decodes.take_skipped(message, 0.0):
                    older.take(volume)
        for key, record in older._records.items():
            # Every message of a trial that is still being decoded is newer than these.
            record.outcome = "no picture" if record.outcome == "decoding" else record.outcome
            known = self._records.get(key)
            if known is None:
                continue
            # Its messages lie on both sides of the monitor's start.
            known.seqs = record.seqs | known.seqs
            known.best, known.score = known.best or record.best, record.score if known.score is None else known.score
            if known.rank is None:
                known.rank, known.two_way, known.picture = record.rank, record.two_way, record.picture
            known.feedback = record.feedback if known.feedback is None else known.feedback
        self._records = {key: one for key, one in older._records.items() if key not in self._records} | self._records
        self.version += 1
        for key in older._records:
            self._records[key].version = self.version
        for key in list(self._records)[:-N_KEPT]:
            del self._records[key]

    def end_recording(self) -> None:
        """Note that no further message comes."""
        self.version += 1
        for record in self._records.values():
            if record.outcome == "decoding":
                record.outcome, record.version = "no picture", self.version

    def first_seq(self, session: str) -> int | None:
        """Return the lowest number of a session's decodes; None if no decode was heard."""
        return min((seq for record in self.of_session(session) for seq in record.seqs.values()), default=None)

    def of_session(self, session: str) -> list[TrialRecord]:
        """Return a session's trials."""
        return [record for record in self._records.values() if record.session == session]

    def of_run(self, place: Place) -> list[TrialRecord]:
        """Return a run's trials."""
        return [record for record in self._records.values() if record.key[0] == place]

    def newest_session(self) -> str:
        """Return the session of the newest trial; "" before the first."""
        return next(reversed(self._records.values())).session if self._records else ""

    def get(self, key: Key) -> TrialRecord | None:
        """Return a trial; None if it is not kept any more."""
        return self._records.get(key)


def two_way_of(rank: int, n_candidates: int) -> float | None:
    """Return the share of the other candidates that fit worse than the seen picture; None without another candidate."""
    return (n_candidates - rank) / (n_candidates - 1) if n_candidates > 1 else None


def key_of(volume: DecodedVolume) -> Key:
    """Return what tells a trial from all others."""
    return volume.place, volume.event, volume.index if volume.event is None else 0


def outcome_of(volume: DecodedVolume) -> str:
    """Return what became of a trial in one word or two."""
    if volume.is_finished and not volume.superseded:
        return "final" if volume.is_final else "provisional"
    if volume.skipped:
        return "failed" if volume.failed else "skipped"
    if volume.is_given_up:
        return "no picture"
    return "decoding" if volume.is_final else "provisional"


Column = tuple[str, Callable[[TrialRecord], object]]
COLUMNS: tuple[Column, ...] = (
    ("run", lambda record: record.run),
    ("no.", lambda record: record.number),
    ("outcome", lambda record: record.outcome),
    ("best candidate", lambda record: record.best),
    ("score", lambda record: record.score),
    ("rank", lambda record: record.rank),
    ("class", lambda record: record.likely),
    ("p", lambda record: record.probability),
    ("sent", lambda record: record.sent_class),
    ("feedback", lambda record: record.feedback),
    ("ms", lambda record: record.latency_s),
    ("trial", lambda record: record.trial),
    ("volume", lambda record: record.index),
)
"""The columns of the table of trials, the most important first: name and value. None is unknown."""


def columns_by_importance(records: Iterable[TrialRecord]) -> list[int]:
    """Return the places of `COLUMNS`, the most important first: a column without a value in any row comes last."""
    unknown = list(range(len(COLUMNS)))
    for record in records:
        unknown = [place for place in unknown if COLUMNS[place][1](record) in (None, "")]
        if not unknown:
            break
    return [place for place in range(len(COLUMNS)) if place not in unknown] + unknown


def sorted_by(records: list[TrialRecord], column: int | None, *, descending: bool) -> list[TrialRecord]:
    """Return the trials in the order of a column, unknown values last; by arrival if `column` is None."""
    if column is None:
        return records[::-1] if descending else list(records)
    value = COLUMNS[column][1]
    known = [record for record in records if value(record) not in (None, "")]
    unknown = [record for record in records if value(record) in (None, "")]
    return sorted(known, key=value, reverse=descending) + unknown  # pyright: ignore[reportArgumentType, reportCallIssue]
