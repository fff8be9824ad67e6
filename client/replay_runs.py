"""What a replay sends: NSD's held-out test trials as runs of volumes, in the order in which they were seen.

A picture's repeats are sent one by one (`single`), each as the mean of the repeats so far (`running`), or as one volume
at the last repeat, the mean of all (`mean`). A `calibration` has all trials one by one, not only the held-out ones, and
says which picture each shows, and its captions. It knows no sockets.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import numpy as np

from ..errors import BraindError
from .data_set import span
from .wire import Array, Hello, Kind

if TYPE_CHECKING:
    from .nsd import NsdTree

Repeats = Literal["single", "running", "mean", "calibration"]

TRIAL_S = 4.0
"""NSD shows a picture for 3 s and nothing for 1 s."""


class ReplayError(BraindError):
    """A replay of something that the dataset does not have."""

    code = "replay"


class ReplayTrial(NamedTuple):
    """What was on screen; `trial` counts a subject's trials of all sessions from 0.

    `stimulus` and `captions` are those of `wire.Event`.
    """

    trial: int
    nsd_id: int
    stimulus: str | None = None
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReplayVolume:
    """A volume to send: (X, Y, Z) of the run's dtype; `scale` makes % signal change of it. BOLD has no trial."""

    index: int
    voxels: Array
    scale: float
    shown: ReplayTrial | None
    n_averaged: int = 1


class ReplayEvent(NamedTuple):
    """A trial's onset, seconds after the run's first volume."""

    event: int
    onset_s: float
    shown: ReplayTrial


class ReplayRun(NamedTuple):
    """A run: its Hello, its onsets (BOLD only), and a function that reads its volumes from an index on."""

    hello: Hello
    n_volumes: int
    events: list[ReplayEvent]
    volumes_from: Callable[[int], Iterator[ReplayVolume]]


class TestTrials(NamedTuple):
    """Trials of the shared pictures (or of all), each an array of shape (n_trials,).

    `session` counts from 1, `row` from 0 in its session, `trial` from 0 in all sessions; `nsd_id` is the 0-based 73k
    id; `is_last` marks a picture's last repeat.
    """

    __test__ = False  # pytest would take the name for a test's

    session: Array
    row: Array
    trial: Array
    nsd_id: Array
    is_last: Array

    @classmethod
    def of(cls, tree: "NsdTree", subject: int, session: int | None, *, all_pictures: bool = False) -> Self:
        """Return a subject's test trials, in order, of one session or all; or the trials of all pictures.

        Raises
        ------
        ReplayError
            If there are none.
        """
        trials = tree.trials(subject)
        wanted = np.full(len(trials), True) if all_pictures else trials.is_shared
        (trial,) = np.nonzero(wanted if session is None else wanted & (trials.session == session))
        if not len(trial):
            where = "any session" if session is None else f"session {session}"
            raise ReplayError(
                f"subject {subject} has no test trials in {where}; it has sessions {span(tree.sessions(subject))}"
            )
        row = trial - np.searchsorted(trials.session, trials.session[trial])
        nsd_id = trials.nsd_id[trial]
        _, from_the_end = np.unique(nsd_id[::-1], return_index=True)
        is_last = np.zeros(len(trial), bool)
        is_last[len(trial) - 1 - from_the_end] = True
        return cls(trials.session[trial], row, trial, nsd_id, is_last)

    def of_session(self, session: int) -> Self:
        """Return those of one session."""
        return self._make(values[self.session == session] for values in self)


def beta_runs(tree: "NsdTree", subject: int, name: str, session: int | None, repeats: Repeats) -> Iterator[ReplayRun]:
    """Return one run for each NSD session with test trials, of single-trial betas or means of a picture's repeats."""
    is_calibration = repeats == "calibration"
    trials = TestTrials.of(tree, subject, session, all_pictures=is_calibration)
    means = _Means(tree.brainmask(subject))
    for number in np.unique(trials.session).tolist():
        these = trials.of_session(number)
        if repeats in ("single", "calibration"):
            volumes_from = partial(_single_betas, tree, subject, these, is_calibration)
            n_volumes, dtype = len(these.row), "int16"
        else:
            n_volumes = int(these.is_last.sum()) if repeats == "mean" else len(these.row)
            dtype, volumes_from = "float32", partial(_mean_betas, tree, subject, these, means, repeats)
        hello = _hello(tree, subject, name, f"ses-{number:02d}", "beta", TRIAL_S, dtype, n_volumes)
        yield ReplayRun(hello, n_volumes, [], volumes_from)


def bold_runs(
    tree: "NsdTree", subject: int, name: str, session: int | None, repeats: Repeats = "single"
) -> Iterator[ReplayRun]:
    """Return the runs of BOLD volumes, one for each TR, with the onsets of all their trials.

    Raises
    ------
    ReplayError
        If the dataset has no time series there.
    """
    all_trials = tree.trials(subject)
    sessions = [session] if session is not None else tree.sessions(subject)
    n_runs = 0
    for number in sessions:
        for run in tree.bold_runs(subject, number):
            n_runs += 1
            bold = tree.bold_run(subject, number, run)
            # bold.shape = (X, Y, Z, n_volumes), int16
            rows = np.nonzero((all_trials.session == number) & (all_trials.run == run))[0]
            onsets = tree.bold_onsets(subject, number, run)
            events = [
                ReplayEvent(event, float(onset_s), _shown(tree, int(row), nsd_id, repeats == "calibration"))
                for event, (row, (onset_s, nsd_id)) in enumerate(zip(rows, onsets, strict=True))
            ]
            run_name = f"ses-{number:02d}_run-{run:02d}"
            hello = _hello(tree, subject, name, run_name, "bold", tree.bold_tr_s, bold.dtype.name, bold.shape[3])

            yield ReplayRun(hello, bold.shape[3], events, partial(_bold_volumes, bold))
    if not n_runs:
        where = f"session {session}" if session is not None else "any session"
        raise ReplayError(f"subject {subject} has no BOLD time series in {where}; replay its betas: --kind beta")


def foils(tree: "NsdTree", subject: int) -> dict[int, int]:
    """Return for each held-out picture another one that a decode of it is compared with: the next by nsd_id."""
    trials = tree.trials(subject)
    held_out = np.unique(trials.nsd_id[trials.is_shared]).tolist()
    return dict(zip(held_out, held_out[1:] + held_out[:1], strict=True)) if len(held_out) > 1 else {}


def picture_png(tree: "NsdTree", nsd_id: int) -> bytes:
    """Return the picture that was seen, as a PNG file's bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    # Level 1 is 4 times as fast as the default, for a few per cent more bytes.
    Image.fromarray(tree.pictures(np.array([nsd_id]))[0]).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def picture_file(nsd_id: int) -> str:
    """Return the name of a picture's file, where NSD's pictures are written as files."""
    return f"picture-{int(nsd_id):05d}.png"


def _shown(tree: "NsdTree", trial: int, nsd_id: int, is_calibration: bool) -> ReplayTrial:
    if not is_calibration:
        return ReplayTrial(int(trial), int(nsd_id))
    return ReplayTrial(int(trial), int(nsd_id), picture_file(nsd_id), tuple(tree.captions(int(nsd_id))))


class _Means:
    """Sums of the repeats so far, of the voxels in the brain mask: a third of a volume, for a thousand pictures."""

    def __init__(self, brainmask: Array) -> None:
        self._brainmask = brainmask
        self._sums: dict[int, tuple[Array, int]] = {}

    def add(self, nsd_id: int, stored: Array, scale: float, *, is_last: bool) -> tuple[Array, int]:
        """Add a repeat; return the mean, (X, Y, Z) float32 in % signal change, and how many repeats are in it."""
        inside = stored[self._brainmask].astype(np.int32)
        earlier, n_earlier = self._sums.pop(nsd_id, (np.zeros_like(inside), 0))
        total, n_averaged = earlier + inside, n_earlier + 1
        if not is_last:
            self._sums[nsd_id] = total, n_averaged
        mean = np.zeros(self._brainmask.shape, np.float32)
        mean[self._brainmask] = total * np.float32(scale / n_averaged)
        return mean, n_averaged


def _single_betas(
    tree: "NsdTree", subject: int, trials: TestTrials, is_calibration: bool, next_index: int
) -> Iterator[ReplayVolume]:
    from .nsd import BETA_SCALE

    if next_index >= len(trials.row):
        return
    volumes = tree.beta_volumes(subject, int(trials.session[0]), trials.row[next_index:])
    for index, volume in enumerate(volumes, next_index):
        shown = _shown(tree, trials.trial[index], trials.nsd_id[index], is_calibration)
        yield ReplayVolume(index, volume, BETA_SCALE, shown)


def _mean_betas(
    tree: "NsdTree", subject: int, trials: TestTrials, means: _Means, repeats: Repeats, next_index: int
) -> Iterator[ReplayVolume]:
    from .nsd import BETA_SCALE

    volumes = tree.beta_volumes(subject, int(trials.session[0]), trials.row)
    index = 0
    for volume, trial, nsd_id, is_last in zip(volumes, trials.trial, trials.nsd_id, trials.is_last, strict=True):
        # Repeats that were sent before a restart count in the means too.
        mean, n_averaged = means.add(int(nsd_id), volume, BETA_SCALE, is_last=bool(is_last))
        if repeats == "running" or is_last:
            if index >= next_index:
                yield ReplayVolume(index, mean, 1.0, ReplayTrial(int(trial), int(nsd_id)), n_averaged)
            index += 1


def _bold_volumes(bold: Array, next_index: int) -> Iterator[ReplayVolume]:
    for index in range(next_index, bold.shape[3]):
        yield ReplayVolume(index, bold[..., index], 1.0, None)


def _hello(
    tree: "NsdTree", subject: int, name: str, run: str, kind: Kind, tr_s: float, dtype: str, n_volumes: int
) -> Hello:
    x, y, z = tree.shape(subject)
    return Hello(
        session=name,
        run=run,
        subject=subject,
        kind=kind,
        shape=(int(x), int(y), int(z)),
        affine=tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in tree.affine(subject)),
        tr_s=tr_s,
        dtype=dtype,
        simulated=tree.is_simulated(),
        producer="braind replay",
        n_volumes=n_volumes,
    )
