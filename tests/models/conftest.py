"""Simulated single trials for tests of the ridge: voxels and targets mix the same hidden scene properties."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from braind.models.ridge.training_trials import TrainingTrials
from braind.models.weights.weights import WeightsCard

Array = NDArray[Any]

SHAPE = (9, 10, 11)
AFFINE = ((-1.8, 0.0, 0.0, 8.0), (0.0, 1.8, 0.0, -9.0), (0.0, 0.0, 1.8, -7.0), (0.0, 0.0, 0.0, 1.0))


def make_trials(n_pictures: int = 150, n_repeats: int = 3, n_voxels: int = 90, seed: int = 0) -> TrainingTrials:
    """Show pictures in random order; z is (2, 3, 4), c (4, 5) with a constant first token."""
    rng = np.random.default_rng(seed)
    properties = rng.normal(size=(n_pictures, 8))
    picture_of_trial = rng.permutation(np.repeat(np.arange(n_pictures), n_repeats))
    voxels = properties[picture_of_trial] @ rng.normal(size=(8, n_voxels)) * 0.3
    voxels += rng.normal(size=voxels.shape) + rng.normal(size=(len(voxels), 2)) @ rng.normal(size=(2, n_voxels))
    voxels = voxels * rng.uniform(0.5, 3, n_voxels) + rng.normal(size=n_voxels)
    z = (properties @ rng.normal(size=(8, 24)) + 0.5).reshape(n_pictures, 2, 3, 4)
    c = (properties @ rng.normal(size=(8, 20)) + rng.normal(size=20) * 3).reshape(n_pictures, 4, 5)
    c[:, 0] = np.arange(5) - 2
    return TrainingTrials(
        voxels=voxels.astype(np.float32),
        picture_of_trial=picture_of_trial,
        z=z.astype(np.float32),
        c=c.astype(np.float32),
        voxel_index=np.sort(rng.choice(np.prod(SHAPE), n_voxels, replace=False)).astype(np.int64),
        z_positions=np.arange(60),
        c_positions=np.arange(40, n_voxels),
    )


@pytest.fixture(scope="session")
def simulate() -> Callable[..., TrainingTrials]:
    """The maker of simulated trials."""
    return make_trials


@pytest.fixture(scope="session")
def trials() -> TrainingTrials:
    """450 trials of 150 pictures, 90 voxels."""
    return make_trials()


@pytest.fixture(scope="session")
def blank_card() -> WeightsCard:
    """A card as it is before a fit."""
    return WeightsCard(
        subject=1,
        shape=SHAPE,
        affine=AFFINE,
        z_rois=("early",),
        c_rois=("ventral",),
        ldm="0123456789ab",
        latent_shape=(2, 3, 4),
        text_shape=(4, 5),
        simulated=True,
        nsd="nsd-sim",
        version="0.1.0",
    )
