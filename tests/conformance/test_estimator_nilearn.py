"""At the end of a run the causal estimates are what a general linear model of the whole run gives.

A Kalman filter whose coefficients do not change and whose prior is flat gives, at its last volume, the least-squares
estimate. So with a baseline that is a line, a prior that says nothing and no smoothing by training data, the causal
estimates must be nilearn's `FirstLevelModel`'s, for any data: here the simulator's own, with its drift and its noise,
at NSD's timing.
"""

from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from braind.models.bold.estimator import CausalEstimator
from braind.models.bold.finished_run import FinishedRun, estimates_of
from braind.models.bold.fit_prior import fit_prior
from braind.models.bold.hrf import response
from braind.models.demo.subject.bold import N_DELAYS, TR_S, BoldVoxels, simulate_run
from braind.models.weights.bold_prior import CANONICAL, BoldPrior

N_TRIALS, N_VOXELS, N_VOLUMES = 62, 60, 226


class Run:
    """A simulated run of NSD's timing: 62 of 75 slots of 4 s, noise of 1 % a volume, responses of about 1.5 %."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        slots = np.sort(rng.choice(np.arange(75), N_TRIALS, replace=False))
        self.amplitudes = rng.normal(1.5, 1.5, (N_TRIALS, N_VOXELS)).astype(np.float32)
        voxels = BoldVoxels(
            baseline=rng.uniform(700, 1400, N_VOXELS).astype(np.float32),
            delay=np.full(N_VOXELS, N_DELAYS // 2),
            noise_sd=np.ones(N_VOXELS, np.float32),
            motion_pattern=np.zeros((6, N_VOXELS), np.float32),
        )
        volumes = simulate_run(voxels, self.amplitudes, slots, rng).volumes.astype(np.float32)
        self.bold = FinishedRun(volumes, slots * 4.0, TR_S)
        # the last responses are cut off by the run's end
        self.is_seen = slots * 4.0 < N_VOLUMES * TR_S - 12


@pytest.fixture(scope="module")
def run() -> Run:
    return Run(1)


@pytest.fixture
def flat_prior() -> BoldPrior:
    """A baseline that is any line, responses of any size."""
    nothing = np.zeros(N_VOXELS, np.float32)
    return BoldPrior(
        np.full(N_VOXELS, CANONICAL), nothing, nothing + 1, amplitude_variance=1e4, drift_variance=0.0,
        slope_variance=0.0, first_slope_variance=1e4,
    )  # fmt: skip


def causal(run: Run, prior: BoldPrior) -> NDArray[Any]:
    """Return what the estimator says of every trial at the run's last volume."""
    estimator = CausalEstimator(TR_S, prior)
    run.bold.add_events(estimator)
    assert len(list(run.bold.add_volumes(estimator))) == N_VOLUMES
    estimates = [estimator.estimate(event) for event in range(N_TRIALS)]
    return np.array([estimate.betas for estimate in estimates if estimate])


def nilearn(run: Run, design: pd.DataFrame | None = None, **settings: Any) -> NDArray[Any]:
    """Return what nilearn's model of the whole run says, with its own design or with a given one."""
    from nilearn.glm.first_level import FirstLevelModel

    image = nib.Nifti1Image(run.bold.volumes.T.reshape(N_VOXELS, 1, 1, N_VOLUMES), np.eye(4))
    mask = nib.Nifti1Image(np.ones((N_VOXELS, 1, 1), np.uint8), np.eye(4))
    names = [f"trial_{n:02d}" for n in range(N_TRIALS)]
    events = pd.DataFrame({"onset": run.bold.onsets_s, "duration": 3.0, "trial_type": names})
    model = FirstLevelModel(TR_S, hrf_model="spm", noise_model="ols", mask_img=mask, minimize_memory=False, **settings)
    model = model.fit(image, events) if design is None else model.fit(image, design_matrices=design)
    return np.array([model.compute_contrast(name, output_type="effect_size").get_fdata().ravel() for name in names])


def correlations(ours: NDArray[Any], theirs: NDArray[Any]) -> list[float]:
    return [float(np.corrcoef(one, other)[0, 1]) for one, other in zip(ours, theirs, strict=True)]


@pytest.mark.filterwarnings("ignore")  # nilearn's, about its own future
def test_with_a_flat_prior_they_are_nilearns_voxel_by_voxel_and_trial_by_trial(run, flat_prior):
    ours = causal(run, flat_prior)[run.is_seen]
    # nilearn samples its HRF and scales it otherwise: what is compared is correlation
    theirs = nilearn(run, drift_model="polynomial", drift_order=1, signal_scaling=0)[run.is_seen]
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999
    assert min(correlations(ours, theirs)) > 0.999  # over voxels, each trial
    assert min(correlations(ours.T, theirs.T)) > 0.999  # over trials, each voxel


@pytest.mark.filterwarnings("ignore")
def test_with_the_same_regressors_they_are_equal(run, flat_prior):
    times_s = np.arange(N_VOLUMES) * TR_S
    design = pd.DataFrame(
        {f"trial_{n:02d}": response(times_s - onset_s, 3.0) for n, onset_s in enumerate(run.bold.onsets_s)}
    )
    # about the last volume, whose baseline the causal estimates are a percentage of
    design["slope"], design["constant"] = times_s - times_s[-1], 1.0
    # the first volume sets the estimator's unit: dividing by it, as it does, keeps float32's digits
    percent = 100 * (run.bold.volumes / run.bold.volumes[0] - 1)
    coefficients = np.linalg.lstsq(design.to_numpy(), percent, rcond=None)[0]
    raw = nilearn(run, design, signal_scaling=False)
    theirs = 100 * raw / (run.bold.volumes[0] * (1 + coefficients[-1] / 100))
    ours = causal(run, flat_prior)
    assert np.abs(ours - theirs)[run.is_seen].max() < 0.02  # % signal change, of responses of about 1.5


@pytest.mark.filterwarnings("ignore")
def test_with_a_learned_prior_they_are_nearer_to_the_truth_than_a_model_without_one(run):
    prior = fit_prior([Run(5).bold])
    finals = [estimate.betas for estimate in estimates_of(run.bold, prior) if estimate.is_final]
    ours, truth = np.array(finals)[run.is_seen], run.amplitudes[run.is_seen]
    theirs = nilearn(run, drift_model="cosine", high_pass=0.008, signal_scaling=0)[run.is_seen]
    theirs *= (theirs * truth).sum() / (theirs**2).sum()  # its best scale: ours has none to choose
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.75
    assert ((ours - truth) ** 2).mean() < 0.7 * ((theirs - truth) ** 2).mean()
