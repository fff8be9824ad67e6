"""The BOLD series of a BIDS subject: each run's file, and its volumes' times."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ....arrays import Array
from ..data_set import BoldSignal
from .events import BidsRun, check_told_apart, images_of_runs
from .files import BOLD, BidsError, BidsFile, finite_voxels, header_tr_s, load_series, volume_times

MAX_TR_DIFFERENCE = 0.01
"""The share by which the runs of one subject may differ in their TR: a BOLD prior holds for one TR."""


class RunSeries(NamedTuple):
    """A run and its BOLD series; the first volume comes `first_volume_s` after the time from which onsets count."""

    run: BidsRun
    file: BidsFile
    tr_s: float
    first_volume_s: float


def series_of_runs(runs: list[BidsRun], images: list[BidsFile], roots: list[Path], space: str) -> list[RunSeries]:
    """Pair a subject's runs with their BOLD series. Only headers are read.

    Raises
    ------
    BidsError
        A run has no series, or several; runs differ in their TR; two trials of a run cannot be told apart.
    """
    series: list[RunSeries] = []
    for session in sorted({run.session for run in runs}):
        of_session = [run for run in runs if run.session == session]
        for run, file in images_of_runs(of_session, images, BOLD, space):
            check_told_apart(run)
            tr_s, first_volume_s = volume_times(file, roots, header_tr_s(load_series(file.path)))
            series.append(RunSeries(run, file, tr_s, first_volume_s))
    first = series[0]
    for one in series:
        if not abs(one.tr_s - first.tr_s) <= MAX_TR_DIFFERENCE * first.tr_s:
            raise BidsError(
                f"{one.file.path} has a TR of {one.tr_s:g} s, {first.file.path.name} of {first.tr_s:g} s: weights hold "
                "for one TR; correct RepetitionTime, or choose sessions of one TR with --sessions"
            )
    return series


def read_signal(series: RunSeries, image: Any, voxel_index: Array) -> BoldSignal:
    """Return chosen voxels of a run's image, and the onsets of the run's trials after the first volume.

    Raises BidsError if a chosen voxel is not a finite number.
    """
    voxels = finite_voxels(series.file.path, image, voxel_index)
    return BoldSignal(
        index=np.arange(len(voxels)),
        voxels=voxels,
        onsets_s=series.run.onsets_s - series.first_volume_s,
        tr_s=series.tr_s,
        durations_s=series.run.durations_s,
        labels=tuple(series.run.labels),
    )
