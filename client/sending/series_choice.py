"""Chooses the series to send, by what its images are, from all that comes into a folder."""

from dataclasses import dataclass

import numpy as np

from ...grids import MAX_CORNER_SHIFT_MM, corner_shift_mm
from ..wire import Grid
from .entities import SAME_ECHO_MS, Entities
from .incoming import Incoming, IncomingError, axis_codes, onto_grid


@dataclass(frozen=True)
class Echo:
    """The echo to send: its number, from 1, or its echo time in ms."""

    number: int | None = None
    time_ms: float | None = None

    def matches(self, entities: Entities, source: str) -> bool:
        """Return whether an image is of this echo. Raises IncomingError if nothing says it."""
        if self.time_ms is not None and entities.echo_time_ms is not None:
            return abs(self.time_ms - entities.echo_time_ms) <= max(SAME_ECHO_MS, 0.005 * self.time_ms)
        if self.number is not None and entities.echo is not None:
            return self.number == entities.echo
        if entities.echo_time_ms is not None:
            raise IncomingError(
                f"{source}: its header says an echo time of {entities.echo_time_ms:g} ms and no echo number; "
                f"choose by time, as --echo {entities.echo_time_ms:g}ms",
                code="series",
            )
        raise IncomingError(f"{source}: nothing in it says which echo it is; send without --echo", code="series")


def parse_echo(text: str) -> Echo:
    """Return the echo of a text: "2", or "28.5ms". Raises ValueError otherwise."""
    if text.lower().endswith("ms"):
        return Echo(time_ms=float(text[:-2]))
    return Echo(number=int(text))


@dataclass(frozen=True)
class Wanted:
    """The series that the operator wants.

    Parameters
    ----------
    series : the only series to take, by UID or by file name before the number
    description : a part of the series' description; case does not count
    echo : the only echo to take
    """

    series: str | None = None
    description: str | None = None
    echo: Echo | None = None


class SeriesChoice:
    """Decides whether an image can belong to the run.

    `left` has the sentences of images that are left as is right: single-band references, other echoes, other series
    than the operator named. They do not make the command fail.
    """

    def __init__(self, wanted: Wanted, grid: Grid) -> None:
        self.wanted, self._grid = wanted, grid
        self.left: list[str] = []
        self._named: set[tuple[str, str]] = set()
        self._first_of: dict[str, Entities] = {}
        self._mixed: set[str] = set()

    def takes(self, found: Incoming, *, is_bound: bool) -> bool:
        """Return whether a volume can be sent; a reason that is expected goes to `left`, once a series.

        Parameters
        ----------
        is_bound : the run's volumes come from this volume's series

        Raises
        ------
        IncomingError
            The volume's series mixes echoes or parts, or lies elsewhere than the weights' grid. It is raised once for
            each series and reason; later volumes are left in silence.
        """
        wanted, entities, series = self.wanted, found.entities, found.series
        if wanted.description and wanted.description.lower() not in entities.description.lower():
            return self._leave(found, f"is described as {entities.description!r}, not {wanted.description!r}")
        if wanted.series is not None and series != wanted.series:
            return self._leave(found, f"is of another series than {wanted.series}")
        self._check_mixed(found)
        if series in self._mixed:
            return False
        if entities.part != "magnitude":
            return self._leave(found, f"holds {entities.part} images")
        if wanted.echo is not None and not self._is_wanted_echo(wanted.echo, found):
            return False
        if is_bound or wanted.series is not None:
            return True
        if entities.is_reference:
            return self._leave(found, "is a single-band reference")
        if entities.is_alone:
            return self._leave(found, "has one volume, and a run has more")
        return self._fits(found)

    def _is_wanted_echo(self, echo: Echo, found: Incoming) -> bool:
        try:
            return echo.matches(found.entities, found.source) or self._leave(found, f"has {found.entities}")
        except IncomingError as error:
            return self._refuse(found.series, str(error), "series")

    def _check_mixed(self, found: Incoming) -> None:
        """Mark a series as mixed when its index cannot tell time points from echoes, or none was chosen."""
        entities, series = found.entities, found.series
        first = self._first_of.setdefault(series, entities)
        if series in self._mixed or not entities.is_beside(first):
            return
        is_other_part = entities.part != first.part
        is_sound = entities.counts_volumes and first.counts_volumes
        if is_sound and (is_other_part or self.wanted.echo is not None):
            return
        self._mixed.add(series)
        advice = (
            "Export them as series of their own"
            if is_other_part
            else "Name the echo that the weights were fitted for: --echo 2, or --echo 28.5ms, with --existing"
        )
        raise IncomingError(
            f"{found.source}: series {series} mixes {first} and {entities}; it and what follows of the series are not "
            f"sent. {advice}, and a new --run NAME",
            code="series",
        )

    def _fits(self, found: Incoming) -> bool:
        voxels, affine = onto_grid(found, self._grid)
        shape, wanted = voxels.shape, tuple(self._grid.shape)
        if shape != wanted:
            return self._refuse(found.series, f"{found.source} has shape {shape}, the weights {wanted}", "shape")
        shift_mm = corner_shift_mm(wanted, affine, np.array(self._grid.affine))
        if not shift_mm <= MAX_CORNER_SHIFT_MM:
            came = axis_codes(found.affine)
            sentence = f"{found.source} lies {shift_mm:.1f} mm away from the weights' grid (its axes are {came})"
            return self._refuse(found.series, sentence, "affine")
        return True

    def _refuse(self, series: str, sentence: str, code: str) -> bool:
        if (series, code) in self._named:
            return False
        self._named.add((series, code))
        raise IncomingError(f"{sentence}; series {series} is not sent", code=code)

    def _leave(self, found: Incoming, reason: str) -> bool:
        key = (found.series, reason)
        if key not in self._named:
            self._named.add(key)
            self.left.append(f"{found.source} {reason}: left, with all like it in series {found.series}")
        return False
