"""The events tables of a BIDS subject: each run's pictures with their onsets, and the images of each run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import BOLD, NOT_AVAILABLE, BidsError, BidsFile, numbered, read_tsv, seconds_in

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Run:
    """One run that showed pictures; trials are in the order of their onsets.

    Parameters
    ----------
    path : the events table
    session, run : numbers, from 1
    session_label, run_label : the labels in the file names; "" if the names have none
    stim_files : each trial's picture, a path below stimuli/
    onsets_s, durations_s : arrays of shape (n_trials,), float64, s
    """

    path: Path
    session: int
    run: int
    session_label: str
    run_label: str
    stim_files: list[str]
    onsets_s: Array
    durations_s: Array


def read_runs(files: list[BidsFile], task: str, root: Path) -> list[Run]:
    """Return a subject's runs of a task that show pictures, sorted by session and run.

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
        _read_run(file.path, sessions[session], numbers[run], session, run) for (session, run), file in of_task.items()
    ]
    with_pictures = [run for run in runs if run.stim_files]
    if not with_pictures:
        raise BidsError(f"{runs[0].path} and the task's other events name no stim_file: name each trial's picture")
    return sorted(with_pictures, key=lambda run: (run.session, run.run))


def _read_run(path: Path, session: int, number: int, session_label: str, run_label: str) -> Run:
    advice = "name each trial's picture in stim_file, a path below stimuli/ (n/a where none was shown)"
    rows = read_tsv(path, ("onset", "duration", "stim_file"), advice)
    rows = [row for row in rows if row["stim_file"] != NOT_AVAILABLE]
    onsets_s = [_seconds(path, row, "onset") for row in rows]
    durations_s = [_seconds(path, row, "duration") for row in rows]
    order = sorted(range(len(rows)), key=onsets_s.__getitem__)
    return Run(
        path=path,
        session=session,
        run=number,
        session_label=session_label,
        run_label=run_label,
        stim_files=[rows[n]["stim_file"] for n in order],
        onsets_s=np.array([onsets_s[n] for n in order]),
        durations_s=np.array([durations_s[n] for n in order]),
    )


def _seconds(path: Path, row: dict[str, str], column: str) -> float:
    try:
        return seconds_in(row, column)
    except ValueError as error:
        raise BidsError(f"{path}, trial of {row['stim_file']}: {error}") from error


def images_of_runs(runs: list[Run], images: list[BidsFile], estimates: str, space: str) -> list[tuple[Run, BidsFile]]:
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
