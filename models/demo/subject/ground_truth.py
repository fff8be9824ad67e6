"""What only a simulation knows: how much of a voxel's signal comes from the look of the picture.

Computed again from the seed of the simulated tree; nothing of it is in the tree's files.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .anatomy import STREAMS, build_anatomy
from .brain import MIXTURES, draw_drivers
from .experiment import plan_experiment

Array = NDArray[Any]


def look_shares(
    shape: tuple[int, int, int],
    pictures: Callable[[Array], Array],
    *,
    seed: int,
    subject: int,
    subjects: list[int],
    n_sessions: int,
    n_shared: int,
) -> Array:
    """Return the share of each voxel's noise-free signal that early visual channels drive.

    The rest is what the scene means: object, size, place, colours and position. Parameters are those that the tree was
    simulated with, and `pictures`, which gives (n, px, px, 3) uint8 of 0-based 73k ids.

    Returns
    -------
    share : array of shape (X, Y, Z), float32
        1 in early visual cortex, between 0 and 1 in the other regions (variance of that part of the drive over the sum
        of all parts' variances, before the non-linearity), NaN outside visual cortex.
    """
    anatomy = build_anatomy(shape)
    experiment = plan_experiment(tuple(subjects), n_sessions, n_shared, seed)
    ids = experiment.pictures_of(subject)
    scenes = [experiment.scenes[id_] for id_ in ids]
    drivers = draw_drivers(anatomy, scenes, lambda chosen: pictures(ids[chosen]), seed, subject)
    share = np.full(len(drivers.streams), np.nan, np.float32)
    share[drivers.streams == STREAMS["early"]] = 1
    for region in MIXTURES:
        variances = {name: part.var(axis=0) for name, part in drivers.parts(region)}
        share[drivers.streams == STREAMS[region]] = variances["look"] / sum(variances.values())
    volume = np.full(anatomy.brainmask.size, np.nan, np.float32)
    volume[anatomy.voxel_index] = share
    return volume.reshape(shape)
