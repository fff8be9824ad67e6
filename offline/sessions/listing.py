"""The sessions of a data folder, and the runs of a session."""

import time
from collections import Counter
from pathlib import Path
from typing import Literal

import msgspec

from ...client.endpoints import is_served
from ...client.wire import MAGIC, SILENT_S, Decode, Mark, Skipped, WireError, decode
from ...config import Config, journals_path
from ...daemon.journal.database import JournalError
from ...daemon.journal.recording import Recording
from ...daemon.journal.records import RunRecord
from ...errors import BraindError

ENDINGS = (".sqlite3", ".sqlite3-wal", ".sqlite3-shm")
MANY_MISSING = 20
State = Literal["recording", "volumes wait", "not ended", "done", "unreadable"]
"""A session's state.

recording: a daemon takes volumes of the session's newest run now. volumes wait: volumes, or the last trials of a run,
wait to be decoded. not ended: nobody announced the end of a run, because a sender or a daemon died. done: every run has
ended. unreadable: the journal is damaged, or the disk fails.
"""


class SessionsError(BraindError):
    """A session that does not exist, or an output that cannot be written."""

    code = "sessions"


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A session in a list.

    Parameters
    ----------
    opened_unix_s : when the newest run was opened; None if the session has no run
    volumes : the number of volumes in each state
    state : see `State`
    is_waiting : whether volumes, or the last trials of a run, wait to be decoded
    last_seq : the highest number of a message for the viewers
    n_bytes : the journal's files together
    problem : why the session cannot be read; the fields above it are unknown then
    """

    session: str
    path: str
    n_bytes: int
    state: State
    opened_unix_s: float | None = None
    runs: tuple[str, ...] = ()
    volumes: dict[str, int] = {}
    subject: int | None = None
    weights: str = ""
    simulated: bool = False
    is_waiting: bool | None = None
    last_seq: int | None = None
    problem: str = ""


class MarkFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator noted about a run.

    Parameters
    ----------
    index, event : the volume or the trial that the note is about; neither if the note came before the first volume
    made_unix_s : when the note was begun, by the daemon's clock
    by : the name of the operator's key; "" if the daemon took no keys, or an earlier braind recorded the session
    """

    note: str
    index: int | None
    event: int | None
    made_unix_s: float | None
    by: str


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A run of a session.

    Parameters
    ----------
    n_volumes : the run's length, if its end was announced
    volumes : the number of journaled volumes in each state
    n_missing : the volumes that are not journaled, of the announced ones or up to the highest index
    missing : the first indices that are not journaled
    simulated : whether the data or the weights are simulated
    decodes : the number of journaled decodes of each stage
    skipped : the number of skipped volumes by reason
    first_unix_s, last_unix_s : when the first and the last volume arrived
    marks : what operators noted, in the order in which the notes came
    """

    run: str
    subject: int
    kind: str
    tr_s: float
    weights: str
    simulated: bool
    n_volumes: int | None
    volumes: dict[str, int]
    n_missing: int
    missing: tuple[int, ...]
    n_events: int
    decodes: dict[str, int]
    skipped: dict[str, int]
    first_unix_s: float | None
    last_unix_s: float | None
    marks: tuple[MarkFacts, ...]


def find_journal(config: Config, session: str) -> Path:
    """Return the journal of a session of the data folder, or the file itself if `session` is a journal's file.

    Raises
    ------
    SessionsError
        If there is no such session.
    """
    path = Path(session) if session.endswith(".sqlite3") else journals_path(config) / f"{session}.sqlite3"
    # A name is one file of the folder: no name leads out of the folder.
    if path.is_file() and (session.endswith(".sqlite3") or path.parent == journals_path(config)):
        return path
    raise SessionsError(
        f"{path}: no such session; `braind sessions list` names the sessions of {journals_path(config)}. A journal "
        "elsewhere is named by its path, which ends in .sqlite3"
    )


def list_sessions(config: Config) -> list[SessionRow]:
    """Return a row for each journal of the data folder, the newest last. Unreadable sessions come first."""
    is_used = is_served(config)
    rows = [_row(path, is_used) for path in sorted(journals_path(config).glob("*.sqlite3"))]
    return sorted(rows, key=lambda row: row.opened_unix_s or 0.0)


def read_runs(path: Path) -> list[RunFacts]:
    """Return the runs of a session in the order in which they were opened.

    Raises
    ------
    JournalError
        If the journal cannot be read.
    """
    with Recording(path) as recording:
        decodes: dict[str, Counter[str]] = {}
        skipped: dict[str, Counter[str]] = {}
        simulated: set[str] = set()
        for message, _ in recording.messages():
            if isinstance(message, Decode):
                decodes.setdefault(message.run, Counter())[message.stage] += 1
                if message.provenance.simulated:
                    simulated.add(message.run)
            elif isinstance(message, Skipped):
                skipped.setdefault(message.run, Counter())[message.reason] += 1
        marks, facts = recording.marks(), []
        for run in recording.runs():
            arrivals = recording.arrivals(run)
            n_expected = max(run.n_volumes or 0, max((arrival.volume_index for arrival in arrivals), default=-1) + 1)
            n_missing, missing = recording.missing(run.name, n_expected, MANY_MISSING)
            facts.append(
                RunFacts(
                    run=run.name,
                    subject=run.hello.subject,
                    kind=run.hello.kind,
                    tr_s=run.hello.tr_s,
                    weights=run.weights,
                    simulated=run.hello.simulated or run.name in simulated,
                    n_volumes=run.n_volumes,
                    volumes=dict(Counter(arrival.state for arrival in arrivals)),
                    n_missing=n_missing,
                    missing=tuple(missing),
                    n_events=len(recording.events(run)),
                    decodes=dict(decodes.get(run.name, {})),
                    skipped=dict(skipped.get(run.name, {})),
                    first_unix_s=min((arrival.arrived_unix_s for arrival in arrivals), default=None),
                    last_unix_s=max((arrival.arrived_unix_s for arrival in arrivals), default=None),
                    marks=tuple(_mark_facts(mark) for mark in marks if mark.run == run.name),
                )
            )
        return facts


def journal_files(path: Path) -> list[Path]:
    """Return the files of a journal: the SQLite file, and its -wal and -shm files if they are there."""
    files = [path.with_name(path.name.removesuffix(ENDINGS[0]) + ending) for ending in ENDINGS]
    return [file for file in files if file.is_file()]


def _mark_facts(mark: Mark) -> MarkFacts:
    return MarkFacts(note=mark.note, index=mark.index, event=mark.event, made_unix_s=mark.made_s, by=mark.by)


def _row(path: Path, is_used: bool) -> SessionRow:
    n_bytes = 0
    try:
        n_bytes = sum(file.stat().st_size for file in journal_files(path))
        with Recording(path) as recording:
            runs, facts = recording.runs(), recording.facts()
            newest = runs[-1] if runs else None
            return SessionRow(
                session=path.stem,
                path=str(path),
                n_bytes=n_bytes,
                state=_state(recording, newest, is_used=is_used, has_work=facts.has_work),
                opened_unix_s=facts.opened_unix_s or None,
                runs=tuple(run.name for run in runs),
                volumes=recording.counts(),
                subject=newest.hello.subject if newest else None,
                weights=newest.weights if newest else "",
                simulated=_is_simulated(recording, runs),
                is_waiting=facts.has_work,
                last_seq=facts.last_seq,
            )
    except (JournalError, WireError, OSError) as error:
        return SessionRow(session=path.stem, path=str(path), n_bytes=n_bytes, state="unreadable", problem=str(error))


def _state(recording: Recording, newest: RunRecord | None, *, is_used: bool, has_work: bool) -> State:
    """Return a session's state. `is_used`: a daemon uses the data folder."""
    # A daemon has the -wal file of a journal in use, and a run is over for it after a minute without a message.
    if is_used and newest is not None and newest.n_volumes is None and len(journal_files(recording.path)) > 1:
        _, arrived_unix_s = recording.count_and_newest(newest)
        if time.time() - (arrived_unix_s or recording.facts().opened_unix_s) < SILENT_S:
            return "recording"
    if has_work:
        return "volumes wait"
    return "done" if recording.is_over() else "not ended"


def _is_simulated(recording: Recording, runs: list[RunRecord]) -> bool:
    """Return whether the data are simulated, or the weights of the newest decode."""
    newest = recording.published(recording.last_decode_seq(), 1)
    messages = [decode([MAGIC, message.header])[0] for message in newest]
    return any(run.hello.simulated for run in runs) or any(
        isinstance(message, Decode) and message.provenance.simulated for message in messages
    )
