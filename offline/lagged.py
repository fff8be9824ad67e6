"""The lagged ridge on a subject's recorded BOLD runs: fitting it, and the windows of trials that it is scored on."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..client.data_set import BoldDataSet
from ..models.estimator import FINAL_ESTIMATE_S
from ..models.lagged import last_volumes, normalised, signal_std_of, window_positions, windows
from ..models.lagged_ridge import LaggedRidge
from ..models.weights import Weights
from .bold import SECONDS_AFTER_ONSET, BoldTrials, Report, prior_runs, read_run, recorded_runs
from .progress import progress_bar

if TYPE_CHECKING:
    from ..models.fit_profiles import FitProfile

Array = NDArray[Any]

DELAYS_S = {str(delay_s): delay_s for delay_s in SECONDS_AFTER_ONSET} | {"final": FINAL_ESTIMATE_S}


def fit_lagged(
    tree: BoldDataSet,
    subject: int,
    weights: Weights,
    z: Array,
    c: Array,
    profile: "FitProfile",
    max_discarded_variance: float,
    work: Path,
    device: str,
) -> LaggedRidge:
    """Fit a decoder for each delay, on the trials with BOLD of pictures that are not held out.

    Parameters
    ----------
    weights : the subject's for BOLD: which voxels, and what they were fitted on
    z, c : arrays of shape (n_pictures, ...), float
        Of the pictures that are not held out, by rising 73k id.
    """
    from ..models.fit_maps import fit_maps

    trials = tree.trials(subject)
    picture_ids = np.unique(trials.nsd_id[~trials.is_shared])
    signal_std = signal_std_of([read_run(tree, subject, one, weights.voxel_index) for one in prior_runs(tree, subject)])
    z_positions, c_positions = (window_positions(part.positions, len(signal_std)) for part in (weights.z, weights.c))
    card = msgspec.structs.replace(weights.card, fitted_on="windows of the last volumes, normalised causally")
    maps, scores = {}, {}
    for delay, delay_s in DELAYS_S.items():
        found = windows_after(tree, subject, weights.voxel_index, signal_std, {delay: delay_s}, ~trials.is_shared)[
            delay
        ]
        with progress_bar("fitting the lagged ridge") as report:
            fitted = fit_maps(
                found.voxels, z_positions, c_positions, np.searchsorted(picture_ids, trials.nsd_id[found.rows]),
                z, c, card, profile, max_discarded_variance,
                progress=lambda target, share, words=delay: report(f"{words}, {target}", round(1000 * share), 1000),
                work=work,
                device=device,
            )  # fmt: skip
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
    """Return trials' windows that end so many seconds after onset, by delay: rows rising, and windows for voxels.

    Parameters
    ----------
    wanted : array of shape (n_trials_of_subject,), bool
    """
    rows, found = {delay: [] for delay in delays_s}, {delay: [] for delay in delays_s}
    runs = recorded_runs(tree, subject)
    for n, recorded in enumerate(runs):
        run = read_run(tree, subject, recorded, voxel_index)
        volumes = normalised(run, signal_std)
        for delay, delay_s in delays_s.items():
            last = {
                int(recorded.rows[event]): number
                for event, number in last_volumes(run, delay_s).items()
                if event < len(recorded.rows) and wanted[recorded.rows[event]]  # the others showed no picture
            }
            if last:
                rows[delay].extend(last)
                found[delay].append(windows(volumes, list(last.values())))
        if report:
            report("reading BOLD runs", n + 1, len(runs))
    return {delay: BoldTrials(np.array(rows[delay]), np.concatenate(found[delay])) for delay in delays_s}
