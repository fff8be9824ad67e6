"""The events tables of a BIDS subject: each run's trials, with pictures and classes, and the images of each run."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ....arrays import Array
from ....printable import printable
from .files import BOLD, NOT_AVAILABLE, BidsError, BidsFile, numbered, read_tsv, seconds_in

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


def read_runs(files: list[BidsFile], task: str, root: Path, label_column: str = "") -> list[BidsRun]:
    """Return a subject's runs of a task that have trials, sorted by session and run.

    Parameters
    ----------
    label_column : the column with each trial's class; without it, a trial is a row that shows a picture

    Raises
    ------
    BidsError
        There is none, or a table cannot be read.
    """
    tables = [file for file in files if file.suffix == "events" and file.path.suffix == ".tsv"]
    of_task: dict[tuple[str, str], BidsFile] = {}
    for file in tables:
        if file.has(task=task):
            # Files are in the order of the roots: the given folder's own events replace the raw data set's above it.
            of_task.setdefault((file.entities.get("ses", ""), file.entities.get("run", "")), file)
    if not of_task:
        tasks = sorted({file.entities.get("task", "") for file in tables})
        raise BidsError(
            f"{root} has no events of task {task}; "
            + (f"there are tasks {', '.join(tasks)}: choose with --task" if tasks else "add …_events.tsv of each run")
        )
    sessions = {label: number for number, label in numbered({session for session, _ in of_task}).items()}
    numbers = {label: number for number, label in numbered({run for _, run in of_task}).items()}
    runs = [
        _read_run(file.path, (sessions[session], numbers[run]), (session, run), label_column)
        for (session, run), file in of_task.items()
    ]
    with_trials = [run for run in runs if run.rows]
    if not with_trials:
        raise BidsError(
            f"{runs[0].path} and the task's other events name no stim_file"
            + (f" and no {label_column}: name each trial's class" if label_column else ": name each trial's picture")
        )
    return sorted(with_trials, key=lambda run: (run.session, run.run))


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
    if row["duration"] == NOT_AVAILABLE:
        raise BidsError(f"{where}: duration is n/a, which means unknown; give seconds, 0 for an impulse")
    try:
        onset_s, duration_s = seconds_in(row, "onset"), seconds_in(row, "duration")
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
        own = [image for image in images if image.entities.get("run", "") == run.run_label]
        if len(own) != 1:
            raise BidsError(
                f"{run.path} belongs to {len(own)} files of {estimates}{space}"
                f"{''.join(f', {image.path.name}' for image in own)}: there must be one"
            )
        pairs.append((run, own[0]))
    return pairs
