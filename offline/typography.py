"""Numbers as journals print them. Files for machines keep the plain hyphen-minus and do not use this."""

import math
from collections.abc import Sequence

import numpy as np

from ..models.scores.multiple_comparisons import holm
from ..signs import MINUS as MINUS
from ..signs import number as number

ROUNDING = 0.51e-6
"""The largest error of a p value that was rounded to six decimals."""


def percent(share: float) -> str:
    """Format a share between 0 and 1 as a percentage with two decimals."""
    return f"{100 * share:.2f}\u00a0%"


def scientific(value: float) -> str:
    """Format a positive number; large and small numbers get a power of ten."""
    if not value or 1e-3 <= value < 1000:
        return f"{value:g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    digits = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{digits}" if float(mantissa) == 1 else f"{mantissa}\u00a0×\u00a010{digits}"


def p_words(p: Sequence[float], n_permutations: int) -> list[str]:
    """Return the raw and the Holm-corrected p of each permutation test of one table.

    A test cannot give less than 1 / (n_permutations + 1). A p at this floor is an upper bound, and is written with "≤".

    Parameters
    ----------
    p : sequence of float
        All p values of the table.

    Returns
    -------
    words : list of str
        In the order of `p`, such as "p = 0.0031, Holm = 0.0124".
    """
    raw, corrected = np.asarray(p, np.float64), holm(np.asarray(p))
    floor = 1 / (n_permutations + 1)
    n_decimals = math.ceil(-math.log10(floor) - 0.01)
    at_floor = raw <= floor + ROUNDING
    # A corrected p is a bound too where it follows from a p at the floor.
    bounded = corrected <= (corrected[at_floor].max() if at_floor.any() else -1)
    return [
        f"p {_compared(raw[n], n_decimals, at_floor[n])}, Holm {_compared(corrected[n], n_decimals, bounded[n])}"
        for n in range(len(raw))
    ]


def _compared(p: float, n_decimals: int, is_bound: bool) -> str:
    if not is_bound or p >= 1:
        return f"= {p:.{n_decimals}f}"
    # A bound is rounded up, except for the errors of float64.
    scale = 10**n_decimals
    return f"≤ {math.ceil(p * scale * (1 - 1e-9)) / scale:.{n_decimals}f}"
