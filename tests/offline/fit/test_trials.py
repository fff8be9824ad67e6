"""Recorded trials as the ridge reads them: their scaling, and responses that are estimated from BOLD."""

import numpy as np
import pytest

from braind.client.datasets.data_set import DataSetError
from braind.config import load_config
from braind.models.session_scaling import z_score_sessions
from braind.models.weights.bold_prior import BoldPrior
from braind.offline.data_sets import ensure_tree
from braind.offline.fit.trials import read_trials

VOXELS = np.arange(0, 300, 7)


@pytest.mark.parametrize("z_score", ["full", "causal"])
def test_trials_of_held_out_runs_scale_no_training_trial(small_data, z_score):
    tree = ensure_tree(load_config(None, {"paths": {"data": str(small_data)}, "dataset": {"test_runs": "3,4"}}))
    trials, voxels = read_trials(tree, 1, VOXELS, z_score)
    plain = tree.masked_betas(1, [1], VOXELS)
    spoiled = plain + 100 * trials.is_shared[:, None]
    tree.masked_betas = lambda subject, sessions, voxel_index: spoiled
    _, others = read_trials(tree, 1, VOXELS, z_score)
    assert (others[~trials.is_shared] == voxels[~trials.is_shared]).all()
    assert (voxels[trials.is_shared] == z_score_sessions(plain, trials.session, z_score)[trials.is_shared]).all()


@pytest.mark.parametrize(("prior", "z_score"), [(None, "none"), (BoldPrior.vague(43), "full")])
def test_estimates_from_bold_need_a_prior_and_no_z_scores(small_data, prior, z_score):
    tree = ensure_tree(load_config(None, {"paths": {"data": str(small_data)}}))
    tree.estimates = "bold"
    with pytest.raises(DataSetError, match="its responses need weights with a BOLD prior, and no z-scores"):
        read_trials(tree, 1, VOXELS, z_score, prior)
