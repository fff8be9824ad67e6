"""Which picture was shown when: the events tables of a BIDS subject."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bids_files import NOT_AVAILABLE, BidsError, BidsFile, numbered, read_tsv, seconds_in

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Run:
    """One run that showed pictures, in the order of their onsets.

    `session` and `run` are numbers, the labels are those in the files' names ("" where there are none); `onsets_s` and
    `durations_s` have shape (n_trials,).
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
    """Return a subject's runs of a task that show pictures, by session and run.

    Raises
    ------
    BidsError
        If there is none, or a table cannot be read.
    """
    tables = [file for file in files if file.suffix == "events" and file.path.suffix == ".tsv"]
    of_task: dict[tuple[str, str], BidsFile] = {}
    for file in tables:
        if file.has(task=task):
            # a raw data set's events count less than the derivative's own
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
    shown = [run for run in runs if run.stim_files]
    if not shown:
        raise BidsError(f"{runs[0].path} and the task's other events name no stim_file: name each trial's picture")
    return sorted(shown, key=lambda run: (run.session, run.run))


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
