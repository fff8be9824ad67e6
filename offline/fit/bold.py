"""A subject's recorded BOLD runs: the prior learned from them, and the trials' causal estimates."""

import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ...arrays import Array
from ...client.datasets.data_set import BoldDataSet, Trials
from ...config import Config
from ...errors import BraindError
from ...models.bold.finished_run import FinishedRun, estimates_of
from ...models.bold.fit_prior import final_estimates_of, learn_prior
from ...models.bold.label_decoder import N_PRIOR_RUNS, spread
from ...models.weights.bold_prior import BoldPrior

log = logging.getLogger(__name__)

Report = Callable[[str, int, int], None]

N_LABELLED_RUNS = 12
"""Runs whose classes choose the baseline's freedom."""
MAX_NAMED = 5
"""A warning names at most so many trials."""
SECONDS_AFTER_ONSET = (4.0, 6.0, 8.0, 10.0)
"""Delays at which trials are scored, besides the final estimate."""


class BoldError(BraindError):
    """A data set lacks the BOLD series that a command needs."""

    code = "bold"


class RunTrials(NamedTuple):
    """A run with BOLD: `rows` (n_trials,) are its trials' rows among all trials of the subject, by event.

    `has_test_trials` says whether a trial of the run is held out.
    """

    session: int
    run: int
    rows: Array
    has_test_trials: bool


class BoldTrials(NamedTuple):
    """Final estimates: `rows` (n_trials,) among all trials of the subject, `voxels` (n_trials, n_voxels) float32, %."""

    rows: Array
    voxels: Array


class SubjectRuns:
    """A subject's runs with BOLD, in chosen voxels. Each run is read when it is needed, and then dropped.

    Parameters
    ----------
    tree : BoldDataSet
    subject : int
    voxel_index : array of shape (n_voxels,), int64

    Raises
    ------
    BoldError
        If the subject has no run with BOLD.
    """

    def __init__(self, tree: BoldDataSet, subject: int, voxel_index: Array) -> None:
        self._tree, self._subject, self._voxel_index = tree, subject, voxel_index
        self._of_subject = trials = tree.trials(subject)
        self.trials: list[RunTrials] = []
        for session in np.unique(trials.session).tolist():
            for run in tree.bold_runs(subject, session):
                rows = np.flatnonzero((trials.session == session) & (trials.run == run))
                self.trials.append(RunTrials(session, run, rows, bool(trials.is_shared[rows].any())))
        if not self.trials:
            raise BoldError(
                f"subject {subject} has no BOLD time series; simulate some (braind simulate --bold-sessions 2) or "
                "download nsddata_timeseries"
            )

    def read(self, report: Report | None = None, words: str = "estimating trials from BOLD") -> Iterator[FinishedRun]:
        """Yield the runs; after each run, report how many runs are done."""
        for n, run in enumerate(self.trials):
            yield self._read(run)
            if report:
                report(words, n + 1, len(self.trials))

    def read_training(self) -> list[FinishedRun]:
        """Read the few runs that priors are learned from."""
        return [self._read(run) for run in self.training]

    def training_mean(self) -> Array:
        """Return the mean volume of the runs that priors are learned from: (X, Y, Z) float32."""
        return np.mean([self._tree.bold_mean(self._subject, run.session, run.run) for run in self.training], axis=0)

    @property
    def training(self) -> list[RunTrials]:
        """The training runs, spread evenly over the runs without test trials.

        If every run has test trials, as in NSD's split by pictures, they are at most half of all runs. The test trials
        of the other runs can be scored.
        """
        without = self._without_test_trials
        n_runs = min(N_PRIOR_RUNS, len(without) or max(len(self.trials) // 2, 1))
        return spread(without or self.trials, n_runs)

    @property
    def _without_test_trials(self) -> list[RunTrials]:
        return [run for run in self.trials if len(run.rows) and not run.has_test_trials]

    @property
    def training_numbers(self) -> tuple[tuple[int, int], ...]:
        """The session and run of each training run."""
        return tuple((run.session, run.run) for run in self.training)

    def _read(self, run: RunTrials) -> FinishedRun:
        signal = self._tree.bold_signal(self._subject, run.session, run.run, self._voxel_index)
        trials = self._of_subject.of(run.rows)
        # The classes of held-out trials are nobody's to learn from.
        labels = tuple(np.where(trials.is_shared, "", trials.label).tolist())
        return FinishedRun(
            signal.voxels, signal.onsets_s, signal.tr_s, signal.motion, signal.durations_s, signal.index, labels
        )

    def read_labelled(self) -> list[FinishedRun]:
        """Read the runs with training trials whose class is known."""
        return [self._read(run) for run in self._labelled(self.trials)]

    def read_baseline(self) -> list[FinishedRun]:
        """Read the runs whose classes choose the prior's baseline: no run that may be scored."""
        labelled = self._labelled(self._without_test_trials or self.training)
        return [self._read(run) for run in spread(labelled, N_LABELLED_RUNS)]

    def _labelled(self, runs: list[RunTrials]) -> list[RunTrials]:
        is_labelled = (self._of_subject.label != "") & ~self._of_subject.is_shared
        return [run for run in runs if is_labelled[run.rows].any()]

    def estimates(self, prior: BoldPrior, report: Report | None = None) -> Iterator[BoldTrials]:
        """Yield each run's final estimates; onsets without a picture or a class are left out.

        A warning names the trials that have no estimate.

        Raises
        ------
        BoldError
            If no run goes on long enough for an estimate.
        """
        missing: list[int] = []
        for of_run, run in zip(self.trials, self.read(report), strict=True):
            event_number, betas = final_estimates_of(run, prior)
            # Onsets that are no trials come after the trials.
            is_trial = event_number < len(of_run.rows)
            rows = of_run.rows[event_number[is_trial]]
            missing += np.setdiff1d(of_run.rows, rows).tolist()
            yield BoldTrials(rows, betas[is_trial])
        self._report_missing(missing)

    def _report_missing(self, rows: list[int]) -> None:
        n_trials = sum(len(run.rows) for run in self.trials)
        if len(rows) == n_trials:
            raise BoldError(
                f"subject {self._subject}: no BOLD series goes on for 4 s after a trial's onset; give longer runs, or "
                "onsets in seconds after the first volume"
            )
        missing = self._of_subject.of(np.array(rows, np.int64))
        named = [
            f"session {session}, run {run}, {onset_s:.1f} s"
            for session, run, onset_s in zip(missing.session, missing.run, missing.onset_s, strict=True)
        ]
        if named:
            more = f"; and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
            log.warning(
                "subject %d: %d of %d trials are left out, because no volume of the run shows the response from 4 s "
                "after the onset: %s%s", self._subject, len(named), n_trials, "; ".join(named[:MAX_NAMED]), more,
            )  # fmt: skip


def check_bold(config: Config) -> None:
    """Refuse settings with which weights for BOLD cannot be fitted.

    Raises
    ------
    BoldError
        If responses are to be z-scored within sessions.
    """
    if config.fit.z_score != "none":
        raise BoldError(f"--z-score {config.fit.z_score} needs a session's end or start; a run of BOLD has neither yet")


class LearnedPrior(NamedTuple):
    """A subject's prior, the session and run of each run that it was learned from, and the runs' TR in s."""

    prior: BoldPrior
    runs: tuple[tuple[int, int], ...]
    tr_s: float


def read_prior(tree: BoldDataSet, subject: int, voxel_index: Array, report: Report | None = None) -> LearnedPrior:
    """Learn a subject's prior from the runs that `SubjectRuns.training` chooses."""
    runs = SubjectRuns(tree, subject, voxel_index)
    training = runs.read_training()
    prior = learn_prior(training, runs.training_mean(), voxel_index, report, runs.read_baseline())
    return LearnedPrior(prior, runs.training_numbers, training[0].tr_s)


def read_bold(
    tree: BoldDataSet, subject: int, voxel_index: Array, report: Report | None = None
) -> tuple[LearnedPrior, BoldTrials]:
    """Learn a subject's prior, and make the final estimate of every trial with BOLD."""
    learned = read_prior(tree, subject, voxel_index, report)
    return learned, final_estimates(tree, subject, voxel_index, learned.prior, report)


def is_of_runs(trials: Trials, runs: tuple[tuple[int, int], ...]) -> Array:
    """Return which trials are of these runs, each a session and a run: (n_trials,) bool."""
    found = np.zeros(len(trials), bool)
    for session, run in runs:
        found |= (trials.session == session) & (trials.run == run)
    return found


def final_estimates(
    tree: BoldDataSet, subject: int, voxel_index: Array, prior: BoldPrior, report: Report | None = None
) -> BoldTrials:
    """Make the final estimate of every trial with BOLD.

    Raises
    ------
    BoldError
        If no run goes on long enough for an estimate.
    """
    rows, voxels = zip(*SubjectRuns(tree, subject, voxel_index).estimates(prior, report), strict=True)
    return BoldTrials(np.concatenate(rows), np.concatenate(voxels))


def estimates_after(
    tree: BoldDataSet, subject: int, voxel_index: Array, prior: BoldPrior, delays_s: tuple[float, ...],
    wanted: Array, report: Report | None = None,
) -> dict[str, BoldTrials]:  # fmt: skip
    """Estimate trials at delays after onset, and finally.

    Parameters
    ----------
    delays_s : tuple of float
    wanted : array of shape (n_trials_of_subject,), bool
        The trials to estimate.

    Returns
    -------
    estimates : dict
        By "4.0", … and "final". An estimate at a delay is made with the first volume at least so long after onset.

    Raises
    ------
    BoldError
        If no wanted trial has an estimate at every delay.
    """
    found: dict[str, dict[int, Array]] = {str(delay_s): {} for delay_s in delays_s} | {"final": {}}
    runs = SubjectRuns(tree, subject, voxel_index)
    for of_run, run in zip(runs.trials, runs.read(report), strict=True):
        rows = of_run.rows
        for estimate in estimates_of(run, prior):
            # Onsets without a picture come after the trials.
            if estimate.event_number >= len(rows) or not wanted[rows[estimate.event_number]]:
                continue
            row = int(rows[estimate.event_number])
            for delay_s in delays_s:
                if estimate.since_onset_s >= delay_s:
                    found[str(delay_s)].setdefault(row, estimate.betas)
            if estimate.is_final:
                found["final"][row] = estimate.betas
    # Keep the trials with an estimate at every delay: a run may end before its last trials' longest delay.
    common = sorted(set.intersection(*(set(by_row) for by_row in found.values())))
    if not common:
        raise BoldError(f"subject {subject}: no trial to score has a BOLD series that goes on for {max(delays_s)} s")
    return {
        name: BoldTrials(np.array(common), np.stack([by_row[row] for row in common])) for name, by_row in found.items()
    }
