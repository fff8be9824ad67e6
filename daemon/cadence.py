"""When the next volume is to be expected."""

from collections import deque
from statistics import median

N_GAPS = 8
FEWEST_GAPS = 3


class Cadence:
    """Expects the next volume as long after the newest as the others came after each other, by the median."""

    def __init__(self) -> None:
        self._arrivals_s: deque[float] = deque(maxlen=N_GAPS + 1)

    def hear(self, arrived_s: float) -> None:
        """Take note of a volume's arrival, monotonic time in s."""
        self._arrivals_s.append(arrived_s)

    @property
    def next_s(self) -> float | None:
        """Return when the next volume is expected; None while too few have come."""
        times = list(self._arrivals_s)
        gaps = [after - before for before, after in zip(times, times[1:], strict=False)]
        return times[-1] + median(gaps) if len(gaps) >= FEWEST_GAPS else None
