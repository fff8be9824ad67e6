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
from ..data_sets import kind_of
from ..progress import progress_bar
from .recorded_sessions import RecordedSessions
from .trials import read_trials

if TYPE_CHECKING:
    from ...models.bold.responses import Responses
    from .bold import BoldTrials, LearnedPrior


N_COMPARED = 20  # principal components of z, and of c
RESPONSE_WORDS = {
    "bold": "causal estimates from BOLD",
    "betas": "betas with the voxels' mean and spread of causal estimates from BOLD",
    "both": "causal estimates from BOLD, and betas with those estimates' mean and spread where there is no BOLD",
}


@dataclass(frozen=True, eq=False)
class RecordedResponses:
    """Single-trial responses of a subject, for training and held-out trials.

    Parameters
    ----------
    voxel_index, z_positions, c_positions : arrays of int64
        From `union_index`.
    trials : Trials
        Training and held-out trials.
    voxels : array of shape (n_trials, n_voxels), float32
        % signal change, or z-scored within the session.
    learned : LearnedPrior, optional
        The subject's BOLD prior; only for weights of kind bold.
    estimates : BoldTrials, optional
        Causal estimates of the trials with BOLD; only if `voxels` are betas.
    """

    voxel_index: Array
    z_positions: Array
    c_positions: Array
    trials: Trials
    voxels: Array
    learned: "LearnedPrior | None" = None
    estimates: "BoldTrials | None" = None

    @property
    def trained(self) -> Array:
        """Return which trials show a picture and are not held out: (n_trials,) bool."""
        return ~self.trials.is_shared & self.trials.has_picture

    @property
    def training_ids(self) -> Array:
        """Return the training trials' pictures, rising: (n_pictures,) int."""
        return np.unique(self.trials.nsd_id[self.trained])

    @property
    def held_out_ids(self) -> Array:
        """Return the held-out trials' pictures, rising: (n_held_out,) int."""
        return np.unique(self.trials.nsd_id[self.trials.is_shared & self.trials.has_picture])


def read_responses(config: Config, tree: DataSet, subject: int, kind: Kind) -> RecordedResponses:
    """Read a subject's responses, of betas or of BOLD.

    Raises
    ------
    RoiError, BoldError
    DataSetError
        If no trial is a training trial, or none is held out. Recorded sessions and data sets without pictures need no
        held-out trial.
    """
    from .bold import check_bold, read_bold

    if isinstance(tree, RecordedSessions) and config.dataset.test_runs:
        raise DataSetError(
            f"--test-runs {config.dataset.test_runs} holds out runs of NSD and BIDS folders; for sessions, name "
            "held-out pictures in the column split of --captions"
        )
    if kind_of(tree, kind) == "bold":
        check_bold(config)
    masks = [tree.roi_mask(subject, list(rois)) for rois in (config.fit.z_rois, config.fit.c_rois)]
    index = union_index(*masks)
    _check_split(tree, subject, tree.trials(subject))
    betas = None
    if tree.estimates != BOLD:
        betas = read_trials(tree, subject, index[0], config.fit.z_score)
        if kind == "beta":
            return RecordedResponses(*index, *betas)
    assert isinstance(tree, BoldDataSet)
    with progress_bar("learning from BOLD runs") as report:
        learned, estimates = read_bold(tree, subject, index[0], report)
    if betas is not None:
        return RecordedResponses(*index, *betas, learned, estimates)
    trials = tree.trials(subject).of(estimates.rows)
    _check_split(tree, subject, trials)
    return RecordedResponses(*index, trials, estimates.voxels, learned)


def training_responses(recorded: RecordedResponses, z: Array, c: Array) -> "tuple[Responses, str]":
    """Choose the training responses for the fit, and describe them for the model card.

    Parameters
    ----------
    z, c : arrays of shape (n_pictures, ...), float
        Targets of `recorded.training_ids`. Weights for BOLD are fitted on the responses that predict z and c best.
    """
    from ...models.bold.responses import Responses, choose_responses
    from ...models.ridge.picture_prior import principal_components

    trained = recorded.trained
    picture_of_trial = np.searchsorted(recorded.training_ids, recorded.trials.nsd_id[trained])
    responses = Responses(recorded.voxels[trained], picture_of_trial)
    estimates = recorded.estimates
    if estimates is None:
        return responses, RESPONSE_WORDS["bold"] if recorded.learned else ""
    kept = trained[estimates.rows]
    # Rows of all trials become rows of the training trials.
    rows = (np.cumsum(trained) - 1)[estimates.rows[kept]]
    bold = Responses(estimates.voxels[kept], picture_of_trial[rows])
    targets = [principal_components(features.reshape(len(features), -1)).scores[:, :N_COMPARED] for features in (z, c)]
    responses, name, compared = choose_responses(responses, bold, rows, np.concatenate(targets, axis=1))
    scores = ", ".join(f"{name} {score:.3f}" for name, score in compared.items())
    words = RESPONSE_WORDS[name] + (f" (correlation for pictures left out: {scores})" if compared else "")
    return responses, words


def _check_split(tree: DataSet, subject: int, trials: Trials) -> None:
    """Refuse trials without a training trial or a held-out trial.

    Recorded sessions may lack held-out trials, and so may trials without pictures: all runs then train the classes.
    """
    is_test = trials.is_shared
    may_lack_test = isinstance(tree, RecordedSessions) or not trials.has_picture.any()
    for n, what in ((is_test.sum() or may_lack_test, "held-out"), ((~is_test).sum(), "training")):
        if not n:
            raise DataSetError(
                f"subject {subject} of {tree.root} has no {what} trial in the chosen sessions: choose other sessions, "
                "another split of the pictures, or other runs with --test-runs"
            )
