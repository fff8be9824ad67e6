"""Opens the data set that the settings name, and reads the single-trial responses that the ridge uses."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Array
from ..choices import ZScore
from ..client.datasets.data_set import BrainDataSet, DataSet, DataSetError, Trials, parse_sessions
from ..client.datasets.nsd.tree import BETAS_VERSION, NsdTree
from ..config import Config, betas_path, nsd_path
from ..models.bold.finished_run import FinishedRun, estimates_of
from ..models.session_scaling import z_score_sessions
from ..models.weights.bold_prior import BoldPrior
from .progress import progress_bar

if TYPE_CHECKING:
    from ..client.datasets.bids.folder import BidsFolder
    from ..models.weights.weights import WeightsCard


def data_set_of(config: Config) -> BrainDataSet:
    """Return the data set of the settings: the BIDS folder if one is set, else the NSD tree."""
    return bids_folder(config) if config.paths.bids else ensure_tree(config)


def ensure_tree(config: Config) -> NsdTree:
    """Return the NSD tree of the settings. Without an NSD folder, the tree is simulated first."""
    root = nsd_path(config)
    if not config.paths.nsd and not (root / "simulated.json").is_file():
        simulate_tree([1, 2], root)
    return NsdTree(
        root,
        betas_version=config.dataset.betas or BETAS_VERSION,
        sessions=parse_sessions(config.dataset.sessions),
        cache=betas_path(config),
    )


def bids_folder(config: Config) -> "BidsFolder":
    """Return the BIDS folder of the settings.

    Raises
    ------
    DataSetError
        If the settings name no task.
    """
    from ..client.datasets.bids.folder import BidsFolder

    settings = config.dataset
    if not settings.task:
        raise DataSetError(f"{config.paths.bids}: say which task is meant, with --task (and the space with --space)")
    return BidsFolder(
        Path(config.paths.bids).expanduser(),
        settings.task,
        settings.space,
        estimates=settings.betas,
        sessions=parse_sessions(settings.sessions),
        cache=betas_path(config),
        estimate_trials=estimate_trials,
    )


def simulate_tree(subjects: list[int], root: Path, n_bold_sessions: int | None = None) -> None:
    """Write the simulated subjects' NSD tree. The last `n_bold_sessions` sessions have BOLD series (default: 2)."""
    from ..models.demo.subject.nsd_tree import TreeSize, simulate

    size = TreeSize() if n_bold_sessions is None else TreeSize(n_bold_sessions=n_bold_sessions)
    with progress_bar("simulating") as report:
        simulate(root, subjects, progress=report, size=size)


def simulate_bids(config: Config, subjects: list[int], root: Path) -> None:
    """Write the simulated subjects of the NSD tree as a BIDS derivative."""
    from .bids_writing import write_bids

    with progress_bar("writing") as report:
        write_bids(ensure_tree(config), subjects, root, report)


def estimate_trials(signal: Array, tr_s: float, onsets_s: Array, durations_s: Array) -> Array:
    """Make a recorded run's final estimates, each from the volumes up to the fall of the trial's response.

    The daemon makes the same estimates during a scan. Weights that are fitted on them decode the same kind of data.

    Parameters
    ----------
    signal : array of shape (n_volumes, n_voxels), float32
    tr_s : float
    onsets_s, durations_s : arrays of shape (n_trials,), seconds

    Returns
    -------
    betas : array of shape (n_trials, n_voxels), float32, % signal change

    Raises
    ------
    ValueError
        If the run ends before a trial has a final estimate.
    """
    run = FinishedRun(np.asarray(signal), np.asarray(onsets_s), tr_s, durations_s=np.asarray(durations_s))
    betas = np.full((len(onsets_s), signal.shape[1]), np.nan, np.float32)
    for estimate in estimates_of(run, BoldPrior.vague(signal.shape[1])):
        if estimate.is_final:
            betas[estimate.event_number] = estimate.betas
    (missing,) = np.nonzero(np.isnan(betas).all(axis=1))
    if len(missing):
        raise ValueError(
            f"the response to the picture at {onsets_s[missing[0]]:.1f} s cannot be told from {len(signal)} volumes: "
            f"set stim_file of these {len(missing)} trials to n/a"
        )
    return betas


def read_trials(data: DataSet, subject: int, voxel_index: Array, z_score: ZScore) -> tuple[Trials, Array]:
    """Read a subject's trials of the chosen sessions, and their voxels: (n_trials, n_voxels) float32.

    Voxels are % signal change, or z-scored within the session. A session's z-scores use its held-out trials too.
    """
    trials = data.trials(subject)
    sessions = [int(session) for session in np.unique(trials.session)]
    with progress_bar("reading betas"):
        voxels = data.masked_betas(subject, sessions, voxel_index)
    return trials, z_score_sessions(voxels, trials.session, z_score)


def check_estimates(card: "WeightsCard", data: DataSet) -> None:
    """Refuse a data set whose responses differ in kind from the weights' training responses.

    Raises
    ------
    DataSetError
    """
    if card.estimates and card.estimates != data.estimates:
        raise DataSetError(
            f"the weights were fitted on {card.estimates}, {data.root} is read for its {data.estimates}: "
            f"give --betas {card.estimates}, or fit again"
        )
