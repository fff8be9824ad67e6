"""Ridge fits for tests, from z-scored trials and folds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braind.models.ridge.design import make_design
from braind.models.ridge.fit import RidgeFit, fit_targets
from braind.models.ridge.folds import Folds
from braind.models.ridge.problem import RidgeProblem

Array = NDArray[Any]


def fit_ridge(
    z_scored: Array,
    targets: Array,
    picture_of_trial: Array,
    penalties: Sequence[float],
    folds: Folds,
    *,
    intercept: bool = True,
    **options: Any,
) -> RidgeFit:
    """Make the design and fit every target; options are those of `fit_targets`."""
    design = make_design(z_scored, np.asarray(picture_of_trial), len(targets), intercept=intercept)
    return fit_targets(RidgeProblem(design, folds, penalties), targets, **options)
