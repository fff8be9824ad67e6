"""Which features vary: a constant feature holds only rounding, and a division by its spread would blow that up."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

CONSTANT_BELOW = 1e-5
"""A smaller share of the largest standard deviation is rounding of float32 (CLIP's first tokens are constant)."""


def is_varying(std: Array, constant_below: float = CONSTANT_BELOW) -> Array:
    """Say which features vary, (n_features,) bool, by their standard deviations, (n_features,) float."""
    return std > constant_below * std.max(initial=0.0)
