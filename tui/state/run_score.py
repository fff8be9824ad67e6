"""The score of a run so far, with its 95 % interval and chance. This module knows no widget."""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from .trials import TrialRecord

Z_95 = 1.959964
"""The 97.5 % quantile of the standard normal distribution."""


class RunScore(NamedTuple):
    """The mean of a score over a run's trials, 0 to 1.

    Parameters
    ----------
    mean : two-way identification, or the share of trials whose most probable class is the sender's
    low, high : its 95 % Wilson score interval
    chance : the score of a decode that knows nothing of the trial
    n_trials : final trials that have a score
    n_pictures : their different pictures; None for classes
    """

    mean: float
    low: float
    high: float
    chance: float
    n_trials: int
    n_pictures: int | None = None


def run_score(records: Iterable[TrialRecord]) -> RunScore | None:
    """Return the two-way score of a run's final trials; without ranks, the share of right classes; None without both.

    Trials of one picture are averaged first: they are not independent, so the interval counts pictures. A two-way score
    varies less than a yes or no with the same mean, so the interval is rather too wide than too narrow.
    """
    final = [record for record in records if record.is_final]
    by_picture: dict[int | None, list[float]] = defaultdict(list)
    for record in final:
        if record.two_way is not None:
            by_picture[record.picture].append(record.two_way)
    if by_picture:
        means = [sum(scores) / len(scores) for scores in by_picture.values()]
        mean = sum(means) / len(means)
        n_trials = sum(map(len, by_picture.values()))
        return RunScore(mean, *wilson(mean, len(means)), 0.5, n_trials, len(means))
    are_right = [record.is_right for record in final if record.is_right is not None]
    n_classes = next((record.n_classes for record in final if record.n_classes), 0)
    if not are_right or not n_classes:
        return None
    share = sum(are_right) / len(are_right)
    return RunScore(share, *wilson(share, len(are_right)), 1 / n_classes, len(are_right))


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a share of `n` independent trials (Wilson 1927)."""
    centre, shrink = share + Z_95**2 / (2 * n), 1 + Z_95**2 / n
    half = Z_95 * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    return max(0.0, (centre - half) / shrink), min(1.0, (centre + half) / shrink)
