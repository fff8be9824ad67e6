"""Reads a subject's recorded trials, with the single-trial responses that the ridge uses."""

import numpy as np

from ...arrays import Array
from ...choices import ZScore
from ...client.datasets.bids.folder import BOLD
from ...client.datasets.data_set import BoldDataSet, DataSet, DataSetError, Trials
from ...models.session_scaling import z_score_sessions
from ...models.weights.bold_prior import BoldPrior
from ..progress import progress_bar
from .bold import final_estimates


def read_trials(
    data: DataSet, subject: int, voxel_index: Array, z_score: ZScore, prior: BoldPrior | None = None
) -> tuple[Trials, Array]:
    """Read a subject's trials of the chosen sessions, and their voxels: (n_trials, n_voxels) float32.

    Voxels are % signal change, or z-scored within the session: a training trial by training trials, a held-out trial by
    all trials. Responses that a data set estimates from BOLD are final estimates. Trials without an estimate are left
    out.

    Parameters
    ----------
    prior : BoldPrior, optional
        The prior of the weights; estimates from BOLD need it.

    Raises
    ------
    BoldError
        If no run goes on long enough for an estimate.
    DataSetError
        If the responses are estimated from BOLD, and there is no prior or they are to be z-scored.
    """
    trials = data.trials(subject)
    if data.estimates == BOLD:
        assert isinstance(data, BoldDataSet)
        if prior is None or z_score != "none":
            raise DataSetError(
                f"{data.root} is read for its BOLD: its responses need weights with a BOLD prior, and no z-scores "
                "within sessions; fit again with --betas bold"
            )
        with progress_bar("estimating trials from BOLD") as report:
            estimates = final_estimates(data, subject, voxel_index, prior, report)
        return trials.of(estimates.rows), estimates.voxels
    sessions = [int(session) for session in np.unique(trials.session)]
    with progress_bar("reading betas"):
        voxels = data.masked_betas(subject, sessions, voxel_index)
    scaled = z_score_sessions(voxels, trials.session, z_score)
    if z_score != "none":
        trained = ~trials.is_shared
        scaled[trained] = z_score_sessions(voxels[trained], trials.session[trained], z_score)
    return trials, scaled
