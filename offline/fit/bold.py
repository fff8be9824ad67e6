"""A subject's recorded BOLD runs: what is learned from them, and their trials as a daemon would have estimated them."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ...arrays import Array
from ...client.datasets.data_set import BoldDataSet, DataSet, Trials
from ...config import Config
from ...errors import BraindError
from ...models.bold.fit_prior import FinishedRun, estimates_of, fit_prior, with_reference
from ...models.weights.bold_prior import BoldPrior, spatial_correlation
from ..progress import progress_bar

Report = Callable[[str, int, int], None]

N_PRIOR_RUNS = 4
SECONDS_AFTER_ONSET = (4.0, 6.0, 8.0, 10.0)
"""What is scored beside final estimates."""


class BoldError(BraindError):
    """A dataset without the BOLD series that are needed."""

    code = "bold"


class SessionRun(NamedTuple):
    """Where a run stands in a subject's data: `rows` are its trials' rows among all of the subject's, by event."""

    session: int
    run: int
    rows: Array


class BoldTrials(NamedTuple):
    """Final estimates: `rows` (n_trials,) among all trials of the subject, `voxels` (n_trials, n_voxels) float32, %."""

    rows: Array
    voxels: Array


def check_bold(config: Config, data: DataSet) -> None:
    """Refuse to fit for BOLD where betas would not mean what estimates from BOLD do.

    Raises
    ------
    BoldError
    """
    if not isinstance(data, BoldDataSet):
        raise BoldError(f"{data.root}: --kind bold reads NSD's BOLD series; of a BIDS folder give --betas bold instead")
    if config.fit.z_score != "none":
        raise BoldError(f"--z-score {config.fit.z_score} needs a session's end or start; a run of BOLD has neither yet")


def recorded_runs(tree: BoldDataSet, subject: int) -> list[SessionRun]:
    """List a subject's runs with BOLD series.

    Raises
    ------
    BoldError
        If there is none.
    """
    trials = tree.trials(subject)
    runs = [
        SessionRun(session, run, np.flatnonzero((trials.session == session) & (trials.run == run)))
        for session in np.unique(trials.session).tolist()
        for run in tree.bold_runs(subject, session)
    ]
    if not runs:
        raise BoldError(
            f"subject {subject} has no BOLD time series; simulate some (braind simulate --bold-sessions 2) or download "
            "nsddata_timeseries"
        )
    return runs


def read_run(tree: BoldDataSet, subject: int, recorded: SessionRun, voxel_index: Array) -> FinishedRun:
    """Read a run's chosen voxels."""
    signal = tree.bold_signal(subject, recorded.session, recorded.run, voxel_index)
    return FinishedRun(signal.voxels, signal.onsets_s, signal.tr_s, signal.motion, signal.durations_s, signal.index)


def learn_prior(tree: BoldDataSet, subject: int, voxel_index: Array, report: Report | None = None) -> BoldPrior:
    """Learn a subject's prior from a few runs, spread over all."""
    chosen = prior_runs(tree, subject)
    read = [read_run(tree, subject, recorded, voxel_index) for recorded in chosen]
    prior = fit_prior(read, report)
    mean_volume = np.mean([tree.bold_mean(subject, one.session, one.run) for one in chosen], axis=0)
    mean_signal = mean_volume.reshape(-1)[voxel_index]
    lowest = min(spatial_correlation(volume, mean_signal) for run in read for volume in run.volumes)
    return with_reference(prior, mean_volume, voxel_index, lowest)


def prior_runs(tree: BoldDataSet, subject: int) -> list[SessionRun]:
    """Choose the runs that priors are learned from."""
    runs = recorded_runs(tree, subject)
    return [runs[n] for n in np.unique(np.linspace(0, len(runs) - 1, N_PRIOR_RUNS).round().astype(int))]


def read_bold_trials(data: BoldDataSet, subject: int, voxel_index: Array) -> tuple[Trials, Array, BoldPrior]:
    """Learn the prior of a subject whose responses all come from BOLD, and estimate the trials with it.

    Returns
    -------
    trials : those of which a final estimate could be made
    voxels : array of shape (n_trials, n_voxels), float32, % signal change
    prior : BoldPrior
    """
    with progress_bar("learning from BOLD runs") as report:
        prior = learn_prior(data, subject, voxel_index, report)
    with progress_bar("estimating trials from BOLD") as report:
        estimates = final_estimates(data, subject, voxel_index, prior, report)
    return data.trials(subject).of(estimates.rows), estimates.voxels, prior


def final_estimates(
    tree: BoldDataSet, subject: int, voxel_index: Array, prior: BoldPrior, report: Report | None = None
) -> BoldTrials:
    """Estimate every trial with BOLD from the volumes up to its final estimate.

    Raises
    ------
    BoldError
        If no run goes on long enough for an estimate.
    """
    rows, voxels = [], []
    for row, estimate in _estimated(tree, subject, voxel_index, prior, report):
        if estimate.is_final:
            rows.append(row)
            voxels.append(estimate.betas)
    if not rows:
        raise BoldError(f"subject {subject}: no BOLD series goes on for 4 s after a picture's onset; give longer runs")
    return BoldTrials(np.array(rows), np.stack(voxels))


def estimates_after(
    tree: BoldDataSet, subject: int, voxel_index: Array, prior: BoldPrior, delays_s: tuple[float, ...],
    wanted: Array, report: Report | None = None,
) -> dict[str, BoldTrials]:  # fmt: skip
    """Estimate trials as known so many seconds after onset, and finally.

    Parameters
    ----------
    wanted : array of shape (n_trials_of_subject,), bool

    Returns
    -------
    estimates : by "4.0", … and "final"; after a delay, those of the first volume that is so late
    """
    found: dict[str, dict[int, Array]] = {str(delay_s): {} for delay_s in delays_s} | {"final": {}}
    for row, estimate in _estimated(tree, subject, voxel_index, prior, report):
        if not wanted[row]:
            continue
        for delay_s in delays_s:
            if estimate.since_onset_s >= delay_s:
                found[str(delay_s)].setdefault(row, estimate.betas)
        if estimate.is_final:
            found["final"][row] = estimate.betas
    # the same trials at every delay: a run's last ones may have ended before the longest
    common = sorted(set.intersection(*(set(by_row) for by_row in found.values())))
    if not common:
        raise BoldError(f"subject {subject}: no trial to score has a BOLD series that goes on for {max(delays_s)} s")
    return {
        name: BoldTrials(np.array(common), np.stack([by_row[row] for row in common])) for name, by_row in found.items()
    }


def _estimated(
    tree: BoldDataSet, subject: int, voxel_index: Array, prior: BoldPrior, report: Report | None
) -> Iterator[tuple[int, Any]]:
    runs = recorded_runs(tree, subject)
    for n, recorded in enumerate(runs):
        for estimate in estimates_of(read_run(tree, subject, recorded, voxel_index), prior):
            if estimate.event_number < len(recorded.rows):  # the others showed no picture
                yield int(recorded.rows[estimate.event_number]), estimate
        if report:
            report("estimating trials from BOLD", n + 1, len(runs))
