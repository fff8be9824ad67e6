"""Blocks of a person's BOLD: at a run's last volume the causal estimates are nilearn's general linear model's.

The baseline is a line and the prior is flat, as in `test_estimator_nilearn.py`. The model of a response that adapts is
nilearn's of short events, whose amplitudes fall while the block lasts.
"""

import haxby
import numpy as np
import pandas as pd
import pytest

from braind.models.bold.estimator import CausalEstimator
from braind.models.bold.hrf import response
from braind.models.weights.bold_prior import CANONICAL, BoldPrior

pytestmark = [
    pytest.mark.skipif(not haxby.FUNC.is_dir(), reason="haxby-slice is not beside the repository"),
    pytest.mark.filterwarnings("ignore"),  # nilearn's, about its own future
]

ADAPTATION_RATE = 0.1
STEP_S = 0.25
"""Distance of the short events that sample the neural response."""


def read_runs():
    """Return each run's volumes, (n_volumes, n_voxels), in voxels with a mean above 0.3 of the largest, and blocks."""
    import nibabel as nib

    runs, mean = [], 0
    for number in range(1, 13):
        stem = f"sub-01_task-objects_run-{number:02d}"
        image = nib.load(haxby.FUNC / f"{stem}_bold.nii.gz")
        volumes = np.asarray(image.dataobj).reshape(-1, image.shape[-1]).T.astype(np.float32)
        events = pd.read_table(haxby.FUNC / f"{stem}_events.tsv")
        runs.append((volumes, events, float(image.header.get_zooms()[3])))
        mean = mean + volumes.mean(axis=0)
    brain = mean > 0.3 * mean.max()
    return [(volumes[:, brain], events, tr_s) for volumes, events, tr_s in runs]


@pytest.fixture(scope="module")
def runs():
    return read_runs()


def flat_prior(n_voxels, adaptation_rate):
    nothing = np.zeros(n_voxels, np.float32)
    return BoldPrior(
        np.full(n_voxels, CANONICAL), nothing, nothing + 1, amplitude_variance=1e4, drift_variance=0.0,
        slope_variance=0.0, first_slope_variance=1e4, adaptation_rate=adaptation_rate,
    )  # fmt: skip


def causal(volumes, events, tr_s, adaptation_rate):
    """Return each block's betas at the run's last volume: (n_blocks, n_voxels)."""
    estimator = CausalEstimator(tr_s, flat_prior(volumes.shape[1], adaptation_rate))
    for number, (onset_s, duration_s) in enumerate(zip(events.onset, events.duration, strict=True)):
        estimator.add_event(number, onset_s, duration_s)
    for index, voxels in enumerate(volumes):
        estimator.add_volume(index, voxels)
    return np.array([estimator.estimate(number).betas for number in range(len(events))])


def nilearn(volumes, events, tr_s, adaptation_rate):
    """Return each block's effect in the model of the whole run, as a share of the voxel's mean signal."""
    import nibabel as nib
    from nilearn.glm.first_level import FirstLevelModel

    names = [f"block_{number}" for number in range(len(events))]
    own = events[["onset", "duration"]].assign(trial_type=names)
    if adaptation_rate:
        own = pd.concat([sampled(block, adaptation_rate) for block in own.itertuples()])
    image = nib.Nifti1Image(volumes.T.reshape(-1, 1, 1, len(volumes)), np.eye(4))
    mask = nib.Nifti1Image(np.ones((volumes.shape[1], 1, 1), np.uint8), np.eye(4))
    model = FirstLevelModel(
        tr_s, hrf_model="spm", noise_model="ols", mask_img=mask, drift_model="polynomial", drift_order=1,
        signal_scaling=0, minimize_memory=False,
    ).fit(image, own)  # fmt: skip
    return np.array([model.compute_contrast(name, output_type="effect_size").get_fdata().ravel() for name in names])


def sampled(block, adaptation_rate):
    """Return short events that sample a block's falling neural response."""
    since_s = np.arange(0, block.duration, STEP_S)
    modulation = np.exp(-adaptation_rate * (since_s + STEP_S / 2))
    return pd.DataFrame(
        {"onset": block.onset + since_s, "duration": STEP_S, "trial_type": block.trial_type, "modulation": modulation}
    )


@pytest.mark.parametrize("adaptation_rate", [0.0, ADAPTATION_RATE], ids=["constant", "adapting"])
def test_a_persons_blocks_are_nilearns(runs, adaptation_rate):
    ours, theirs = [], []
    for run in runs:
        ours.append(causal(*run, adaptation_rate))
        theirs.append(nilearn(*run, adaptation_rate))
    of_runs = [np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in zip(ours, theirs, strict=True)]
    assert len(of_runs) == 12
    assert np.corrcoef(np.ravel(ours), np.ravel(theirs))[0, 1] > 0.98
    assert min(of_runs) > 0.98


def test_the_impulse_response_is_nilearns():
    from nilearn.glm.first_level import spm_hrf

    theirs = spm_hrf(1.0, oversampling=100, time_length=40)
    ours = response(np.arange(len(theirs)) / 100, 0.0)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.999
