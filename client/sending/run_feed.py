"""Turns one series into one run: checks, reorients and sends its volumes, and reports what it does not send."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from zlib import crc32

import numpy as np

from ...choices import Kind
from ...grids import MAX_CORNER_SHIFT_MM, corner_shift_mm
from ..connection import RefusedByDaemon
from ..scanner import Onset, OpenRun, ScannerClient
from ..wire import Ack, Candidate, Grid, Hello
from .incoming import Array, Incoming, IncomingError, axis_codes, onto_grid

# Headers round the TR to milliseconds.
MAX_TR_DIFFERENCE_S = 0.0006


@dataclass(frozen=True)
class RunPlan:
    """The operator's description of a run. With `tr_s` None the volumes give the TR."""

    session: str
    run: str
    kind: Kind = "bold"
    tr_s: float | None = None
    producer: str = ""
    n_volumes: int | None = None
    simulated: bool = False
    right: Candidate | None = None
    foil: Candidate | None = None


@dataclass(frozen=True, eq=False)
class _First:
    """The run's first volume. All others must match it."""

    series: str
    source: str
    shape: tuple[int, ...]
    affine: Array


class RunFeed:
    """Sends one run's volumes. A volume is acked when `take` returns; otherwise `take` raises.

    Parameters
    ----------
    say : called with a sentence for the operator
    onsets : onsets of the run's trials, in order of time
    """

    def __init__(
        self,
        client: ScannerClient,
        grid: Grid,
        plan: RunPlan,
        say: Callable[[str], None],
        onsets: Iterable[Onset] = (),
    ) -> None:
        self.plan = plan
        self._client, self._grid, self._say = client, grid, say
        self._onsets = list(onsets)
        self._n_onsets = len(self._onsets)
        self._first: _First | None = None
        self._run: OpenRun | None = None
        self._crc_of: dict[int, int] = {}  # acked volumes: index → CRC-32
        self._tr_s = 0.0
        self.n_onsets_refused = 0
        """Number of onsets that the daemon refused; all onsets, if none was due within the run."""

    @property
    def n_acked(self) -> int:
        """Return the number of distinct acked volumes."""
        return len(self._crc_of)

    @property
    def n_volumes(self) -> int:
        """Return the run's length so far, gaps included."""
        return max(self._crc_of, default=-1) + 1

    @property
    def series(self) -> str | None:
        """Return the series of the run's first volume, or None before it."""
        return self._first.series if self._first else None

    @property
    def next_index(self) -> int:
        """Return the first volume index that the daemon does not have."""
        return self._run.next_index if self._run else 0

    def open(self, incoming: Incoming) -> None:
        """Open the run; this volume defines its series, shape and affine."""
        voxels, affine = onto_grid(incoming, self._grid)
        self._check_tr(incoming, self.plan.tr_s)
        tr_s = self.plan.tr_s or incoming.tr_s
        if tr_s is None:
            raise IncomingError(f"{incoming.source}: nothing says the TR; give it with --tr SECONDS", code="tr")
        self._run = self._client.open_run(
            Hello(
                session=self.plan.session,
                run=self.plan.run,
                subject=self._grid.subject,
                kind=self.plan.kind,
                shape=voxels.shape,
                affine=affine.tolist(),
                tr_s=tr_s,
                dtype=voxels.dtype.name,
                producer=self.plan.producer,
                n_volumes=self.plan.n_volumes,
                simulated=self.plan.simulated,
                right=self.plan.right,
                foil=self.plan.foil,
            )
        )
        self._tr_s = tr_s
        self._first = _First(incoming.series, incoming.source, incoming.voxels.shape, incoming.affine)
        came, wanted = axis_codes(incoming.affine), axis_codes(np.array(self._grid.affine))
        turned = "" if came == wanted else f"; its axes, {came}, are turned to the weights' {wanted}"
        resumed = f", from volume {self._run.next_index} on" if self._run.next_index else ""
        self._say(f"run {self.plan.run} is open{resumed}: {incoming.source}, series {incoming.series}{turned}")

    def take(self, incoming: Incoming) -> Ack:
        """Check, reorient and send one volume.

        Raises
        ------
        IncomingError
            The volume does not belong to the run, or is not whole.
        RefusedByDaemon, NoDaemonError
        """
        if self._run is None:
            self.open(incoming)
        assert self._run is not None
        self._check_like_first(incoming)
        self._check_tr(incoming, self._tr_s)
        voxels, _ = onto_grid(incoming, self._grid)
        crc = crc32(voxels.tobytes())
        self._check_index(incoming, crc)
        self._send_onsets_before(incoming.index)
        ack = self._run.send(
            voxels,
            index=incoming.index,
            scale=incoming.scale,
            motion=incoming.motion,
            roi_values=incoming.roi_values,
        )
        self._crc_of[incoming.index] = crc
        return ack

    def end(self) -> None:
        """End the run; report missing volumes and unsent onsets."""
        if self._run is None:
            return
        n_volumes = max(self.n_volumes, self._run.next_index)
        start = min(self._crc_of, default=n_volumes)
        n_missing = n_volumes - start - len(self._crc_of)
        if n_missing:
            missing = (index for index in range(start, n_volumes) if index not in self._crc_of)
            few = ", ".join(map(str, islice(missing, 10))) + (", …" if n_missing > 10 else "")
            self._say(f"run {self.plan.run}: {n_missing} volumes never came: {few}")
        if self._onsets:
            if len(self._onsets) == self._n_onsets:
                self.n_onsets_refused += self._n_onsets  # a run that was cut short leaves only some onsets
            self._say(
                f"run {self.plan.run}: {len(self._onsets)} of {self._n_onsets} onsets, from "
                f"{self._onsets[0].onset_s:g} s on, lie after its last volume; not sent. Onsets count from the first "
                "volume: --trigger-at says when that was"
            )
        self._run.end(n_volumes)

    def _send_onsets_before(self, index: int) -> None:
        """Send the onsets that are due. A refused onset is reported; the volume is still sent."""
        assert self._run is not None
        while self._onsets and self._onsets[0].onset_s < (index + 1) * self._tr_s:
            onset = self._onsets.pop(0)
            try:
                self._run.send_onset(onset)
            except RefusedByDaemon as error:
                self.n_onsets_refused += 1
                self._say(f"the onset at {onset.onset_s:g} s: {error}")

    def _check_tr(self, incoming: Incoming, tr_s: float | None) -> None:
        if tr_s and incoming.tr_s and not abs(incoming.tr_s - tr_s) <= MAX_TR_DIFFERENCE_S:
            raise IncomingError(
                f"{incoming.source}: it says a TR of {incoming.tr_s:g} s, the run has {tr_s:g} s; "
                "give the scan's TR with --tr; it must be the TR of the weights",
                code="tr",
            )

    def _check_like_first(self, incoming: Incoming) -> None:
        first = self._first
        assert first is not None
        if incoming.series != first.series:
            raise IncomingError(
                f"{incoming.source} is of series {incoming.series}, run {self.plan.run} of series {first.series}; "
                "not sent. If the scan was started again, end this run and send the new series as a run of its own",
                code="series",
            )
        if incoming.voxels.shape != first.shape:
            n, n_first = incoming.voxels.shape, first.shape
            if n[:2] == n_first[:2] and n[2] < n_first[2]:
                raise IncomingError(
                    f"{incoming.source}: volume {incoming.index} is partial, {n[2]} of {n_first[2]} slices; not sent. "
                    "The scan was stopped in it, or the export lost slices",
                    code="partial",
                )
            raise IncomingError(
                f"{incoming.source}: volume {incoming.index} has shape {n}, the run {n_first}; not sent. "
                "Send another protocol as another run",
                code="shape",
            )
        shift_mm = corner_shift_mm(first.shape, incoming.affine, first.affine)
        if not shift_mm <= MAX_CORNER_SHIFT_MM:
            raise IncomingError(
                f"{incoming.source}: by its affine, volume {incoming.index} lies {shift_mm:.1f} mm away from "
                f"{first.source}; not sent. Was the slice box moved? End the run, and register to the weights' space",
                code="affine",
            )

    def _check_index(self, incoming: Incoming, crc: int) -> None:
        before = self._crc_of.get(incoming.index)
        if incoming.index < 0 or (before is not None and before != crc):
            raise IncomingError(
                f"{incoming.source}: the index goes back to {incoming.index} with other voxels than were acked under "
                "it; not sent. If the scan was started again, send it as another run",
                code="index",
            )
        if before is None and incoming.index < self.n_volumes - 1:
            self._say(f"{incoming.source}: volume {incoming.index} comes after volume {self.n_volumes - 1}; late")
