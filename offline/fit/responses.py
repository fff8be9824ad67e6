"""Reads the responses for a fit in the chosen ROIs: betas, or causal estimates from BOLD."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...arrays import Array
from ...choices import Kind
from ...client.datasets.bids.folder import BOLD
from ...client.datasets.data_set import BoldDataSet, DataSet, DataSetError, Trials
from ...config import Config
from ...models.weights.roi import union_index
from ..data_sets import read_trials
from ..progress import progress_bar
from .recorded_sessions import RecordedSessions

if TYPE_CHECKING:
    from ...models.bold.responses import Responses
    from ...models.weights.bold_prior import BoldPrior
    from .bold import BoldTrials


N_COMPARED = 20  # principal components of z, and of c
RESPONSE_WORDS = {
    "bold": "causal estimates from BOLD",
    "betas": "betas with the voxels' mean and spread of causal estimates from BOLD",
    "both": "causal estimates from BOLD, and betas with those estimates' mean and spread where there is no BOLD",
}


@dataclass(frozen=True, eq=False)
class RecordedResponses:
    """Single-trial responses of a subject, for training and held-out pictures.

    Parameters
    ----------
    voxel_index, z_positions, c_positions : arrays of int64
        From `union_index`.
    trials : Trials
        Trials of training and held-out pictures.
    voxels : array of shape (n_trials, n_voxels), float32
        % signal change, or z-scored within the session.
    prior : BoldPrior, optional
        The subject's BOLD prior; only for weights of kind bold.
    estimates : BoldTrials, optional
        Causal estimates of the trials with BOLD; only if `voxels` are betas.
    """

    voxel_index: Array
    z_positions: Array
    c_positions: Array
    trials: Trials
    voxels: Array
    prior: "BoldPrior | None" = None
    estimates: "BoldTrials | None" = None

    @property
    def training_ids(self) -> Array:
        """Return the training pictures' numbers, rising: (n_pictures,) int."""
        return np.unique(self.trials.nsd_id[~self.trials.is_shared])

    @property
    def held_out_ids(self) -> Array:
        """Return the held-out pictures' numbers, rising: (n_held_out,) int."""
        return np.unique(self.trials.nsd_id[self.trials.is_shared])


def read_responses(config: Config, tree: DataSet, subject: int, kind: Kind) -> RecordedResponses:
    """Read a subject's responses, of betas or of BOLD.

    Raises
    ------
    RoiError, BoldError
    DataSetError
        If no trial shows a training picture, or no trial shows a held-out picture. Recorded sessions need no held-out
        picture.
    """
    from .bold import check_bold, read_bold

    if kind == "bold":
        check_bold(config, tree)
    masks = [tree.roi_mask(subject, list(rois)) for rois in (config.fit.z_rois, config.fit.c_rois)]
    index = union_index(*masks)
    _check_split(tree, subject, tree.trials(subject).is_shared)
    betas = None
    if kind == "beta" or tree.estimates != BOLD:
        betas = read_trials(tree, subject, index[0], config.fit.z_score)
        if kind == "beta":
            return RecordedResponses(*index, *betas)
    assert isinstance(tree, BoldDataSet)
    with progress_bar("learning from BOLD runs") as report:
        prior, estimates = read_bold(tree, subject, index[0], report)
    if betas is not None:
        return RecordedResponses(*index, *betas, prior, estimates)
    trials = tree.trials(subject).of(estimates.rows)
    _check_split(tree, subject, trials.is_shared)
    return RecordedResponses(*index, trials, estimates.voxels, prior)


def training_responses(recorded: RecordedResponses, z: Array, c: Array) -> "tuple[Responses, str]":
    """Choose the training responses for the fit, and describe them for the model card.

    Parameters
    ----------
    z, c : arrays of shape (n_pictures, ...), float
        Targets of `recorded.training_ids`. Weights for BOLD are fitted on the responses that predict z and c best.
    """
    from ...models.bold.responses import Responses, choose_responses
    from ...models.ridge.picture_prior import principal_components

    trained = ~recorded.trials.is_shared
    picture_of_trial = np.searchsorted(recorded.training_ids, recorded.trials.nsd_id[trained])
    responses = Responses(recorded.voxels[trained], picture_of_trial)
    estimates = recorded.estimates
    if estimates is None:
        return responses, RESPONSE_WORDS["bold"] if recorded.prior else ""
    kept = trained[estimates.rows]
    # Rows of all trials become rows of the training trials.
    rows = (np.cumsum(trained) - 1)[estimates.rows[kept]]
    bold = Responses(estimates.voxels[kept], picture_of_trial[rows])
    targets = [principal_components(features.reshape(len(features), -1)).scores[:, :N_COMPARED] for features in (z, c)]
    responses, name, compared = choose_responses(responses, bold, rows, np.concatenate(targets, axis=1))
    scores = ", ".join(f"{name} {score:.3f}" for name, score in compared.items())
    words = RESPONSE_WORDS[name] + (f" (correlation for pictures left out: {scores})" if compared else "")
    return responses, words


def _check_split(tree: DataSet, subject: int, is_test: Array) -> None:
    """Refuse trials without training pictures or held-out pictures. Recorded sessions may lack held-out pictures."""
    may_lack_test = isinstance(tree, RecordedSessions)
    for n, what in ((is_test.sum() or may_lack_test, "held-out"), ((~is_test).sum(), "training")):
        if not n:
            raise DataSetError(
                f"subject {subject} of {tree.root} has no trial of a {what} picture in the chosen sessions: "
                "choose other sessions, or another split"
            )
