"""The events tables of a BIDS subject: each run's trials, with pictures and classes, and the images of each run."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ....arrays import Array
from ....printable import printable
from .files import (
    BOLD,
    NOT_AVAILABLE,
    BidsError,
    BidsFile,
    Choice,
    bids_file,
    duration_in,
    read_tsv,
    seconds_in,
)
from .labels import numbered
from .missing import choices_of

log = logging.getLogger(__name__)

LONGEST_DURATION_S = 3600.0
"""The longest stimulus; the protocol has the same limit (client/wire.py)."""
LATEST_ONSET_S = 86400.0
"""Onsets lie within a day of the run's first volume; the protocol has the same limit."""


class _Trial(NamedTuple):
    onset_s: float
    duration_s: float
    stim_file: str
    label: str
    row: int


@dataclass(frozen=True, eq=False)
class BidsRun:
    """One run with trials; trials are in the order of their onsets.

    Parameters
    ----------
    path : the events table
    session, run : numbers, from 1
    session_label, run_label : the labels in the file names; "" if the names have none
    stim_files : each trial's picture, a path below stimuli/; "" for a trial without a picture
    labels : each trial's class; "" if it is not known
    onsets_s, durations_s : arrays of shape (n_trials,), float64, s
    rows : each trial's row in the table, from 1
    """

    path: Path
    session: int
    run: int
    session_label: str
    run_label: str
    stim_files: list[str]
    labels: list[str]
    onsets_s: Array
    durations_s: Array
    rows: list[int]


@dataclass(frozen=True)
class EventsOf:
    """The events tables to read: the task, its `acq` as in `Choice`, and the column of classes ("" is none).

    Without a column of classes, a trial is a row that shows a picture.
    """

    task: str
    label_column: str = ""
    acq: str = ""


def read_runs(files: list[BidsFile], images: list[BidsFile], roots: list[Path], wanted: EventsOf) -> list[BidsRun]:
    """Return a subject's runs of a task that have trials, sorted by session and run.

    An image without an events table of its own inherits the nearest table of the folders above it.

    Parameters
    ----------
    files, images : the subject's files, and the images of the task among them
    roots : the data set's folders; an earlier root's tables go before a later root's

    Raises
    ------
    BidsError
        There is none, a table cannot be read, or two tables apply to a run.
    """
    label_column = wanted.label_column
    tables = [table for table in _tables(files, roots) if Choice(acq=wanted.acq).takes(table)]
    of_task = _tables_of_runs([table for table in tables if table.has(task=wanted.task)], images, roots)
    if not of_task:
        tasks = sorted({table.entities.get("task", "") for table in tables})
        raise BidsError(
            f"{roots[0]} has no events of task {wanted.task}; "
            + (f"there are tasks {', '.join(tasks)}: choose with --task" if tasks else "add …_events.tsv of each run")
        )
    sessions = {label: number for number, label in numbered((session for session, _ in of_task), "ses").items()}
    runs: list[BidsRun] = []
    for session in sessions:
        labels = [run for of_session, run in of_task if of_session == session]
        for number, run in numbered(labels, "run").items():
            path = of_task[session, run].path
            runs.append(_read_run(path, (sessions[session], number), (session, run), label_column))
    with_trials = [run for run in runs if run.rows]
    if not with_trials:
        raise BidsError(
            f"{runs[0].path} and the task's other events name no stim_file"
            + (f" and no {label_column}: name each trial's class" if label_column else ": name each trial's picture")
        )
    return sorted(with_trials, key=lambda run: (run.session, run.run))


def _tables(files: list[BidsFile], roots: list[Path]) -> list[BidsFile]:
    """Return the subject's events tables and the tables at the roots, which hold for every subject."""
    inherited = [bids_file(path) for root in roots for path in sorted(root.glob("*events.tsv"))]
    tables = [file for file in (*files, *inherited) if file.suffix == "events" and file.path.suffix == ".tsv"]
    return [table for table in tables if "sub" in table.entities or table in inherited]


def _tables_of_runs(
    tables: list[BidsFile], images: list[BidsFile], roots: list[Path]
) -> dict[tuple[str, str], BidsFile]:
    """Return the events table of each session and run, by their labels."""
    found: dict[tuple[str, str], BidsFile] = {}
    used: set[Path] = set()
    for image in images:
        session = image.entities.get("ses", "")
        applying = [
            table for table in tables
            if table.applies_to(image.entities) and table.entities.get("ses", session) == session
        ]  # fmt: skip
        # One image of a whole session has the trials of all runs.
        runs = [image.entities["run"]] if "run" in image.entities else _run_labels(applying)
        for run in runs:
            of_run = [table for table in applying if table.entities.get("run", run) == run]
            if of_run:
                found.setdefault((session, run), _nearest(of_run, roots, image))
        used |= {table.path for table in applying}
    for table in tables:
        key = table.entities.get("ses", ""), table.entities.get("run", "")
        # Tables without an image are runs too, so that the missing image is named.
        if table.path not in used and "sub" in table.entities and not any(_covers(key, other) for other in found):
            found[key] = _nearest(
                [other for other in tables if (other.entities.get("ses", ""), other.entities.get("run", "")) == key],
                roots,
                table,
            )
    return found


def _run_labels(tables: list[BidsFile]) -> list[str]:
    return sorted({table.entities["run"] for table in tables if "run" in table.entities}) or [""]


def _covers(key: tuple[str, str], other: tuple[str, str]) -> bool:
    """Return whether a table of `key` is of the run `other`, or of all runs that `other` is one of."""
    return key in (other, (other[0], ""), ("", ""))


def _nearest(tables: list[BidsFile], roots: list[Path], file: BidsFile) -> BidsFile:
    """Return the table of the first root, then of the deepest folder, then with the most entities in its name.

    A table with an entity that the file lacks, such as `acq`, is taken only where no other holds: derivatives may leave
    entities out of their names.
    """

    def rank(table: BidsFile) -> tuple[bool, int, int, int]:
        (root,) = [n for n, root in enumerate(roots) if root in table.path.parents][:1]
        is_foreign = not table.entities.keys() - {"run"} <= file.entities.keys()
        return is_foreign, root, -len(table.path.parents), -len(table.entities)

    first, *others = sorted(tables, key=rank)
    if others and rank(others[0]) == rank(first):
        raise BidsError(
            f"{first.path} and {others[0].path.name} both hold for {file.path.name}: "
            f"{choices_of([first, others[0]]) or 'leave one of them'}"
        )
    return first


def _read_run(path: Path, numbers: tuple[int, int], labels: tuple[str, str], label_column: str) -> BidsRun:
    advice = "name each trial's picture in stim_file, a path below stimuli/ (n/a where none was shown)"
    advice += ", or each trial's class in a column that --labels names"
    if label_column:
        advice = (
            f"name each trial's class in {label_column} (n/a where a row is no trial), or another column in --labels"
        )
    rows = read_tsv(path, ("onset", "duration", label_column or "stim_file"), advice)
    trials = [
        trial for number, row in enumerate(rows, 1) if (trial := _trial_of(path, number, row, label_column)) is not None
    ]
    trials.sort(key=lambda trial: trial.onset_s)
    unknown = [trial.row for trial in trials if rows[trial.row - 1]["duration"] == NOT_AVAILABLE]
    if unknown:
        log.warning(
            "%s: %d trials have the duration n/a (row %d is the first), and count as impulses: give seconds if they "
            "are longer",
            path,
            len(unknown),
            min(unknown),
        )
    return BidsRun(
        path,
        *numbers,
        *labels,
        stim_files=[trial.stim_file for trial in trials],
        labels=[trial.label for trial in trials],
        onsets_s=np.array([trial.onset_s for trial in trials], np.float64),
        durations_s=np.array([trial.duration_s for trial in trials], np.float64),
        rows=[trial.row for trial in trials],
    )


def _trial_of(path: Path, number: int, row: dict[str, str], label_column: str) -> _Trial | None:
    """Return a row's trial; None for a row without a picture and without a class."""
    stim_file, label = (_text(row, column) for column in ("stim_file", label_column))
    if not stim_file and not label:
        return None
    where = f"{path}, row {number}"
    if label != printable(label):
        raise BidsError(f"{where}: {label_column} {label!r} holds control characters: name the class in plain text")
    try:
        onset_s, duration_s = seconds_in(row, "onset"), duration_in(row)
    except ValueError as error:
        raise BidsError(f"{where}: {error}") from error
    if abs(onset_s) > LATEST_ONSET_S:
        raise BidsError(
            f"{where}: onset is {row['onset']}; give seconds within {LATEST_ONSET_S:g} of the run's first volume"
        )
    if not 0 <= duration_s <= LONGEST_DURATION_S:
        raise BidsError(
            f"{where}: duration is {row['duration']}; give seconds from 0 (an impulse) to {LONGEST_DURATION_S:g}"
        )
    return _Trial(onset_s, duration_s, stim_file, label, number)


def _text(row: dict[str, str], column: str) -> str:
    """Return a cell's text; "" for n/a, an empty cell or a column that is not there."""
    text = row.get(column, NOT_AVAILABLE).strip()
    return "" if text == NOT_AVAILABLE else text


def check_told_apart(run: BidsRun) -> None:
    """Raise BidsError if two trials have the same onset and duration: no estimate can tell their responses apart."""
    first: dict[tuple[float, float], int] = {}
    for onset_s, duration_s, row in zip(run.onsets_s.tolist(), run.durations_s.tolist(), run.rows, strict=True):
        other = first.setdefault((onset_s, duration_s), row)
        if other != row:
            raise BidsError(
                f"{run.path}: rows {other} and {row} are trials of the same onset, {onset_s:g} s, and duration, so "
                "their responses cannot be told apart: remove one of the rows"
            )


def images_of_runs(
    runs: list[BidsRun], images: list[BidsFile], estimates: str, space: str
) -> list[tuple[BidsRun, BidsFile]]:
    """Pair a session's runs with their images; a response image of a whole session goes with the first run.

    Parameters
    ----------
    runs : the runs of one session, at least one
    images : the subject's images of these estimates
    estimates, space : the words for the error; `BOLD` has no image of a whole session

    Raises
    ------
    BidsError
        A run has no image, or several.
    """
    images = [image for image in images if image.entities.get("ses", "") == runs[0].session_label]
    whole = [image for image in images if "run" not in image.entities]
    if len(whole) == 1 and (len(runs) == 1 or estimates != BOLD):
        return [(runs[0], whole[0])]
    pairs = []
    for run in runs:
        own = [image for image in images if image.entities.get("run", "") == run.run_label] or whole
        if len(own) != 1:
            raise BidsError(
                f"{run.path} belongs to {len(own)} files of {estimates}{space}"
                f"{''.join(f', {image.path.name}' for image in own)}: there must be one"
                + (f"; {choices}" if (choices := choices_of(own)) else "")
            )
        if own == whole and run.run_label:
            raise BidsError(
                f"{run.path} belongs to 0 files of {estimates}{space}: {own[0].path.name} names no run: there must be "
                "one of each run"
            )
        pairs.append((run, own[0]))
    return pairs
