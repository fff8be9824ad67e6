"""Head motion relative to a run's first volume, and framewise displacement (Power et al. 2012)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

N_MOTION = 6
HEAD_RADIUS_MM = 50.0
"""Converts rotations into displacements of the cortex."""


class HeadMotion:
    """Follows the motion estimates of one run."""

    def __init__(self) -> None:
        self._first = np.zeros(N_MOTION)
        self._last: Array | None = None

    def add_volume(self, motion: Array | None) -> tuple[Array, float]:
        """Return the position relative to the first volume, (6,) in mm, and the framewise displacement in mm.

        Parameters
        ----------
        motion : array of shape (6,), float, optional
            Translations in mm, then rotations in rad. Without motion both results are 0.
        """
        if motion is None:
            return np.zeros(N_MOTION), 0.0
        motion = np.asarray(motion, np.float64) * ([1.0] * 3 + [HEAD_RADIUS_MM] * 3)
        if self._last is None:
            self._last = self._first = motion
        displacement_mm = float(np.abs(motion - self._last).sum())
        self._last = motion
        return motion - self._first, displacement_mm
