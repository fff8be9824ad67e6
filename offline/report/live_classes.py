"""The classes that a recorded session's decodes made most probable, counted by the class that the sender named."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ...client.wire import Decode


@dataclass(frozen=True)
class ClassCounts:
    """The final decodes whose sender named one class.

    Parameters
    ----------
    probability : float
        The mean probability of the sender's class.
    decoded : list of (str, int)
        The most probable classes, the most frequent first.
    """

    sent: str
    n: int
    n_right: int
    probability: float
    decoded: list[tuple[str, int]]


@dataclass(frozen=True)
class LiveClasses:
    """The final decodes with classes.

    Parameters
    ----------
    n_decodes : int
        All of them; the sender need not have named a class of the weights.
    chance : float
        The mean of 1 / number of classes.
    by_sent : list of ClassCounts
        Sorted by the sender's class. Classes that the weights lack are left out.
    """

    n_decodes: int
    chance: float
    by_sent: list[ClassCounts]

    @property
    def n_compared(self) -> int:
        """Return how many decodes have a sender's class that the weights have."""
        return sum(counts.n for counts in self.by_sent)

    @property
    def n_right(self) -> int:
        """Return how many of the compared decodes have the sender's class as the most probable class."""
        return sum(counts.n_right for counts in self.by_sent)


def live_classes(decodes: Iterable[Decode]) -> LiveClasses | None:
    """Count the final decodes with classes; return None without any. A later decode of a trial replaces an earlier."""
    final = {
        (decode.run, decode.event, decode.index if decode.event is None else None): decode
        for decode in decodes
        if decode.labels and decode.is_final
    }
    if not final:
        return None
    by_sent: dict[str, list[Decode]] = {}
    for decode in final.values():
        if decode.label is not None and any(one.label == decode.label for one in decode.labels):
            by_sent.setdefault(decode.label, []).append(decode)
    chance = sum(1 / len(decode.labels) for decode in final.values()) / len(final)
    return LiveClasses(len(final), chance, [_counts(sent, by_sent[sent]) for sent in sorted(by_sent)])


def _counts(sent: str, decodes: list[Decode]) -> ClassCounts:
    decoded = Counter(decode.labels[0].label for decode in decodes)
    probabilities = [one.probability for decode in decodes for one in decode.labels if one.label == sent]
    return ClassCounts(sent, len(decodes), decoded[sent], sum(probabilities) / len(decodes), decoded.most_common())
