"""Corrects p values for multiple comparisons."""

import numpy as np

from ...arrays import Array


def holm(p: Array) -> Array:
    """Correct p values by Holm's step-down method, which bounds the family-wise error rate.

    Parameters
    ----------
    p : array of shape (n,), float
        All p values of one family.

    Returns
    -------
    corrected : array of shape (n,), float64
        In the order of `p`. The largest value is 1.
    """
    p = np.asarray(p, np.float64)
    order = np.argsort(p)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return corrected
