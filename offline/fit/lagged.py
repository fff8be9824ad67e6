"""Fits the lagged ridge on a subject's recorded BOLD runs, and makes the windows that it decodes."""

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ...arrays import Array
from ...client.datasets.data_set import BoldDataSet
from ...models.bold.lagged_ridge import LaggedRidge
from ...models.bold.windows import (
    FINAL_WINDOW_S,
    N_LAGS,
    last_volumes,
    normalised,
    signal_std_of,
    window_positions,
    windows,
)
from ...models.weights.weights import Weights
from ..progress import progress_bar
from .bold import SECONDS_AFTER_ONSET, BoldTrials, Report, SubjectRuns

if TYPE_CHECKING:
    from ...models.fit_profiles import FitSettings
    from ...models.ridge.training_trials import TrainingTrials


DELAYS_S = {str(delay_s): delay_s for delay_s in SECONDS_AFTER_ONSET} | {"final": FINAL_WINDOW_S}


def fit_lagged(
    tree: BoldDataSet, subject: int, weights: Weights, training: "TrainingTrials", settings: "FitSettings"
) -> LaggedRidge:
    """Fit a decoder for each delay, on the training trials with BOLD.

    Parameters
    ----------
    weights : Weights
        The subject's weights for BOLD: their voxels are used.
    training : TrainingTrials
        The weights' training trials: their z and c are used, by rising 73k id.
    settings : FitSettings
    """
    from ...models.ridge.fit_maps import fit_maps

    training_runs = SubjectRuns(tree, subject, weights.voxel_index).read_training()
    trials, signal_std = tree.trials(subject), signal_std_of(training_runs)
    picture_ids = np.unique(trials.nsd_id[~trials.is_shared])
    columns = {
        "voxel_index": np.tile(weights.voxel_index, N_LAGS),
        "z_positions": window_positions(weights.z.positions, len(signal_std)),
        "c_positions": window_positions(weights.c.positions, len(signal_std)),
    }
    card = msgspec.structs.replace(weights.card, fitted_on="windows of the last volumes, normalised causally")
    maps, scores = {}, {}
    for delay, delay_s in DELAYS_S.items():
        at_delay = {delay: delay_s}
        found = windows_after(tree, subject, weights.voxel_index, signal_std, at_delay, ~trials.is_shared)[delay]
        picture_of_trial = np.searchsorted(picture_ids, trials.nsd_id[found.rows])
        windows_of_delay = replace(training, voxels=found.voxels, picture_of_trial=picture_of_trial, **columns)
        with progress_bar("fitting the lagged ridge") as report:
            fitted = fit_maps(
                windows_of_delay,
                card,
                settings,
                progress=lambda target, share, words=delay: report(f"{words}, {target}", round(1000 * share), 1000),
            )
        maps[delay] = fitted.maps
        scores |= {f"{delay}_{name}": score for name, score in fitted.summary["scores"].items()}
    return LaggedRidge(msgspec.structs.replace(card, scores=scores), signal_std, maps)


def windows_after(
    tree: BoldDataSet,
    subject: int,
    voxel_index: Array,
    signal_std: Array,
    delays_s: dict[str, float],
    wanted: Array,
    report: Report | None = None,
) -> dict[str, BoldTrials]:
    """Return the windows that end at delays after onset, by delay, with rows rising.

    Parameters
    ----------
    delays_s : dict of float
        Delays in seconds, by name.
    wanted : array of shape (n_trials_of_subject,), bool
        The trials whose windows are made.

    Returns
    -------
    windows : dict of BoldTrials
        `voxels` holds the windows: (n_trials, N_LAGS * n_voxels) float32.
    """
    rows, found = {delay: [] for delay in delays_s}, {delay: [] for delay in delays_s}
    runs = SubjectRuns(tree, subject, voxel_index)
    for of_run, run in zip(runs.trials, runs.read(report, "reading BOLD runs"), strict=True):
        rows_of_run = of_run.rows
        volumes = normalised(run, signal_std)
        for delay, delay_s in delays_s.items():
            last = {
                int(rows_of_run[event]): number
                for event, number in last_volumes(run, delay_s).items()
                # Onsets without a picture come after the trials.
                if event < len(rows_of_run) and wanted[rows_of_run[event]]
            }
            if last:
                rows[delay].extend(last)
                found[delay].append(windows(volumes, list(last.values())))
    return {delay: BoldTrials(np.array(rows[delay]), np.concatenate(found[delay])) for delay in delays_s}
