"""At the end of a run the causal estimates are what a general linear model of the whole run gives."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braind.models.bold_prior import BoldPrior
from braind.models.causal import CausalEstimator
from braind.models.streaming import response

TR_S = 4 / 3
N_VOLUMES, N_VOXELS = 226, 60


@pytest.fixture(scope="module")
def run():
    """NSD's timing: a trial every 4 s, some left out, noise and a slow drift: volumes (226, 60), onsets."""
    rng = np.random.default_rng(3)
    slots = np.sort(rng.choice(np.arange(3, 72), 54, replace=False))
    times_s = np.arange(N_VOLUMES) * TR_S
    percent = sum(np.outer(response(times_s - slot * 4.0, 3.0), rng.normal(1, 1, N_VOXELS)) for slot in slots)
    drift = np.cos(np.pi * np.outer((np.arange(N_VOLUMES) + 0.5) / N_VOLUMES, [1, 2])) @ rng.normal(
        0, 0.8, (2, N_VOXELS)
    )
    noise = rng.normal(0, 0.4, (N_VOLUMES, N_VOXELS))
    baseline = rng.uniform(700, 1400, N_VOXELS)
    return (baseline * (1 + (percent + drift + noise) / 100)).astype(np.float32), slots * 4.0


@pytest.mark.filterwarnings("ignore")  # nilearn's, about its own future
def test_estimates_of_a_finished_run_are_those_of_nilearns_first_level_model(run):
    from nilearn.glm.first_level import FirstLevelModel

    volumes, onsets_s = run
    image = nib.Nifti1Image(volumes.T.reshape(N_VOXELS, 1, 1, N_VOLUMES), np.eye(4))
    mask = nib.Nifti1Image(np.ones((N_VOXELS, 1, 1), np.uint8), np.eye(4))
    names = [f"trial_{n:02d}" for n in range(len(onsets_s))]
    events = pd.DataFrame({"onset": onsets_s, "duration": 3.0, "trial_type": names})
    model = FirstLevelModel(
        TR_S, hrf_model="spm", drift_model="cosine", high_pass=0.008, noise_model="ols", mask_img=mask,
        signal_scaling=0, minimize_memory=False,
    ).fit(image, events)  # fmt: skip
    theirs = np.array([model.compute_contrast(name, output_type="effect_size").get_fdata().ravel() for name in names])

    # a drift as free as cosines of up to half a cycle a minute
    prior = replace(BoldPrior.vague(N_VOXELS), slope_variance=1e-4)
    estimator = CausalEstimator(TR_S, prior)
    for event, onset_s in enumerate(onsets_s):
        estimator.add_event(event, onset_s)
    for index, voxels in enumerate(volumes):
        estimator.add_volume(index, voxels)
    ours = np.array([estimator.estimate(event).betas for event in range(len(onsets_s))])
    # the last responses are cut off by the run's end
    seen = onsets_s < N_VOLUMES * TR_S - 12
    assert np.corrcoef(ours[seen].ravel(), theirs[seen].ravel())[0, 1] > 0.99
