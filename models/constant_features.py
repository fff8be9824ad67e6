"""Detects constant features: dividing by their standard deviation would only amplify rounding errors."""

from ..arrays import Array

CONSTANT_BELOW = 1e-5
"""A standard deviation below this share of the largest is float32 rounding. CLIP's first tokens are constant."""


def is_varying(std: Array, constant_below: float = CONSTANT_BELOW) -> Array:
    """Return which features vary, (n_features,) bool, from their standard deviations (n_features,) float."""
    return std > constant_below * std.max(initial=0.0)
