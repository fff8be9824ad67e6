"""Mean responses to pictures from a BIDS folder's BOLD: whole brains, estimated under a prior that is learned here."""

import numpy as np
import pytest
from bids_study import events, study

from braind.client.datasets.bids.folder import BidsFolder
from braind.offline.encode.responses import mean_responses, trials_with_responses, write_mean_responses
from braind.offline.fit.bold import final_estimates, read_prior

SUBJECT = 2


@pytest.fixture
def folder(tmp_path):
    return BidsFolder(study(tmp_path), "look", "MNI", estimates="bold")


def test_means_are_of_estimates_under_a_learned_prior(folder, tmp_path):
    voxels, trials = np.flatnonzero(folder.brainmask(SUBJECT)), folder.trials(SUBJECT)
    ids = np.unique(trials.nsd_id)[:5]
    write_mean_responses(tmp_path / "means", folder, SUBJECT, ids, voxels, lambda *_: None)
    estimates = final_estimates(folder, SUBJECT, voxels, read_prior(folder, SUBJECT, voxels).prior)
    nsd_id = trials.nsd_id[estimates.rows]
    expected = np.stack([estimates.voxels[nsd_id == one].mean(axis=0) for one in ids])
    assert mean_responses(tmp_path / "means", 5) == pytest.approx(expected, abs=1e-5)


def test_a_trial_that_no_volume_shows_is_no_part_of_a_mean(folder, tmp_path):
    path = folder.root / "sub-S02/ses-01/func/sub-S02_ses-01_task-look_run-1_events.tsv"
    events(path, [f"set/p{n % 8}.jpg" for n in range(12)])
    assert len(folder.trials(SUBJECT)) == 30
    # the run has 30 volumes of 1.5 s: the twelfth trial begins when it ends
    rows = trials_with_responses(folder, SUBJECT)
    assert rows.tolist() == [*range(10), *range(12, 30)]
    write_mean_responses(tmp_path / "means", folder, SUBJECT, np.arange(8), np.arange(3), lambda *_: None)
    assert np.isfinite(mean_responses(tmp_path / "means", 8)).all()
