"""The rhythm in which volumes arrive."""

from collections import deque
from statistics import median

N_INTERVALS = 8
MIN_INTERVALS = 3


class Cadence:
    """Predicts the next arrival: newest arrival plus the median interval."""

    def __init__(self) -> None:
        self._arrivals_s: deque[float] = deque(maxlen=N_INTERVALS + 1)

    def add_arrival(self, arrived_s: float) -> None:
        """Add a volume's arrival, monotonic time in s."""
        self._arrivals_s.append(arrived_s)

    @property
    def next_s(self) -> float | None:
        """Return the predicted arrival, monotonic time in s; None after fewer than `MIN_INTERVALS` intervals."""
        times = list(self._arrivals_s)
        intervals = [after - before for before, after in zip(times, times[1:], strict=False)]
        return times[-1] + median(intervals) if len(intervals) >= MIN_INTERVALS else None
