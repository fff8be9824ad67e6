"""The quality of each run: the signal of each ROI, motion, flagged volumes and gaps. This module knows no widget."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ...client.wire import Decode, Gap, VolumeSignal
from ..recent import Place

MOST_RUNS = 20
MOST_VOLUMES = 2000
MIN_VOLUMES = 10
"""Fewer volumes give no tSNR and no drift."""
DRIFT_VOLUMES = 100
MOVED_MM = 0.5
"""A larger displacement between two volumes disturbs the signal (Power et al. 2012)."""


class Trace(NamedTuple):
    """An ROI's mean over a run, volume by volume.

    Parameters
    ----------
    values : the known volumes' values by index, in the order of the indices, % signal change
    tsnr : mean over standard deviation of the ROI's mean signal; None for betas, and for fewer than `MIN_VOLUMES`
    drift : slope, % signal change per `DRIFT_VOLUMES` volumes; None as `tsnr`
    """

    values: dict[int, float]
    tsnr: float | None
    drift: float | None


@dataclass
class RunQuality:
    """The quality of one run, as far as it is known. `is_bold` is None until a decode says it.

    A gap may be of millions of volumes, so no method makes a list of all indices.
    """

    place: Place
    is_bold: bool | None = None
    signals: dict[int, VolumeSignal] = field(default_factory=dict)
    gaps: dict[int, int] = field(default_factory=dict)
    """How many volumes are missing, by the first missing index."""
    n_without_signal: int | None = None

    @property
    def session(self) -> str:
        """The session's name."""
        return self.place[1]

    @property
    def run(self) -> str:
        """The run's name."""
        return self.place[2]

    @property
    def indices(self) -> range:
        """Every volume from the first to the newest with a known signal."""
        return range(min(self.signals), max(self.signals) + 1) if self.signals else range(0)

    @property
    def n_missing(self) -> int:
        """How many volumes did not come."""
        return sum(self._n_missing_within(gap, range(2**63)) for gap in self._gaps())

    @property
    def n_unknown(self) -> int:
        """How many volumes came and have no known signal: no decode followed them yet, or it was not heard."""
        n_missing = sum(self._n_missing_within(gap, self.indices) for gap in self._gaps())
        return len(self.indices) - len(self.signals) - n_missing

    @property
    def rois(self) -> list[str]:
        """The names of the ROIs."""
        return list(dict.fromkeys(name for signal in self.signals.values() for name in signal.rois))

    def newest(self, n: int) -> range:
        """Return the newest `n` volumes."""
        return self.indices[-n:]

    def is_missing(self, index: int) -> bool:
        """Return whether a volume did not come."""
        return index not in self.signals and any(index in gap for gap in self._gaps())

    def missing_words(self) -> list[str]:
        """Return the gaps in words, such as `3` and `7–9`."""
        return [str(gap.start) if len(gap) == 1 else f"{gap.start}–{gap.stop - 1}" for gap in self._gaps()]

    def trace(self, roi: str) -> Trace:
        """Return an ROI's trace."""
        values = {index: one.rois[roi] for index, one in sorted(self.signals.items()) if roi in one.rois}
        if not self.is_bold:
            return Trace(values, None, None)
        signal = np.array(list(values.values()), np.float64)
        mean = float(signal.mean()) if len(signal) else 0.0
        if mean <= 0:
            return Trace({}, None, None)
        percent = 100 * (signal / mean - 1)
        in_percent = dict(zip(values, percent.tolist(), strict=True))
        if len(signal) < MIN_VOLUMES:
            return Trace(in_percent, None, None)
        sd = float(signal.std(ddof=1))
        slope = float(np.polyfit(np.array(list(values), np.float64), percent, 1)[0])
        return Trace(in_percent, mean / sd if sd > 0 else None, DRIFT_VOLUMES * slope)

    def displacements_mm(self) -> dict[int, float]:
        """Return the known displacements by the volumes' indices."""
        found = {index: signal.displacement_mm for index, signal in sorted(self.signals.items())}
        return {index: mm for index, mm in found.items() if mm is not None}

    def spikes(self) -> list[int]:
        """Return the volumes that were spikes."""
        return [index for index, signal in sorted(self.signals.items()) if signal.is_spike]

    def misaligned(self) -> list[int]:
        """Return the volumes that were misaligned with the training volumes."""
        return [index for index, signal in sorted(self.signals.items()) if signal.is_misaligned]

    def _gaps(self) -> list[range]:
        return [range(first, first + n_missing) for first, n_missing in sorted(self.gaps.items())]

    def _n_missing_within(self, gap: range, indices: range) -> int:
        within = range(max(gap.start, indices.start), min(gap.stop, indices.stop))
        # A volume of a beta run may come after its gap was published.
        return len(within) - sum(index in within for index in self.signals) if within else 0


class Quality:
    """The newest `MOST_RUNS` runs, in the order in which they were first heard of."""

    def __init__(self) -> None:
        self._runs: dict[Place, RunQuality] = {}
        self.version = 0

    def take(self, message: Decode | Gap, count: int) -> None:
        """Take a message; `count` says how often a daemon had counted anew before it."""
        if isinstance(message, Decode) and not message.signals and message.n_without_signal is None:
            return
        self.version += 1
        run = self._run_of((count, message.session, message.run))
        if isinstance(message, Gap):
            run.gaps[message.index] = message.n_missing
            return
        run.is_bold = message.event is not None
        if message.n_without_signal is not None:
            run.n_without_signal = message.n_without_signal
        for signal in message.signals:
            run.signals[signal.index] = signal
        while len(run.signals) > MOST_VOLUMES:
            del run.signals[min(run.signals)]

    def add_older(self, messages: Iterable[object], count: int) -> None:
        """Add what messages say that were published before all others. What is known is newer than they are."""
        older = Quality()
        for message in messages:
            if isinstance(message, Decode | Gap):
                older.take(message, count)
        for place, run in older._runs.items():
            known = self._runs.get(place)
            if known is not None:
                run.signals |= known.signals
                run.gaps |= known.gaps
                run.is_bold = run.is_bold if known.is_bold is None else known.is_bold
                if known.n_without_signal is not None:
                    run.n_without_signal = known.n_without_signal
        newer = {place: run for place, run in self._runs.items() if place not in older._runs}
        self._runs = older._runs | newer
        self._forget()
        self.version += 1

    def newest_first(self) -> list[RunQuality]:
        """Return the runs, the newest first."""
        return list(self._runs.values())[::-1]

    def _run_of(self, place: Place) -> RunQuality:
        if place not in self._runs:
            self._runs[place] = RunQuality(place)
            self._forget()
        return self._runs[place]

    def _forget(self) -> None:
        for place in list(self._runs)[:-MOST_RUNS]:
            del self._runs[place]
