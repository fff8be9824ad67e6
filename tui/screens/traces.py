"""One row of a trace: a bar a volume. A volume of which nothing is known is a dot, never a low bar."""

import math
from collections.abc import Sequence

from ...signs import number

BARS = "▁▂▃▄▅▆▇█"
UNKNOWN = "·"


def bars(values: Sequence[float]) -> str:
    """Return one character a value: a bar from the lowest to the highest value; "·" for NaN."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return UNKNOWN * len(values)
    low, high = min(known), max(known)
    step = (high - low) / (len(BARS) - 1) or math.inf
    return "".join(BARS[round((value - low) / step)] if math.isfinite(value) else UNKNOWN for value in values)


def span(values: Sequence[float], form: str, unit: str) -> str:
    """Return the lowest and the highest value in words; "unknown" if no value is known."""
    known = [value for value in values if math.isfinite(value)]
    return f"{number(min(known), form)} to {number(max(known), form)} {unit}" if known else "unknown"
